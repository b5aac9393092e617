use std::collections::BTreeSet;
use std::iter::Peekable;
use std::panic::AssertUnwindSafe;
use std::vec::IntoIter;

use futures::FutureExt;
use ledgerline_app::{LARGE_STATES_AT_ONCE, LargeStates, Relay};
use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{EntityKey, Timestamp, VersionItem};
use ledgerline_lambda::stream::{BatchResponse, StreamBatch, Untold, told_version};

/// A record that tells of a version: its place in the batch, and the version as it is stored.
struct Told {
    index: usize,
    item: VersionItem,
}

/// Why the events of a version cannot be published.
enum Unread {
    /// They are in a store that is away.
    Away(String),
    /// They are not what they were.
    Bad(String),
    /// It is none.
    NoVersion(String),
}

/// Publishes the events of all versions in the batch, and asks for what was not published again.
///
/// A record that cannot be read is asked for again as well, and holds up no other: that it stays away
/// in the end is the mapping's business, which isolates it and hands it to the failure destination.
/// What claims to be a version and is none is passed over: it is in the ledger for good.
pub(crate) async fn publish(relay: &Relay, batch: StreamBatch, until: Option<Timestamp>) -> BatchResponse {
    let (mut told, mut again) = (Vec::new(), Vec::new());
    let mut numbers = Vec::with_capacity(batch.records.len());
    for (index, record) in batch.records.into_iter().enumerate() {
        match told_version(record.change) {
            Ok(Some(item)) => told.push(Told { index, item }),
            Ok(None) => {}
            Err(Untold::Version(reason)) => pass_over(&reason),
            Err(Untold::Record(reason)) => again.push((index, unreadable(&reason))),
        }
        numbers.push(record.sequence_number);
    }
    // The stream keeps the order of one item, and each version is an item of its own.
    told.sort_by_key(|told| told.item.version);
    let mut rest = told.into_iter().peekable();
    let (mut published, mut waiting) = (0, BTreeSet::new());
    while rest.peek().is_some() {
        let (part, failed) = publish_part(relay, next_part(&mut rest), &mut waiting, until).await;
        published += part;
        again.extend(failed);
    }
    again.sort_unstable();
    tracing::info!(events.published = published, records.failed = again.len(), "relayed");
    let number_of = |index: usize| numbers.get(index).and_then(Option::as_deref);
    for (index, reason) in &again {
        let number = number_of(*index).unwrap_or("unknown");
        tracing::error!(stream.sequence_number = number, "a record is not relayed: {reason}");
    }
    BatchResponse::failed(again.iter().map(|(index, _)| number_of(*index)))
}

/// As many as come next of which the large states can be held at once.
fn next_part(rest: &mut Peekable<IntoIter<Told>>) -> Vec<Told> {
    let (mut part, mut bytes): (Vec<Told>, usize) = (Vec::new(), 0);
    let fits = |bytes: usize, next: &Told| bytes + LargeStates::bytes_beside(&next.item) <= LARGE_STATES_AT_ONCE;
    while let Some(next) = rest.next_if(|next| part.is_empty() || fits(bytes, next)) {
        bytes += LargeStates::bytes_beside(&next.item);
        part.push(next);
    }
    part
}

/// Publishes some of a batch; gives how many events it published and what is to come again. Events of
/// entities in `waiting` are not published before those that were not.
async fn publish_part(
    relay: &Relay,
    part: Vec<Told>,
    waiting: &mut BTreeSet<EntityKey>,
    until: Option<Timestamp>,
) -> (usize, Vec<(usize, String)>) {
    let (mut items, mut of_records, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for Told { index, item } in part {
        if waiting.contains(&item.key) {
            again.push((index, "an earlier event of its entity was not published".to_owned()));
            continue;
        }
        let key = item.key.clone();
        match whole(relay, item, until).await {
            Ok(item) => {
                items.push(item);
                of_records.push(index);
            }
            Err(Unread::NoVersion(reason)) => pass_over(&reason),
            Err(Unread::Bad(reason)) => again.push((index, unreadable(&reason))),
            Err(Unread::Away(reason)) => {
                waiting.insert(key);
                again.push((index, unreadable(&reason)));
            }
        }
    }
    let relayed = relay.publish(&items, until).await;
    for (place, error) in relayed.failed {
        let (Some(item), Some(record)) = (items.get(place), of_records.get(place)) else { continue };
        waiting.insert(item.key.clone());
        again.push((*record, format!("not all of its events were published: {error}")));
    }
    (relayed.published, again)
}

/// Says so in words that an alarm looks for.
fn pass_over(reason: &str) {
    tracing::error!("no event is made of what is no version; the stream goes on without it: {reason}");
}

fn unreadable(reason: &str) -> String {
    format!("it cannot be read: {reason}")
}

/// A stored item with all of its events, checked.
async fn whole(relay: &Relay, item: VersionItem, until: Option<Timestamp>) -> Result<VersionItem, Unread> {
    let read = AssertUnwindSafe(async {
        let item = relay.whole(item, until).await.map_err(|error| match error {
            StoreError::Unavailable { .. } => Unread::Away(error.to_string()),
            StoreError::Rejected { .. } => Unread::Bad(error.to_string()),
        })?;
        if item.computed_hash().as_ref() != Ok(&item.hash) {
            let reason = format!("{}@{} does not have the hash of its content", item.key, item.version);
            return Err(Unread::NoVersion(reason));
        }
        Ok(item)
    });
    read.catch_unwind().await.unwrap_or_else(|_| Err(Unread::Bad("reading it panicked".to_owned())))
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
