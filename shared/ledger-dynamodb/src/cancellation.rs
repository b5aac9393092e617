//! What DynamoDB's answer to a write means: the only place that knows its error codes.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::CancellationReason;
use ledgerline_kernel::ports::{CommitError, StoreError};
use ledgerline_kernel::{ClaimChange, Expiry, IdempotencyRecord, ImportedRows, VersionItem};

use crate::errors::{condition_failed, store_error};
use crate::import_records::rows;
use crate::ledger::{Item, STORE, read, rejected};
use crate::records::{claim_holder, idempotency_record};

/// What one operation of a transaction writes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'a> {
    Imported(&'a ImportedRows),
    Idempotency(&'a IdempotencyRecord),
    Version(&'a VersionItem),
    Claim(&'a ClaimChange),
    Expiry(&'a Expiry),
}

/// What became of an attempt to write.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Written,
    Failed(CommitError),
    /// Not written, and worth another attempt; the error is for when there is none left.
    Again(CommitError),
}

/// What a `PutItem` of one part came to.
pub(crate) fn of_put(part: Part<'_>, error: SdkError<PutItemError>) -> Verdict {
    if error.code() == Some("TransactionConflictException") {
        return Verdict::Again(CommitError::Contended);
    }
    let stored = match condition_failed(STORE, error) {
        Ok(item) => refused(part, item),
        Err(error) => error.into(),
    };
    match (&stored, part) {
        (CommitError::Occupied(stored), Part::Version(ours)) if stored.command_id == ours.command_id => {
            Verdict::Written
        }
        (CommitError::Imported(stored), Part::Imported(ours)) if stored.command_id == ours.command_id => {
            Verdict::Written
        }
        // Nothing but the record itself was to be written, and it is there.
        (CommitError::Remembered(stored), Part::Idempotency(ours)) if **stored == *ours => Verdict::Written,
        _ => Verdict::Failed(stored),
    }
}

/// What a `TransactWriteItems` of these parts, in this order, came to.
pub(crate) fn of_transaction(parts: &[Part<'_>], error: SdkError<TransactWriteItemsError>) -> Verdict {
    match error {
        SdkError::ServiceError(answer) if answer.err().is_transaction_canceled_exception() => {
            match answer.into_err() {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    of_reasons(parts, cancelled.cancellation_reasons.unwrap_or_default())
                }
                // Just looked.
                _ => Verdict::Failed(rejected("cancelled").into()),
            }
        }
        error if error.code() == Some("TransactionConflictException") => Verdict::Again(CommitError::Contended),
        error => Verdict::Failed(store_error(STORE, &error).into()),
    }
}

/// The first reason counts, in the order in which the parts were sent. A part that was in conflict
/// hides what its condition would have said, so what stands behind it is not reported before it.
fn of_reasons(parts: &[Part<'_>], reasons: Vec<CancellationReason>) -> Verdict {
    if is_ours(parts, &reasons) {
        return Verdict::Written;
    }
    for (part, reason) in parts.iter().zip(reasons) {
        let said = || format!("{} at {part}", reason.message.as_deref().unwrap_or_default());
        return match reason.code.as_deref() {
            None | Some("None") => continue,
            Some("ConditionalCheckFailed") => Verdict::Failed(refused(*part, reason.item)),
            Some("TransactionConflict") => Verdict::Again(CommitError::Contended),
            Some("ProvisionedThroughputExceeded" | "ThrottlingError") => {
                Verdict::Again(StoreError::Unavailable { store: STORE, reason: said() }.into())
            }
            // `ValidationError`, `ItemCollectionSizeLimitExceeded`, `DuplicateItem` (of PartiQL), and
            // what there may be one day: the same request will not fare better.
            Some(code) => Verdict::Failed(rejected(&format!("{code}: {}", said())).into()),
        };
    }
    Verdict::Failed(rejected("a transaction was cancelled for no reason").into())
}

/// Whether an earlier attempt got through, and only its answer was lost: versions, or the outcome, of
/// our command exist, and nobody else's. All parts were written with them.
fn is_ours(parts: &[Part<'_>], reasons: &[CancellationReason]) -> bool {
    let mut ours = false;
    for (part, reason) in parts.iter().zip(reasons) {
        let command_id = match part {
            Part::Version(version) => &version.command_id,
            Part::Imported(rows) => &rows.command_id,
            Part::Idempotency(_) | Part::Claim(_) | Part::Expiry(_) => continue,
        };
        if reason.code() == Some("ConditionalCheckFailed") {
            let writer = reason.item().and_then(|item| item.get("commandId")?.as_s().ok());
            if writer != Some(command_id) {
                return false;
            }
            ours = true;
        }
    }
    ours
}

/// What it means that the condition of `part` failed on `item`.
fn refused(part: Part<'_>, item: Option<Item>) -> CommitError {
    let Some(item) = item else {
        return match part {
            Part::Expiry(_) => rejected(&format!("{part} does not exist")).into(),
            _ => rejected(&format!("the condition of {part} failed, but its item was not returned")).into(),
        };
    };
    let read = match part {
        Part::Imported(_) => rows(item).map(|stored| CommitError::Imported(Box::new(stored))),
        Part::Idempotency(record) => idempotency_record(&record.tenant, &record.key, item)
            .map(|stored| CommitError::Remembered(Box::new(stored))),
        Part::Version(_) => read(item).map(|stored| CommitError::Occupied(Box::new(stored))),
        Part::Claim(change) => {
            claim_holder(item).map(|holder| CommitError::Claimed { claim: change.claim().clone().into(), holder })
        }
        Part::Expiry(_) => Err(rejected(&format!("{part} cannot expire"))),
    };
    read.unwrap_or_else(CommitError::from)
}

impl std::fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Imported(rows) => write!(f, "row {} of chunk {} of {}", rows.first, rows.chunk, rows.import),
            Self::Idempotency(record) => write!(f, "the idempotency key {:?}", record.key),
            Self::Version(item) => write!(f, "version {} of {}", item.version, item.key),
            Self::Claim(change) => write!(f, "the claim on {}", change.claim()),
            Self::Expiry(expiry) => write!(f, "the expiry of version {} of {}", expiry.version, expiry.key),
        }
    }
}

#[cfg(test)]
#[path = "cancellation_tests.rs"]
mod tests;
