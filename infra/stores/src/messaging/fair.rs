//! The messages of one queue. Pure: whoever calls says what time it is, in milliseconds since 1970.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use winterbaume_sqs::types::Message;

/// A message in a queue.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// What it says, and what became of it so far.
    pub(super) message: Message,
    /// Its `MessageGroupId`.
    pub(super) group: Option<String>,
    /// The queue that it came to this dead-letter queue from.
    pub(super) source: Option<String>,
}

/// A standard queue that is fair between groups: the next message is one of the group that has the fewest
/// in flight, and of those that of the group whose turn was longest ago. Within a group, and among
/// messages without one, the oldest comes first.
#[derive(Debug)]
pub(super) struct FairQueue {
    /// Tells its receipt handles from those of other queues.
    instance: u64,
    next: u64,
    turns: u64,
    messages: HashMap<u64, Held>,
    groups: BTreeMap<Option<String>, Group>,
    /// Who cannot be seen, and until when.
    hidden: BTreeSet<(i64, u64)>,
}

#[derive(Debug, Default)]
struct Group {
    /// Who can be received.
    ready: BTreeSet<u64>,
    in_flight: usize,
    last_turn: u64,
}

/// How many messages there are, by what can be done with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// `ApproximateNumberOfMessages`
    pub(super) visible: usize,
    /// `ApproximateNumberOfMessagesNotVisible`
    pub(super) in_flight: usize,
    /// `ApproximateNumberOfMessagesDelayed`
    pub(super) delayed: usize,
}

/// How messages are received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receive {
    /// How many at most.
    pub(super) max: usize,
    /// For how many milliseconds nobody else sees them.
    pub(super) hidden_for: i64,
    /// After how often a message is given up.
    pub(super) max_receive_count: Option<u32>,
}

/// A receipt handle that no message of the queue ever had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownHandle;

impl FairQueue {
    /// An empty queue. No other one has this number.
    pub(super) fn new(instance: u64) -> Self {
        let (messages, groups, hidden) = (HashMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { instance, next: 0, turns: 0, messages, groups, hidden }
    }

    /// Takes a message in, to be seen from `message.visible_at` on.
    pub(super) fn push(&mut self, held: Held, now: i64) {
        let number = self.next;
        self.next += 1;
        let visible_at = held.message.visible_at;
        if visible_at > now {
            self.hidden.insert((visible_at, number));
        } else {
            self.groups.entry(held.group.clone()).or_default().ready.insert(number);
        }
        self.messages.insert(number, held);
    }

    /// Hands messages out, each with a receipt handle of its own, and those that were received too often for
    /// good.
    pub(super) fn receive(&mut self, how: Receive, now: i64) -> (Vec<Held>, Vec<Held>) {
        self.wake(now);
        let (mut received, mut dead) = (Vec::new(), Vec::new());
        while received.len() < how.max {
            let Some(number) = self.take_next() else { break };
            let Some(held) = self.messages.get_mut(&number) else { continue };
            let count = held.message.approximate_receive_count + 1;
            if how.max_receive_count.is_some_and(|most| count > most) {
                dead.extend(self.remove(number));
                continue;
            }
            let message = &mut held.message;
            message.approximate_receive_count = count;
            message.approximate_first_receive_timestamp.get_or_insert(now);
            message.visible_at = now.saturating_add(how.hidden_for);
            message.receipt_handle = Some(format!("{:016x}{number:016x}{count:08x}", self.instance));
            self.hidden.insert((message.visible_at, number));
            received.push(held.clone());
            if let Some(group) = self.groups.get_mut(&held.group) {
                group.in_flight += 1;
            }
        }
        (received, dead)
    }

    /// Removes a message by the handle of its last receive. By an older one nothing happens: somebody else has
    /// it now, or it is gone.
    pub(super) fn delete(&mut self, handle: &str, now: i64) -> Result<(), UnknownHandle> {
        self.wake(now);
        if let Some(number) = self.find(handle)? {
            self.remove(number);
        }
        Ok(())
    }

    /// Sets until when a message in flight is hidden. Of one that is not in flight, nothing is changed.
    pub(super) fn hide_until(&mut self, handle: &str, visible_at: i64, now: i64) -> Result<(), UnknownHandle> {
        self.wake(now);
        let Some(number) = self.find(handle)? else { return Ok(()) };
        let Some(held) = self.messages.get_mut(&number) else { return Ok(()) };
        if self.hidden.remove(&(held.message.visible_at, number)) {
            held.message.visible_at = visible_at;
            self.hidden.insert((visible_at, number));
            self.wake(now);
        }
        Ok(())
    }

    /// Takes out all that is not in flight.
    pub(super) fn drain(&mut self, now: i64) -> Vec<Held> {
        self.wake(now);
        let ready: Vec<u64> = self.groups.values().flat_map(|group| &group.ready).copied().collect();
        ready.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Removes everything.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.groups.clear();
        self.hidden.clear();
    }

    pub(super) fn counts(&mut self, now: i64) -> Counts {
        self.wake(now);
        let visible = self.groups.values().map(|group| group.ready.len()).sum();
        let in_flight: usize = self.groups.values().map(|group| group.in_flight).sum();
        Counts { visible, in_flight, delayed: self.hidden.len().saturating_sub(in_flight) }
    }

    /// Shows what was hidden until now.
    fn wake(&mut self, now: i64) {
        while let Some((visible_at, number)) = self.hidden.first().copied().filter(|(moment, _)| *moment <= now) {
            self.hidden.remove(&(visible_at, number));
            let Some(held) = self.messages.get(&number) else { continue };
            let group = self.groups.entry(held.group.clone()).or_default();
            group.ready.insert(number);
            group.in_flight -= usize::from(held.message.approximate_receive_count > 0);
        }
    }

    fn take_next(&mut self) -> Option<u64> {
        let waiting = self.groups.values_mut().filter(|group| !group.ready.is_empty());
        let next = waiting.min_by_key(|group| (group.in_flight, group.last_turn))?;
        self.turns += 1;
        next.last_turn = self.turns;
        next.ready.pop_first()
    }

    /// The message with this handle; none if the handle is old.
    fn find(&self, handle: &str) -> Result<Option<u64>, UnknownHandle> {
        let part = |range: std::ops::Range<usize>| u64::from_str_radix(handle.get(range)?, 16).ok();
        let is_ours = handle.len() == 40 && part(0..16) == Some(self.instance);
        let number = part(16..32).filter(|number| is_ours && *number < self.next).ok_or(UnknownHandle)?;
        let is_current = |held: &Held| held.message.receipt_handle.as_deref() == Some(handle);
        Ok(self.messages.get(&number).is_some_and(is_current).then_some(number))
    }

    fn remove(&mut self, number: u64) -> Option<Held> {
        let held = self.messages.remove(&number)?;
        let was_hidden = self.hidden.remove(&(held.message.visible_at, number));
        let group = self.groups.get_mut(&held.group)?;
        group.ready.remove(&number);
        group.in_flight -= usize::from(was_hidden && held.message.approximate_receive_count > 0);
        if group.in_flight == 0 && group.ready.is_empty() {
            self.groups.remove(&held.group);
        }
        Some(held)
    }
}

#[cfg(test)]
#[path = "fair_tests.rs"]
mod tests;
