//! The one place where an error becomes an HTTP status, a code and a sentence for the caller.
//!
//! What a caller reads never holds internal text; that goes to the log, once, as
//! [`Problem::reason`].

use std::borrow::Cow;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use ledgerline_app::{CommandError, FailedEntry, ImportError, ParameterProblem, QueryError, VersionSource};
use ledgerline_kernel::Version;
use ledgerline_kernel::input::{MAX_PROBLEMS, Problem as FieldProblem, echoed};
use ledgerline_kernel::ports::StoreError;
use serde::Serialize;

use crate::auth::AuthError;

/// Anything that can be wrong with a request.
#[derive(Debug)]
pub(crate) enum ApiError {
    Auth(AuthError),
    Request(RequestError),
    Command(CommandError),
    Entry(FailedEntry),
    Query(QueryError),
    Import(ImportError),
}

/// What is wrong with a request before a use case sees it, or around one.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// No route has that path.
    NoSuchRoute,
    /// The path exists, for other methods.
    MethodNotAllowed,
    /// The path names something that cannot be a key, so that there can be no such entity.
    ImpossibleKey,
    /// The body is not what its route takes.
    UnsupportedMediaType,
    /// The body is over the limit, in bytes.
    BodyTooLarge { limit: usize },
    /// The body did not arrive, or is not text.
    UnreadableBody,
    /// Query parameters or headers make no sense.
    Parameters(Vec<ParameterProblem>),
    /// A cursor that was not handed out for this list.
    Cursor,
    /// What is read has not got to the version asked for.
    NotYetVisible,
    /// A handler panicked, or an answer could not be written.
    Internal(String),
}

impl RequestError {
    pub(crate) fn parameter(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Parameters(vec![ParameterProblem::new(name, message)])
    }
}

macro_rules! api_error_from {
    ($($variant:ident($error:ty)),*) => {$(
        impl From<$error> for ApiError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}
api_error_from!(
    Auth(AuthError),
    Request(RequestError),
    Command(CommandError),
    Entry(FailedEntry),
    Query(QueryError),
    Import(ImportError)
);

impl IntoResponse for ApiError {
    /// The status and headers; the body waits for [`crate::respond::finish`], which knows the
    /// request's id.
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// An error as the caller sees it, and the reason as only the log sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: Cow<'static, str>,
    pub(crate) detail: Cow<'static, str>,
    pub(crate) errors: Vec<FieldProblem>,
    pub(crate) current_version: Option<Version>,
    /// The entry of a batch that is to blame.
    pub(crate) index: Option<usize>,
    /// Whether the same request may succeed in a moment.
    pub(crate) retry: bool,
    /// What went wrong on our side, for the log. None if it is not our fault.
    pub(crate) reason: Option<String>,
}

/// How long to wait where waiting helps, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

impl Problem {
    fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            current_version: None,
            index: None,
            retry: false,
            reason: None,
        }
    }

    fn internal(reason: String) -> Self {
        let problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "something went wrong on our side");
        Self { reason: Some(reason), ..problem }
    }

    fn unavailable(reason: String) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "try again in a moment");
        Self { retry: true, reason: Some(reason), ..problem }
    }

    fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is no such entity")
    }

    fn too_large(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", detail)
    }

    fn malformed(detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MALFORMED_BODY", detail)
    }

    fn invalid(code: &'static str, detail: &'static str, errors: Vec<FieldProblem>) -> Self {
        Self { errors, ..Self::new(StatusCode::BAD_REQUEST, code, detail) }
    }

    /// As of a body's fields, so many are named and no more, and only the beginning of a long name.
    fn parameters(problems: Vec<ParameterProblem>) -> Self {
        let code = "INVALID_PARAMETER";
        let problems = problems.into_iter().take(MAX_PROBLEMS);
        let errors = problems.map(|ParameterProblem { name, message }| {
            let path = echoed(&name).into_owned();
            FieldProblem { path, code, message }
        });
        Self::invalid(code, "the parameters or headers have problems", errors.collect())
    }

    /// Logs it if it is our fault. The request's id is in the line itself: a filter that leaves out
    /// spans must not leave the line without it.
    pub(crate) fn log(&self, request_id: &str) {
        if let Some(reason) = &self.reason {
            tracing::error!(request.id = request_id, problem.code = %self.code, "{reason}");
        }
    }

    /// The JSON text of the problem, RFC 9457.
    pub(crate) fn body(&self, request_id: &str) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            r#type: &'static str,
            title: &'static str,
            status: u16,
            detail: &'a str,
            code: &'a str,
            request_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            current_version: Option<Version>,
            #[serde(skip_serializing_if = "Option::is_none")]
            index: Option<usize>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [FieldProblem],
        }
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: &self.code,
            request_id,
            current_version: self.current_version,
            index: self.index,
            errors: &self.errors,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.retry {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        let mut response = (self.status, headers).into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Auth(error) => error.into(),
            ApiError::Request(error) => error.into(),
            ApiError::Command(error) => (&error).into(),
            ApiError::Entry(failed) => failed.into(),
            ApiError::Query(error) => error.into(),
            ApiError::Import(error) => error.into(),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let unauthorized = |detail| Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", detail);
        match error {
            AuthError::NoToken => unauthorized("send a bearer token"),
            // Which check a token failed helps whoever forges one more than whoever owns one.
            AuthError::InvalidToken(_) => unauthorized("the token is not accepted"),
            AuthError::Forbidden(detail) => Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", detail),
            AuthError::KeysUnavailable(reason) => Self::unavailable(reason),
        }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NoSuchRoute => Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is no such path"),
            RequestError::MethodNotAllowed => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "the path takes other methods")
            }
            RequestError::ImpossibleKey => Self::not_found(),
            RequestError::UnsupportedMediaType => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                "send application/json in UTF-8, uncompressed",
            ),
            RequestError::BodyTooLarge { limit } => {
                Self::too_large(format!("the request's body is over the limit of {} MiB", limit / (1024 * 1024)))
            }
            RequestError::UnreadableBody => Self::malformed("the body is incomplete or not UTF-8 text"),
            RequestError::Parameters(problems) => Self::parameters(problems),
            RequestError::Cursor => {
                Self::new(StatusCode::BAD_REQUEST, "INVALID_CURSOR", "the cursor was not handed out for this list")
            }
            RequestError::NotYetVisible => {
                let detail = "the version asked for is not there yet";
                Self { retry: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_YET_VISIBLE", detail) }
            }
            RequestError::Internal(reason) => Self::internal(reason),
        }
    }
}

