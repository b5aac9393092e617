use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;
use ledgerline_app::Projector;
use ledgerline_kernel::VersionItem;
use ledgerline_kernel::ports::StoreError;
use ledgerline_lambda::stream::{BadRecord, BatchResponse, StreamBatch, StreamChange};
use ledgerline_ledger_dynamodb::{ImageError, version_item};

/// Projects what can be projected and asks for the rest again.
///
/// A record is named by its sequence number. One that has none, which DynamoDB never sends, can
/// only be asked for with the whole batch, as an empty identifier does: that loses nobody, since
/// its neighbours have been projected by then and projecting them again changes nothing.
pub(crate) async fn project(projector: &Projector, batch: StreamBatch) -> BatchResponse {
    let mut failed = Vec::new();
    let mut good = Vec::new();
    let mut numbers = Vec::with_capacity(batch.records.len());
    for (index, record) in batch.records.into_iter().enumerate() {
        match read(projector, record.change) {
            Ok(Some(item)) => good.push((index, item)),
            Ok(None) => {}
            Err(reason) => {
                let number = record.sequence_number.as_deref().unwrap_or("unknown");
                tracing::error!(stream.sequence_number = number, "a record cannot be projected: {reason}");
                failed.push(index);
            }
        }
        numbers.push(record.sequence_number);
    }
    failed.extend(apply(projector, good).await);
    failed.sort_unstable();
    BatchResponse::failed(failed.into_iter().map(|index| numbers.get(index).and_then(Option::as_deref)))
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

/// What became of some items.
enum Outcome {
    Projected,
    /// Not now; the same items may go through later.
    Unavailable,
    /// Not ever, because of at least one of them.
    Poisoned,
}

/// Applies readable items, all at once if that is possible. Gives the indexes of those that have
/// to come again.
async fn apply(projector: &Projector, mut good: Vec<(usize, VersionItem)>) -> Vec<usize> {
    good.sort_by(|(_, a), (_, b)| a.key.cmp(&b.key));
    let (indexes, items): (Vec<usize>, Vec<VersionItem>) = good.into_iter().unzip();
    match attempt(projector, &items).await {
        Outcome::Projected => Vec::new(),
        Outcome::Unavailable => indexes,
        Outcome::Poisoned => apply_one_by_one(projector, &indexes, &items).await,
    }
}

/// Applies entity by entity, so that one that cannot be stored stops only itself.
async fn apply_one_by_one(projector: &Projector, mut indexes: &[usize], items: &[VersionItem]) -> Vec<usize> {
    let mut failed = Vec::new();
    for entity in items.chunk_by(|a, b| a.key == b.key) {
        let Some((of_entity, rest)) = indexes.split_at_checked(entity.len()) else { break };
        match attempt(projector, entity).await {
            Outcome::Projected => {}
            Outcome::Poisoned => failed.extend(of_entity),
            Outcome::Unavailable => {
                failed.extend(indexes);
                break;
            }
        }
        indexes = rest;
    }
    failed
}

async fn attempt(projector: &Projector, items: &[VersionItem]) -> Outcome {
    match AssertUnwindSafe(projector.apply(items)).catch_unwind().await {
        Ok(Ok(report)) => {
            tracing::info!(rows.written = report.written, rows.unchanged = report.unchanged, "projected");
            Outcome::Projected
        }
        Ok(Err(error @ StoreError::Unavailable { .. })) => {
            tracing::warn!(items = items.len(), "not projected, to be tried again: {error}");
            Outcome::Unavailable
        }
        Ok(Err(error @ StoreError::Rejected { .. })) => {
            tracing::error!(items = items.len(), "not projected: {error}");
            Outcome::Poisoned
        }
        Err(_) => {
            tracing::error!(items = items.len(), "not projected: a read model panicked");
            Outcome::Poisoned
        }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
