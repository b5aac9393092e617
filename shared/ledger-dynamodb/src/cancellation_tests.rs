use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::ErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::error::{
    ConditionalCheckFailedException, IdempotentParameterMismatchException, InternalServerError,
    ProvisionedThroughputExceededException, RequestLimitExceeded, ResourceNotFoundException, ThrottlingException,
    TransactionCanceledException, TransactionInProgressException,
};
use ledgerline_kernel::{Claim, EntityKey, Hash, ImportCounts, ImportKey, Produced};
use ledgerline_testkit::{fork_of, noon, note_key, version_items};
use serde_dynamo::aws_sdk_dynamodb_1::to_item;

use super::*;
use crate::import_records::rows_item;
use crate::records::{claim_item, idempotency_item};

/// What a commit of everything there is writes, and what stands in its way.
struct Case {
    version: VersionItem,
    theirs: VersionItem,
    change: ClaimChange,
    record: IdempotencyRecord,
    expiry: Expiry,
}

fn case() -> Case {
    let [one, version] = version_items(&note_key("n"), 2).try_into().unwrap();
    let partition = version.key.partition.clone();
    let claim = Claim {
        tenant: partition.tenant.clone(),
        entity_type: partition.entity_type,
        field: "code".to_owned(),
        value: "R-7".to_owned(),
    };
    let record = IdempotencyRecord {
        tenant: partition.tenant,
        key: "k".to_owned(),
        payload_hash: Hash::of("payload"),
        produced: vec![Produced { id: version.key.clone(), version: version.version, changed: true }],
        expires_at: noon(),
    };
    Case {
        theirs: fork_of(&version),
        change: ClaimChange::Take(claim, version.key.clone()),
        record,
        expiry: Expiry { key: one.key.clone(), version: one.version, at: noon() },
        version,
    }
}

impl Case {
    fn parts(&self) -> [Part<'_>; 4] {
        [
            Part::Idempotency(&self.record),
            Part::Version(&self.version),
            Part::Claim(&self.change),
            Part::Expiry(&self.expiry),
        ]
    }
}

fn reason(code: &str) -> CancellationReason {
    CancellationReason::builder().code(code).message("words of DynamoDB").build()
}

fn failed(item: Option<Item>) -> CancellationReason {
    CancellationReason::builder().code("ConditionalCheckFailed").set_item(item).build()
}

fn answer<E>(error: E) -> SdkError<E> {
    SdkError::service_error(error, HttpResponse::new(400.try_into().unwrap(), "".into()))
}

/// A verdict in a few words.
fn told(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Written => "written",
        Verdict::Again(CommitError::Contended) => "again, else contended",
        Verdict::Again(CommitError::Store(StoreError::Unavailable { .. })) => "again, else unavailable",
        Verdict::Again(_) => "again, else another error",
        Verdict::Failed(CommitError::Occupied(_)) => "occupied",
        Verdict::Failed(CommitError::Claimed { .. }) => "claimed",
        Verdict::Failed(CommitError::Remembered(_)) => "remembered",
        Verdict::Failed(CommitError::Store(StoreError::Unavailable { .. })) => "unavailable",
        Verdict::Failed(CommitError::Store(StoreError::Rejected { .. })) => "rejected",
        Verdict::Failed(_) => "another error",
    }
}