impl From<FailedEntry> for Problem {
    /// Names the entry, unless it is the batch as a whole that cannot be accepted.
    fn from(FailedEntry { index, error }: FailedEntry) -> Self {
        let is_of_all = matches!(
            error,
            CommandError::KeyReused
                | CommandError::KeyInvalid
                | CommandError::InFlight
                | CommandError::TooManyWrites { .. }
                | CommandError::Store(_)
        );
        Self { index: (!is_of_all).then_some(index), ..Self::from(&error) }
    }
}

impl From<&CommandError> for Problem {
    fn from(error: &CommandError) -> Self {
        let status = match error {
            CommandError::Input(_)
            | CommandError::ContradictoryVersions
            | CommandError::KeyInvalid
            | CommandError::RepeatedInBatch { .. }
            | CommandError::NamesItself(_) => StatusCode::BAD_REQUEST,
            CommandError::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            CommandError::NotFound(_) => StatusCode::NOT_FOUND,
            CommandError::AlreadyExists(_)
            | CommandError::Taken { .. }
            | CommandError::VersionConflict { given_in: VersionSource::Body, .. }
            | CommandError::Contended(_)
            | CommandError::InFlight => StatusCode::CONFLICT,
            CommandError::NothingToMatch | CommandError::VersionConflict { given_in: VersionSource::Header, .. } => {
                StatusCode::PRECONDITION_FAILED
            }
            CommandError::KeyReused | CommandError::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            CommandError::TooManyWrites { .. } | CommandError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            CommandError::Store(error) => return error.clone().into(),
            CommandError::Corrupt(_) | CommandError::Unstorable(_) | CommandError::VersionsExhausted(_) => {
                return Self::internal(error.to_string());
            }
        };
        let current_version = match error {
            CommandError::VersionConflict { current, .. } => Some(*current),
            _ => None,
        };
        let retry = matches!(error, CommandError::Contended(_) | CommandError::InFlight);
        Self { current_version, retry, errors: error.problems(), ..Self::new(status, error.code(), error.detail()) }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::NotFound(_) => Self::not_found(),
            QueryError::Parameters(problems) => Self::parameters(problems),
            QueryError::NotYetVisible => RequestError::NotYetVisible.into(),
            QueryError::Store(error) => error.into(),
        }
    }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        let detail = error.to_string();
        match error {
            ImportError::Input(error) => (&CommandError::Input(error)).into(),
            ImportError::Key(error) => (&error).into(),
            ImportError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is no such import"),
            ImportError::Ended(_) => Self::new(StatusCode::CONFLICT, "IMPORT_ENDED", detail),
            ImportError::NoSource => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "NO_SOURCE", detail),
            ImportError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let reason = error.to_string();
        match error {
            StoreError::Unavailable { .. } => Self::unavailable(reason),
            StoreError::Rejected { .. } => Self::internal(reason),
        }
    }
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
