use ledgerline_app::ParameterProblem;
use ledgerline_kernel::input::InputError;
use ledgerline_kernel::{CanonicalError, Corrupt, EntityKey, KeyError};

use super::*;

fn key() -> EntityKey {
    "PRODUCT#acme#p".parse().unwrap()
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn corrupt() -> Corrupt {
    Corrupt { id: "secret".to_owned(), version: version(1), reason: "secret".to_owned() }
}

fn field() -> FieldProblem {
    FieldProblem { path: "price".to_owned(), code: "WRONG_TYPE", message: "must be a price".to_owned() }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable { store: "secret", reason: "secret".to_owned() }
}

fn rejected() -> StoreError {
    StoreError::Rejected { store: "secret", reason: "secret".to_owned() }
}

fn taken() -> CommandError {
    CommandError::Taken { field: "code".to_owned(), holder: "PRODUCT#acme#ring-8".parse().unwrap() }
}

fn conflict(given_in: VersionSource) -> CommandError {
    CommandError::VersionConflict { expected: version(1), current: version(2), given_in }
}

/// Every error with the status and code that the contract gives it.
fn table() -> Vec<(ApiError, u16, &'static str)> {
    let parameter = ParameterProblem { name: "sort".to_owned(), message: "makes no sense".to_owned() };
    let refused = CommandError::Refused { code: "PRODUCT_DELETED", detail: "it is deleted".to_owned() };
    vec![
        (AuthError::NoToken.into(), 401, "UNAUTHORIZED"),
        (AuthError::InvalidToken("secret").into(), 401, "UNAUTHORIZED"),
        (AuthError::Forbidden("no").into(), 403, "FORBIDDEN"),
        (AuthError::KeysUnavailable("secret".to_owned()).into(), 503, "UNAVAILABLE"),
        (RequestError::NoSuchRoute.into(), 404, "NOT_FOUND"),
        (RequestError::MethodNotAllowed.into(), 405, "METHOD_NOT_ALLOWED"),
        (RequestError::ImpossibleKey.into(), 404, "NOT_FOUND"),
        (RequestError::UnsupportedMediaType.into(), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (RequestError::BodyTooLarge { limit: 1024 * 1024 }.into(), 413, "PAYLOAD_TOO_LARGE"),
        (RequestError::UnreadableBody.into(), 400, "MALFORMED_BODY"),
        (RequestError::parameter("limit", "must be a number").into(), 400, "INVALID_PARAMETER"),
        (RequestError::Cursor.into(), 400, "INVALID_CURSOR"),
        (RequestError::NotYetVisible.into(), 503, "NOT_YET_VISIBLE"),
        (RequestError::Internal("secret".to_owned()).into(), 500, "INTERNAL"),
        (CommandError::from(InputError::Malformed("line 1".to_owned())).into(), 400, "MALFORMED_BODY"),
        (CommandError::from(InputError::Invalid(vec![field()])).into(), 400, "VALIDATION_ERROR"),
        (CommandError::ContradictoryVersions.into(), 400, "VALIDATION_ERROR"),
        (CommandError::PreconditionRequired.into(), 428, "PRECONDITION_REQUIRED"),
        (CommandError::NotFound(key()).into(), 404, "NOT_FOUND"),
        (CommandError::AlreadyExists(key()).into(), 409, "ALREADY_EXISTS"),
        (conflict(VersionSource::Header).into(), 412, "VERSION_CONFLICT"),
        (conflict(VersionSource::Body).into(), 409, "VERSION_CONFLICT"),
        (CommandError::NothingToMatch.into(), 412, "VERSION_CONFLICT"),
        (CommandError::Contended(key()).into(), 409, "CONTENDED"),
        (taken().into(), 409, "ALREADY_EXISTS"),
        (CommandError::KeyReused.into(), 422, "IDEMPOTENCY_KEY_REUSED"),
        (CommandError::KeyInvalid.into(), 400, "INVALID_PARAMETER"),
        (CommandError::InFlight.into(), 409, "IN_FLIGHT"),
        (CommandError::RepeatedInBatch { field: "code".to_owned(), entry: 0 }.into(), 400, "VALIDATION_ERROR"),
        (CommandError::NamesItself("target").into(), 400, "VALIDATION_ERROR"),
        (CommandError::TooManyWrites { operations: 101, limit: 100 }.into(), 413, "PAYLOAD_TOO_LARGE"),
        (FailedEntry { index: 7, error: taken() }.into(), 409, "ALREADY_EXISTS"),
        (refused.into(), 422, "PRODUCT_DELETED"),
        (CommandError::TooLarge { bytes: 2, limit: 1 }.into(), 413, "PAYLOAD_TOO_LARGE"),
        (CommandError::from(unavailable()).into(), 503, "UNAVAILABLE"),
        (CommandError::from(rejected()).into(), 500, "INTERNAL"),
        (CommandError::from(corrupt()).into(), 500, "INTERNAL"),
        (CommandError::from(CanonicalError::NotAWholeNumber).into(), 500, "INTERNAL"),
        (CommandError::VersionsExhausted(KeyError::Version).into(), 500, "INTERNAL"),
        (QueryError::NotFound(key()).into(), 404, "NOT_FOUND"),
        (QueryError::Parameters(vec![parameter]).into(), 400, "INVALID_PARAMETER"),
        (QueryError::from(unavailable()).into(), 503, "UNAVAILABLE"),
        (QueryError::from(rejected()).into(), 500, "INTERNAL"),
    ]
}

#[test]
fn every_error_has_its_documented_status_and_code() {
    for (error, status, code) in table() {
        let what = format!("{error:?}");
        let problem = Problem::from(error);
        assert_eq!((problem.status.as_u16(), &*problem.code), (status, code), "{what}");
    }
}

#[test]
fn no_answer_holds_internal_text_and_every_fault_of_ours_has_a_reason_for_the_log() {
    for (error, ..) in table() {
        let problem = Problem::from(error);
        let body = String::from_utf8(problem.body("request-1")).unwrap();
        assert!(!body.contains("secret"), "{body}");
        let is_ours = problem.status.is_server_error() && problem.code != "NOT_YET_VISIBLE";
        assert_eq!(problem.reason.is_some(), is_ours, "{body}");
    }
}

#[test]
fn what_passes_by_itself_has_retry_after_and_nothing_else_has() {
    for (error, status, code) in table() {
        let response = error.into_response();
        assert_eq!(
            response.headers().contains_key(RETRY_AFTER),
            matches!((status, code), (503, _) | (_, "CONTENDED" | "IN_FLIGHT")),
            "{code}"
        );
        assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), status == 401, "{code}");
    }
}