/// All that `CancellationReasons` may hold (the documentation of `TransactionCanceledException`),
/// alone and mixed, for parts in the order idempotency, version, claim, expiry.
#[test]
fn every_cancellation_reason_has_its_verdict() {
    let case = case();
    let holder = note_key("holder");
    let remembered = || failed(Some(idempotency_item(&case.record).unwrap()));
    let ours = || failed(Some(to_item(&case.version).unwrap()));
    let theirs = || failed(Some(to_item(&case.theirs).unwrap()));
    let claimed = || failed(Some(claim_item(case.change.claim(), &holder)));
    let nothing = || failed(None);
    let other = || failed(Some(Item::from([("pk".to_owned(), AttributeValue::S("x".to_owned()))])));
    let ok = || reason("None");
    let null = || CancellationReason::builder().build();
    let is = reason;
    let conflict = || reason("TransactionConflict");
    let throttle = || reason("ThrottlingError");
    let capacity = || reason("ProvisionedThroughputExceeded");
    let table: Vec<(&str, [CancellationReason; 4], &str)> = vec![
        // One condition.
        ("a used key", [remembered(), ok(), ok(), ok()], "remembered"),
        ("somebody else's version", [ok(), theirs(), ok(), ok()], "occupied"),
        ("somebody else's version, codes missing", [null(), theirs(), null(), null()], "occupied"),
        ("our own version", [ok(), ours(), ok(), ok()], "written"),
        ("a taken value", [ok(), ok(), claimed(), ok()], "claimed"),
        ("a missing version to expire", [ok(), ok(), ok(), nothing()], "rejected"),
        // A condition whose item did not come, or makes no sense.
        ("a key without its item", [nothing(), ok(), ok(), ok()], "rejected"),
        ("a version without its item", [ok(), nothing(), ok(), ok()], "rejected"),
        ("a claim without its item", [ok(), ok(), nothing(), ok()], "rejected"),
        ("a key's item of another shape", [other(), ok(), ok(), ok()], "rejected"),
        ("a version's item of another shape", [ok(), other(), ok(), ok()], "rejected"),
        ("a claim's item of another shape", [ok(), ok(), other(), ok()], "rejected"),
        // Several conditions.
        ("a used key before all", [remembered(), theirs(), claimed(), ok()], "remembered"),
        ("a version before a claim", [ok(), theirs(), claimed(), ok()], "occupied"),
        ("our own version and our own key", [remembered(), ours(), ok(), ok()], "written"),
        ("our own version and a value given up since", [remembered(), ours(), claimed(), ok()], "written"),
        // Others are at it.
        ("a conflict on the key", [conflict(), ok(), ok(), ok()], "again, else contended"),
        ("a conflict on the version", [ok(), conflict(), ok(), ok()], "again, else contended"),
        ("a conflict on the claim", [ok(), ok(), conflict(), ok()], "again, else contended"),
        ("a conflict on the expiry", [ok(), ok(), ok(), conflict()], "again, else contended"),
        ("a conflict on all", [conflict(), conflict(), conflict(), conflict()], "again, else contended"),
        // Too fast.
        ("the account is throttled", [ok(), throttle(), ok(), ok()], "again, else unavailable"),
        ("the table is throttled", [ok(), ok(), capacity(), ok()], "again, else unavailable"),
        ("all is throttled", [throttle(), throttle(), capacity(), capacity()], "again, else unavailable"),
        // Mixed: what comes first counts, since what hides behind it might be worse.
        ("a key in conflict, an occupied version", [conflict(), theirs(), ok(), ok()], "again, else contended"),
        ("an occupied version, a claim in conflict", [ok(), theirs(), conflict(), ok()], "occupied"),
        ("a version in conflict, a taken value", [ok(), conflict(), claimed(), ok()], "again, else contended"),
        ("a used key, the rest in conflict", [remembered(), conflict(), conflict(), ok()], "remembered"),
        ("a used key, a throttled version", [remembered(), throttle(), ok(), ok()], "remembered"),
        ("throttled, then in conflict", [ok(), throttle(), conflict(), ok()], "again, else unavailable"),
        ("in conflict, then throttled", [ok(), conflict(), throttle(), ok()], "again, else contended"),
        ("our own version, the rest in conflict", [conflict(), ours(), conflict(), conflict()], "written"),
        // Never.
        ("not valid", [ok(), is("ValidationError"), ok(), ok()], "rejected"),
        ("too many items in a partition", [ok(), is("ItemCollectionSizeLimitExceeded"), ok(), ok()], "rejected"),
        ("a duplicate of PartiQL", [ok(), is("DuplicateItem"), ok(), ok()], "rejected"),
        ("no right", [is("AccessDenied"), is("AccessDenied"), ok(), ok()], "rejected"),
        ("a code that nobody knows", [ok(), ok(), is("TomorrowsReason"), ok()], "rejected"),
        ("not valid, and in conflict", [ok(), is("ValidationError"), conflict(), ok()], "rejected"),
        // Nothing.
        ("no reason at all", [ok(), ok(), ok(), ok()], "rejected"),
        ("no codes at all", [null(), null(), null(), null()], "rejected"),
    ];
    for (name, reasons, expected) in table {
        let cancelled = TransactionCanceledException::builder().set_cancellation_reasons(Some(reasons.into())).build();
        let error = answer(TransactWriteItemsError::TransactionCanceledException(cancelled));
        let verdict = of_transaction(&case.parts(), error);
        assert_eq!(told(&verdict), expected, "{name}: {verdict:?}");
    }
}

