use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;
use ledgerline_app::Projector;
use ledgerline_kernel::VersionItem;
use ledgerline_kernel::ports::{Quarantine, StoreError, Strike};
use ledgerline_lambda::stream::{BadRecord, BatchResponse, StreamBatch, StreamChange};
use ledgerline_ledger_dynamodb::{ImageError, version_item};
use serde_json::value::RawValue;

use crate::poison::poison_of;

/// What the quarantine calls this function's work.
const PROJECTION: &str = "data-sync";

/// What became of the records of a batch, by index. Those in neither list are done with.
#[derive(Default)]
struct Outcome {
    /// Could not be tried: a store is away. Nothing is wrong with them.
    later: Vec<usize>,
    /// Failed, and why.
    bad: Vec<(usize, String)>,
}

/// Projects what can be projected and asks for the rest again.
///
/// While a store is away, everything that is not done comes again, however often: nothing counts
/// against a record that the store may have failed. Otherwise a bad record gets a strike, and after
/// the last one it is passed over.
///
/// A record is named by its sequence number. One that has none, which DynamoDB never sends, can
/// only be asked for with the whole batch, as an empty identifier does: that loses nobody, since
/// its neighbours have been projected by then and projecting them again changes nothing.
pub(crate) async fn project(
    projector: &Projector,
    quarantine: &dyn Quarantine,
    event: &RawValue,
    batch: StreamBatch,
) -> BatchResponse {
    let mut good = Vec::new();
    let mut unreadable = Vec::new();
    let mut numbers = Vec::with_capacity(batch.records.len());
    for (index, record) in batch.records.into_iter().enumerate() {
        match read(projector, record.change) {
            Ok(Some(item)) => good.push((index, item)),
            Ok(None) => {}
            Err(reason) => unreadable.push((index, reason)),
        }
        numbers.push(record.sequence_number);
    }
    let Outcome { later, mut bad } = apply(projector, good).await;
    bad.extend(unreadable);
    bad.sort_unstable();
    let number_of = |index: usize| numbers.get(index).and_then(Option::as_deref);
    for (index, reason) in &bad {
        let number = number_of(*index).unwrap_or("unknown");
        tracing::error!(stream.sequence_number = number, "a record cannot be projected: {reason}");
    }
    let mut again = if later.is_empty() {
        strike(quarantine, event, &bad, number_of).await
    } else {
        bad.into_iter().map(|(index, _)| index).collect()
    };
    again.extend(later);
    again.sort_unstable();
    BatchResponse::failed(again.into_iter().map(number_of))
}

/// Gives each bad record a strike; gives the indexes of those that are to come again. While the
/// quarantine is away, that is all of them.
async fn strike<'a>(
    quarantine: &dyn Quarantine,
    event: &RawValue,
    bad: &[(usize, String)],
    number_of: impl Fn(usize) -> Option<&'a str>,
) -> Vec<usize> {
    let mut again = Vec::new();
    for (done, (index, reason)) in bad.iter().enumerate() {
        let poison = poison_of(event, *index, number_of(*index), reason);
        match quarantine.strike(PROJECTION, &poison).await {
            Ok(Strike::Quarantined) => tracing::error!(
                stream.sequence_number = poison.record,
                entity.id = poison.version.as_ref().map(|(key, _)| key.to_string()),
                entity.version = poison.version.as_ref().map(|(_, version)| version.number()),
                "quarantined; the stream goes on without it: {reason}"
            ),
            Ok(Strike::Again) => again.push(*index),
            Err(error) => {
                // The others would wait for it in vain as well.
                tracing::error!(stream.sequence_number = poison.record, "no strike was noted: {error}");
                again.extend(bad.iter().skip(done).map(|(index, _)| *index));
                break;
            }
        }
    }
    again
}

/// The version item that a record tells of; none where it tells of something else.
fn read(projector: &Projector, change: Result<StreamChange, BadRecord>) -> Result<Option<VersionItem>, String> {
    let image = match change {
        Ok(StreamChange::Written(image)) => image,
        // DynamoDB has dropped an item whose time to live was over; the entity is what it was.
        Ok(StreamChange::Removed) => return Ok(None),
        Err(bad) => return Err(bad.to_string()),
    };
    let read = catch_unwind(AssertUnwindSafe(|| {
        let item = match version_item(image) {
            Ok(item) => item,
            Err(ImageError::OtherKind(_)) => return Ok(None),
            Err(error @ ImageError::Unreadable(_)) => return Err(error.to_string()),
        };
        if item.computed_hash().as_ref() != Ok(&item.hash) {
            return Err(format!("{}@{} does not have the hash of its content", item.key, item.version));
        }
        projector.check(&item).map_err(|bad| bad.to_string())?;
        Ok(Some(item))
    }));
    read.unwrap_or_else(|_| Err("reading it panicked".to_owned()))
}

/// Why some items were not applied.
enum Failure {
    /// Not now; the same items may go through later.
    Unavailable,
    /// Not ever, because of at least one of them.
    Poisoned(String),
}

/// Applies readable items, all at once if that is possible, else one by one, so that one that
/// cannot be stored stops only itself.
async fn apply(projector: &Projector, mut good: Vec<(usize, VersionItem)>) -> Outcome {
    good.sort_by(|(_, a), (_, b)| (&a.key, a.version).cmp(&(&b.key, b.version)));
    let (indexes, items): (Vec<usize>, Vec<VersionItem>) = good.into_iter().unzip();
    let mut outcome = Outcome::default();
    match attempt(projector, &items).await {
        Ok(()) => return outcome,
        Err(Failure::Unavailable) => return Outcome { later: indexes, ..outcome },
        Err(Failure::Poisoned(_)) => {}
    }
    for (item, (done, index)) in items.chunks(1).zip(indexes.iter().enumerate()) {
        match attempt(projector, item).await {
            Ok(()) => {}
            Err(Failure::Poisoned(reason)) => outcome.bad.push((*index, reason)),
            Err(Failure::Unavailable) => {
                outcome.later.extend(indexes.iter().skip(done));
                break;
            }
        }
    }
    outcome
}

async fn attempt(projector: &Projector, items: &[VersionItem]) -> Result<(), Failure> {
    match AssertUnwindSafe(projector.apply(items)).catch_unwind().await {
        Ok(Ok(report)) => {
            tracing::info!(rows.written = report.written, rows.unchanged = report.unchanged, "projected");
            Ok(())
        }
        Ok(Err(error @ StoreError::Unavailable { .. })) => {
            tracing::warn!(items = items.len(), "not projected, to be tried again: {error}");
            Err(Failure::Unavailable)
        }
        Ok(Err(error @ StoreError::Rejected { .. })) => Err(Failure::Poisoned(error.to_string())),
        Err(_) => Err(Failure::Poisoned("a read model panicked".to_owned())),
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
