use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::time::{Duration, SystemTime};
use std::vec::IntoIter;

use ledgerline_app::{InTime, LARGE_STATES_AT_ONCE, LargeStates, ReadModelReport, UNREADABLE};
use ledgerline_kernel::ports::{Poison, Quarantine, Strike, Taken};
use ledgerline_kernel::{EntityKey, Version, VersionItem};
use ledgerline_lambda::stream::{BatchResponse, StreamBatch, told_version};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Deps;
use crate::poison::poison_of;
use crate::records::{Unread, whole};

/// How long before the end no more is begun: what is under way needs time to come to its own.
const MARGIN: Duration = Duration::from_secs(2);

/// About how many records are projected at once.
const SLICE: usize = 200;

/// A record that tells of a version: its place in the batch, and the version as it is stored.
struct Told {
    index: usize,
    item: VersionItem,
}

/// Something that gets a strike, and the records that come again unless that was its last.
struct Bad {
    projection: String,
    poison: Poison,
    records: Vec<usize>,
}

/// What became of the records of a batch, by index. Those that are nowhere are done with.
#[derive(Default)]
struct Outcome {
    /// Could not be tried: a store is away, or time is up. Nothing is wrong with them.
    later: BTreeSet<usize>,
    bad: Vec<Bad>,
    /// What the read models have now.
    taken: Vec<Taken>,
}

/// Projects what can be projected by `deadline` and asks for the rest again.
///
/// While a store is away, everything that is not done comes again, however often: nothing counts
/// against a record that the store may have failed. Otherwise what a read model refuses gets a strike
/// there, and after the last one it is passed over. What a later version of its entity has made up
/// for is passed over at once.
///
/// A record is named by its sequence number. One that has none, which DynamoDB never sends, can
/// only be asked for with the whole batch, as an empty identifier does: that loses nobody, since
/// its neighbours have been projected by then and projecting them again changes nothing.
pub(crate) async fn project(
    deps: &Deps,
    event: &RawValue,
    batch: StreamBatch,
    deadline: Option<SystemTime>,
) -> BatchResponse {
    let in_time = || deadline.is_none_or(|deadline| (deps.clock)() + MARGIN < deadline);
    let (mut told, mut unread) = (Vec::new(), Vec::new());
    let mut numbers = Vec::with_capacity(batch.records.len());
    for (index, record) in batch.records.into_iter().enumerate() {
        match told_version(record.change) {
            Ok(Some(item)) => told.push(Told { index, item }),
            Ok(None) => {}
            Err(untold) => unread.push((index, untold.to_string())),
        }
        numbers.push(record.sequence_number);
    }
    let mut delivery =
        Delivery { deps, event, numbers, in_time: &in_time, outcome: Outcome::default(), no_large: None };
    unread.into_iter().for_each(|(index, reason)| delivery.unreadable(index, &reason));
    told.sort_by(|a, b| (&a.item.key, a.item.version).cmp(&(&b.item.key, b.item.version)));
    let mut rest = told.into_iter().peekable();
    while rest.peek().is_some() {
        delivery.apply(next_slice(&mut rest)).await;
    }

    let Delivery { numbers, outcome: Outcome { later, mut bad, taken }, .. } = delivery;
    bad.retain(|bad| !bad.is_made_up_for(&taken));
    release(deps.quarantine.as_ref(), &taken).await;
    for Bad { projection, poison, .. } in &bad {
        tracing::error!(projection, record = poison.record, "cannot be projected: {}", poison.error);
    }
    let mut again = if later.is_empty() {
        strike(deps.quarantine.as_ref(), bad).await
    } else {
        bad.into_iter().flat_map(|bad| bad.records).collect()
    };
    again.extend(later);
    BatchResponse::failed(again.into_iter().map(|index| numbers.get(index).and_then(Option::as_deref)))
}

/// All versions of an entity together, unless their large states are too much to be held at once.
fn next_slice(rest: &mut Peekable<IntoIter<Told>>) -> Vec<Told> {
    let (mut slice, mut bytes): (Vec<Told>, usize) = (Vec::new(), 0);
    let joins = |slice: &[Told], bytes: usize, next: &Told| match slice.last() {
        Some(last) => bytes <= LARGE_STATES_AT_ONCE && (slice.len() < SLICE || last.item.key == next.item.key),
        None => true,
    };
    while let Some(next) = rest.next_if(|next| joins(&slice, bytes + LargeStates::bytes_beside(&next.item), next)) {
        bytes += LargeStates::bytes_beside(&next.item);
        slice.push(next);
    }
    slice
}

impl Bad {
    /// Whether a version from then on has gone through: nothing is missing any more.
    fn is_made_up_for(&self, taken: &[Taken]) -> bool {
        self.poison.version.as_ref().is_some_and(|(key, version)| {
            taken
                .iter()
                .any(|taken| taken.projection == self.projection && taken.key == *key && taken.version >= *version)
        })
    }
}

/// A batch on its way.
struct Delivery<'a> {
    deps: &'a Deps,
    event: &'a RawValue,
    /// The sequence number of each record.
    numbers: Vec<Option<String>>,
    in_time: InTime<'a>,
    outcome: Outcome,
    /// Why no more large states are asked for: so that small ones do not wait for a store that is away.
    no_large: Option<String>,
}