#[test]
fn a_cancelled_transaction_without_a_list_of_reasons_is_rejected() {
    let cancelled = TransactionCanceledException::builder().build();
    let error = answer(TransactWriteItemsError::TransactionCanceledException(cancelled));
    assert_eq!(told(&of_transaction(&case().parts(), error)), "rejected");
}

/// Two entities: one version of ours proves nothing while the other is somebody else's.
#[test]
fn a_commit_is_ours_only_if_no_version_is_somebody_elses() {
    let (case, [other]) = (case(), version_items(&note_key("other"), 1).try_into().unwrap());
    let theirs = fork_of(&other);
    let stored = |item: &VersionItem| failed(Some(to_item(item).unwrap()));
    let parts = [Part::Version(&case.version), Part::Version(&other)];
    let verdict = of_reasons(&parts, vec![stored(&case.version), stored(&theirs)]);
    assert_ne!(verdict, Verdict::Written);
    let verdict = of_reasons(&parts, vec![stored(&case.version), stored(&other)]);
    assert_eq!(verdict, Verdict::Written);
}

#[test]
fn what_stands_in_the_way_is_reported_in_full() {
    let case = case();
    let holder: EntityKey = note_key("hol@der");
    let parts = case.parts();
    let refuse = |index: usize, item: Item| {
        let mut reasons = vec![reason("None"); 4];
        reasons[index] = failed(Some(item));
        of_reasons(&parts, reasons)
    };
    let theirs = CommitError::Occupied(Box::new(case.theirs.clone()));
    assert_eq!(refuse(1, to_item(&case.theirs).unwrap()), Verdict::Failed(theirs));
    let claimed = CommitError::Claimed { claim: Box::new(case.change.claim().clone()), holder: holder.clone() };
    assert_eq!(refuse(2, claim_item(case.change.claim(), &holder)), Verdict::Failed(claimed));
    let remembered = CommitError::Remembered(Box::new(case.record.clone()));
    assert_eq!(refuse(0, idempotency_item(&case.record).unwrap()), Verdict::Failed(remembered));
}

#[test]
fn a_transaction_that_dynamodb_refuses_names_the_part_in_its_reason() {
    let case = case();
    match of_reasons(&case.parts(), vec![reason("None"), reason("ValidationError"), reason("None")]) {
        Verdict::Failed(CommitError::Store(StoreError::Rejected { reason, .. })) => {
            assert_eq!(reason, "ValidationError: words of DynamoDB at version 2 of NOTE#acme#n");
        }
        other => panic!("{other:?}"),
    }
}

fn metadata(code: &str) -> ErrorMetadata {
    ErrorMetadata::builder().code(code).build()
}

/// Errors of the request as a whole.
#[test]
fn every_error_of_a_transaction_request_has_its_verdict() {
    use TransactWriteItemsError as E;
    let table = [
        (
            E::IdempotentParameterMismatchException(
                IdempotentParameterMismatchException::builder()
                    .meta(metadata("IdempotentParameterMismatchException"))
                    .build(),
            ),
            "rejected",
        ),
        (
            E::TransactionInProgressException(
                TransactionInProgressException::builder().meta(metadata("TransactionInProgressException")).build(),
            ),
            "unavailable",
        ),
        (
            E::ProvisionedThroughputExceededException(
                ProvisionedThroughputExceededException::builder()
                    .meta(metadata("ProvisionedThroughputExceededException"))
                    .build(),
            ),
            "unavailable",
        ),
        (
            E::ThrottlingException(ThrottlingException::builder().meta(metadata("ThrottlingException")).build()),
            "unavailable",
        ),
        (
            E::RequestLimitExceeded(RequestLimitExceeded::builder().meta(metadata("RequestLimitExceeded")).build()),
            "unavailable",
        ),
        (
            E::InternalServerError(InternalServerError::builder().meta(metadata("InternalServerError")).build()),
            "unavailable",
        ),
        (
            E::ResourceNotFoundException(
                ResourceNotFoundException::builder().meta(metadata("ResourceNotFoundException")).build(),
            ),
            "rejected",
        ),
        (E::generic(metadata("TransactionConflictException")), "again, else contended"),
        (E::generic(metadata("ValidationException")), "rejected"),
        (E::generic(metadata("AccessDeniedException")), "rejected"),
    ];
    let case = case();
    for (error, expected) in table {
        let code = error.code().map(str::to_owned);
        assert_eq!(told(&of_transaction(&case.parts(), answer(error))), expected, "{code:?}");
    }
}