#[test]
fn conflicts_name_the_current_version_and_validations_their_fields() {
    let body =
        |error: ApiError| -> serde_json::Value { serde_json::from_slice(&Problem::from(error).body("r")).unwrap() };
    assert_eq!(body(conflict(VersionSource::Header).into())["currentVersion"], 2);
    assert_eq!(body(conflict(VersionSource::Body).into())["currentVersion"], 2);
    assert_eq!(body(CommandError::from(InputError::Invalid(vec![field()])).into())["errors"][0]["path"], "price");
    assert_eq!(body(CommandError::ContradictoryVersions.into())["errors"][0]["path"], "version");
    let taken = &body(taken().into())["errors"][0];
    assert_eq!((&taken["path"], &taken["code"]), (&"code".into(), &"TAKEN".into()));
    assert_eq!(taken["message"], "must not be another's: ring-8 has it until that is changed or deleted");
    assert_eq!(body(CommandError::KeyInvalid.into())["errors"][0]["path"], "Idempotency-Key");
}

#[test]
fn a_failing_entry_is_named_unless_the_batch_as_a_whole_is_to_blame() {
    let index = |error| -> Option<usize> { Problem::from(FailedEntry { index: 7, error }).index };
    assert_eq!(index(CommandError::NotFound(key())), Some(7));
    assert_eq!(index(taken()), Some(7));
    assert_eq!(index(CommandError::KeyReused), None);
    assert_eq!(index(CommandError::TooManyWrites { operations: 101, limit: 100 }), None);
    assert_eq!(index(CommandError::from(unavailable())), None);
    let body = Problem::from(FailedEntry { index: 7, error: taken() }).body("r");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["index"], 7);
}