impl Delivery<'_> {
    async fn apply(&mut self, slice: Vec<Told>) {
        let (mut items, mut indexes) = (Vec::with_capacity(slice.len()), Vec::with_capacity(slice.len()));
        for Told { index, item } in slice {
            match self.whole(item).await {
                Ok(item) => {
                    items.push(item);
                    indexes.push(index);
                }
                Err(Unread::Later(reason)) => {
                    tracing::warn!("a record cannot be read yet: {reason}");
                    self.outcome.later.insert(index);
                }
                Err(Unread::Bad(reason)) => self.unreadable(index, &reason),
            }
        }
        let projection = self.deps.projector.project(&items, self.in_time).await;
        let entities = Entities::of(&items, &indexes);
        for report in &projection.read_models {
            entities.note(report, &mut self.outcome);
        }
        let later = &self.outcome.later;
        let done =
            entities.records.iter().filter(|(_, records)| records.iter().all(|(_, index)| !later.contains(index)));
        let read = done.filter_map(|(key, records)| Some(taken(UNREADABLE, key, records.last()?.0)));
        self.outcome.taken.extend(read.collect::<Vec<_>>());
    }

    async fn whole(&mut self, item: VersionItem) -> Result<VersionItem, Unread> {
        let is_large = LargeStates::bytes_beside(&item) > 0;
        if is_large && self.no_large.is_none() && !(self.in_time)() {
            self.no_large = Some("out of time".to_owned());
        }
        if let Some(reason) = self.no_large.clone().filter(|_| is_large) {
            return Err(Unread::Later(reason));
        }
        let read = whole(&self.deps.projector, &self.deps.large_states, item).await;
        if let Err(Unread::Later(reason)) = &read {
            self.no_large = Some(reason.clone());
        }
        read
    }

    fn unreadable(&mut self, index: usize, reason: &str) {
        let number = self.numbers.get(index).and_then(Option::as_deref);
        let poison = poison_of(self.event, index, number, reason);
        self.outcome.bad.push(Bad { projection: UNREADABLE.to_owned(), poison, records: vec![index] });
    }
}

/// The records of each entity: versions, oldest first, and places in the batch.
struct Entities<'a> {
    records: BTreeMap<&'a EntityKey, Vec<(Version, usize)>>,
}

impl<'a> Entities<'a> {
    fn of(items: &'a [VersionItem], indexes: &[usize]) -> Self {
        let mut records: BTreeMap<&EntityKey, Vec<(Version, usize)>> = BTreeMap::new();
        for (item, index) in items.iter().zip(indexes) {
            records.entry(&item.key).or_default().push((item.version, *index));
        }
        Self { records }
    }

    /// Notes what became of these entities in one read model.
    fn note(&self, report: &ReadModelReport, outcome: &mut Outcome) {
        let mut missing: BTreeSet<&EntityKey> = report.left.iter().chain(&report.forks).collect();
        let left = report.left.iter().filter_map(|key| self.records.get(key)).flatten();
        outcome.later.extend(left.map(|(_, index)| *index));
        for refused in &report.refused {
            missing.insert(&refused.key);
            let records = self.records.get(&refused.key).map_or(&[][..], Vec::as_slice);
            let poison = Poison {
                record: refused.key.to_string(),
                version: records.last().map(|(newest, _)| (refused.key.clone(), *newest)),
                error: format!("at version {}: {}", refused.version, refused.reason),
                // The ledger has it.
                image: Value::Null,
            };
            let again = records.iter().filter(|(version, _)| *version >= refused.version);
            let records = again.map(|(_, index)| *index).collect();
            outcome.refused(Bad { projection: report.read_model.to_owned(), poison, records });
        }
        let held = self.records.iter().filter(|(key, _)| !missing.contains(*key));
        outcome.taken.extend(held.filter_map(|(key, records)| Some(taken(report.read_model, key, records.last()?.0))));
    }
}

impl Outcome {
    /// An entity that comes in several slices gets one strike in each read model, as any other.
    fn refused(&mut self, later: Bad) {
        let same = |bad: &&mut Bad| bad.projection == later.projection && bad.poison.record == later.poison.record;
        match self.bad.iter_mut().find(same) {
            Some(bad) => {
                bad.poison = later.poison;
                bad.records.extend(later.records);
            }
            None => self.bad.push(later),
        }
    }
}

fn taken(projection: &str, key: &EntityKey, version: Version) -> Taken {
    Taken { projection: projection.to_owned(), key: key.clone(), version }
}

/// Forgets what was noted against entities that have gone through. If that fails, it is made up for
/// with their next version, or by a redrive.
async fn release(quarantine: &dyn Quarantine, taken: &[Taken]) {
    match quarantine.release(taken).await {
        Ok(0) => {}
        Ok(healed) => tracing::info!(healed, "quarantined no more: a later version went through"),
        Err(error) => tracing::warn!("the quarantine was not looked at: {error}"),
    }
}

/// Gives each bad one a strike; gives the records that are to come again. While the quarantine is
/// away, those are the records of all.
async fn strike(quarantine: &dyn Quarantine, bad: Vec<Bad>) -> BTreeSet<usize> {
    let mut again = BTreeSet::new();
    let mut is_away = false;
    for Bad { projection, poison, records } in bad {
        if is_away {
            again.extend(records);
            continue;
        }
        match quarantine.strike(&projection, &poison).await {
            Ok(Strike::Quarantined) => tracing::error!(
                projection,
                record = poison.record,
                entity.id = poison.version.as_ref().map(|(key, _)| key.to_string()),
                entity.version = poison.version.as_ref().map(|(_, version)| version.number()),
                "quarantined; the stream goes on without it: {}",
                poison.error
            ),
            Ok(Strike::Again) => again.extend(records),
            Err(error) => {
                // The others would wait for it in vain as well.
                tracing::error!(record = poison.record, "no strike was noted: {error}");
                is_away = true;
                again.extend(records);
            }
        }
    }
    again
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