#[test]
fn every_error_of_a_single_put_has_its_verdict() {
    let case = case();
    let version = Part::Version(&case.version);
    let record = Part::Idempotency(&case.record);
    let refused = |item: Option<Item>| {
        let failed = ConditionalCheckFailedException::builder().set_item(item).build();
        PutItemError::ConditionalCheckFailedException(failed)
    };
    let other_record = IdempotencyRecord { payload_hash: Hash::of("another"), ..case.record.clone() };
    let table = [
        (version, refused(Some(to_item(&case.version).unwrap())), "written"),
        (version, refused(Some(to_item(&case.theirs).unwrap())), "occupied"),
        (version, refused(None), "rejected"),
        (record, refused(Some(idempotency_item(&case.record).unwrap())), "written"),
        (record, refused(Some(idempotency_item(&other_record).unwrap())), "remembered"),
        (version, PutItemError::generic(metadata("TransactionConflictException")), "again, else contended"),
        (version, PutItemError::generic(metadata("ThrottlingException")), "unavailable"),
        (version, PutItemError::generic(metadata("ValidationException")), "rejected"),
    ];
    for (part, error, expected) in table {
        let code = error.code().map(str::to_owned);
        assert_eq!(told(&of_put(part, answer(error))), expected, "{code:?} at {part}");
    }
}

/// Before all others, unless it is our own: then all of it was written.
#[test]
fn a_taken_place_of_an_outcome_has_its_verdict() {
    let case = case();
    let rows = ImportedRows {
        import: ImportKey { tenant: case.record.tenant.clone(), id: "01KAGZ6Q3V8X4T5N7M9P0R2S1W".parse().unwrap() },
        chunk: 1,
        first: 45,
        rows: 1,
        counts: ImportCounts { created: 1, ..ImportCounts::default() },
        file: None,
        columns: vec![],
        failures: vec![],
        written: vec![],
        shown: false,
        command_id: case.version.command_id.clone(),
        at: noon(),
        expires_at: noon(),
    };
    let others = ImportedRows { command_id: "another".to_owned(), ..rows.clone() };
    let parts = [Part::Imported(&rows), Part::Version(&case.version), Part::Claim(&case.change)];
    let held = |rows: &ImportedRows| failed(Some(rows_item(rows).unwrap()));
    let version = |item: &VersionItem| failed(Some(to_item(item).unwrap()));
    let (ok, conflict) = (|| reason("None"), || reason("TransactionConflict"));
    let imported = Verdict::Failed(CommitError::Imported(Box::new(others.clone())));
    let occupied = Verdict::Failed(CommitError::Occupied(Box::new(case.theirs.clone())));
    let again = Verdict::Again(CommitError::Contended);
    let table = [
        ("ours", [held(&rows), version(&case.version), ok()], Verdict::Written),
        ("ours, of which the version has gone", [held(&rows), ok(), conflict()], Verdict::Written),
        ("another's, before its version", [held(&others), version(&case.theirs), conflict()], imported),
        ("free, but not the version", [ok(), version(&case.theirs), ok()], occupied),
        ("in conflict", [conflict(), version(&case.theirs), ok()], again),
    ];
    for (name, reasons, expected) in table {
        assert_eq!(of_reasons(&parts, reasons.to_vec()), expected, "{name}");
    }
    let put = |held: &ImportedRows| {
        let refused = ConditionalCheckFailedException::builder().set_item(Some(rows_item(held).unwrap())).build();
        of_put(Part::Imported(&rows), answer(PutItemError::ConditionalCheckFailedException(refused)))
    };
    assert_eq!(put(&rows), Verdict::Written);
    assert_eq!(put(&others), Verdict::Failed(CommitError::Imported(Box::new(others.clone()))));
}
