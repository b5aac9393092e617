use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use chrono::{DateTime, Utc};

use super::{Mapping, Record, SequenceNumber};

/// Lambda's limit on what a function is invoked with, in bytes, less what encloses the records.
const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024 - 64;

/// What was read of a shard and is not done with: in lanes, of which each is delivered by itself, and of
/// which each item has one. Pure.
#[derive(Debug)]
pub(super) struct Backlog {
    lanes: Vec<Lane>,
    /// All that was read, and whether it is done with; what is done with is forgotten from the front on.
    taken: BTreeMap<SequenceNumber, bool>,
    checkpoint: Option<SequenceNumber>,
    read_to: Option<SequenceNumber>,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Record>,
    /// When the first of those that wait came.
    since: Option<DateTime<Utc>>,
    is_busy: bool,
}

impl Backlog {
    /// Nothing, with all records up to `at` done with.
    pub(super) fn new(mapping: &Mapping, at: Option<SequenceNumber>) -> Self {
        let lanes = (0..mapping.parallelization_factor.max(1)).map(|_| Lane::default()).collect();
        Self { lanes, taken: BTreeMap::new(), checkpoint: at.clone(), read_to: at }
    }

    /// Takes in what was read next. What the filters leave out is done with.
    pub(super) fn take_in(&mut self, records: Vec<Record>, mapping: &Mapping, now: DateTime<Utc>) {
        for record in records {
            self.read_to = Some(record.sequence_number.clone());
            let is_wanted = mapping.accepts(&record.json);
            self.taken.insert(record.sequence_number.clone(), !is_wanted);
            let number = self.lane_of(&record.item);
            if let Some(lane) = self.lanes.get_mut(number).filter(|_| is_wanted) {
                lane.since.get_or_insert(now);
                lane.waiting.push_back(record);
            }
        }
        self.forget();
    }

    fn lane_of(&self, item: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        item.hash(&mut hasher);
        usize::try_from(hasher.finish() % u64::try_from(self.lanes.len()).unwrap_or(1)).unwrap_or(0)
    }

    /// Whether there is room for more than waits already.
    pub(super) fn has_room(&self, mapping: &Mapping) -> bool {
        let waiting: usize = self.lanes.iter().map(|lane| lane.waiting.len()).sum();
        waiting < mapping.batch_size * self.lanes.len()
    }

    /// A batch that is due, and its lane: full, or waiting for as long as the window is. Its lane is busy
    /// until it is [free](Self::free).
    pub(super) fn due(&mut self, mapping: &Mapping, now: DateTime<Utc>) -> Option<(usize, Vec<Record>)> {
        let (number, lane) = self.lanes.iter_mut().enumerate().find(|(_, lane)| lane.is_due(mapping, now))?;
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(record) = lane.waiting.front().filter(|_| batch.len() < mapping.batch_size) {
            bytes += record.json.len() + 1;
            if bytes > PAYLOAD_LIMIT && !batch.is_empty() {
                break;
            }
            batch.extend(lane.waiting.pop_front());
        }
        lane.since = (!lane.waiting.is_empty()).then_some(now);
        lane.is_busy = true;
        Some((number, batch))
    }

    /// A lane may have its next batch.
    pub(super) fn free(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.is_busy = false;
        }
    }

    /// These records are done with.
    pub(super) fn done(&mut self, numbers: &[SequenceNumber]) {
        for number in numbers {
            if let Some(is_done) = self.taken.get_mut(number) {
                *is_done = true;
            }
        }
        self.forget();
    }

    fn forget(&mut self) {
        while let Some(first) = self.taken.first_entry().filter(|first| *first.get()) {
            self.checkpoint = Some(first.remove_entry().0);
        }
    }

    /// The record up to which all are done with.
    pub(super) fn checkpoint(&self) -> Option<&SequenceNumber> {
        self.checkpoint.as_ref()
    }

    /// The record that was read last.
    pub(super) fn read_to(&self) -> Option<&SequenceNumber> {
        self.read_to.as_ref()
    }

    /// Whether all that was read is done with.
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }
}

impl Lane {
    fn is_due(&self, mapping: &Mapping, now: DateTime<Utc>) -> bool {
        let is_full = || {
            let bytes: usize = self.waiting.iter().map(|record| record.json.len() + 1).sum();
            self.waiting.len() >= mapping.batch_size || bytes > PAYLOAD_LIMIT
        };
        let waited = |since: DateTime<Utc>| (now - since).to_std().unwrap_or_default() >= mapping.window;
        !self.is_busy && !self.waiting.is_empty() && (self.since.is_some_and(waited) || is_full())
    }
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
