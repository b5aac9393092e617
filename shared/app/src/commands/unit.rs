//! What is decided together and written in one go: one command, or several that stand or fall as one.

use chrono::TimeDelta;
use futures::{StreamExt as _, TryStreamExt as _};
use ledgerline_kernel::ports::CommitError;
use ledgerline_kernel::{
    Claim, ClaimChange, Commit, Decision, EntityKey, Expiry, MAX_OPERATIONS, Produced, Timestamp, Version, VersionItem,
};

use super::idempotency::Idempotency;
use super::parts::Part;
use super::{Accepted, CommandError, CommandRequest, Commands, FailedEntry, IN_FLIGHT};
use crate::Environment;
use crate::large_states::{LARGE_STATE_LIMIT, json_length, travelling_size};

/// How often a unit is decided, the first time included, when others write in between.
const ATTEMPTS: u32 = 6;

/// The largest state that is accepted of a domain without large states, in bytes of JSON: what DynamoDB
/// takes of an item (400 KB), less room for the events and the envelope.
const STATE_LIMIT: usize = 350 * 1024;

/// Commands on their way, named and dated once.
pub(super) struct Unit<'a> {
    parts: Vec<Part<'a>>,
    pub(super) idempotency: Option<&'a Idempotency>,
    pub(super) command_id: String,
    pub(super) now: Timestamp,
}

impl<'a> Unit<'a> {
    /// Reads and validates all of them; no store is touched.
    pub(super) fn take_in(
        requests: &'a [CommandRequest<'a>],
        idempotency: Option<&'a Idempotency>,
        environment: &dyn Environment,
    ) -> Result<Self, FailedEntry> {
        let (command_id, now) = (environment.new_id(), environment.now());
        let mut parts: Vec<Part<'_>> = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter().enumerate() {
            let part = Part::take_in(request, environment).map_err(|error| FailedEntry { index, error })?;
            let repeated = |(entry, earlier): (usize, &Part<'_>)| {
                let key = part.keys.iter().find(|key| earlier.keys.contains(key))?;
                Some(CommandError::RepeatedInBatch { field: part.field_of(key).to_owned(), entry })
            };
            if let Some(error) = parts.iter().enumerate().find_map(repeated) {
                return Err(FailedEntry { index, error });
            }
            parts.push(part);
        }
        Ok(Self { parts, idempotency, command_id, now })
    }

    /// The other entities that each of them involves.
    pub(super) fn involved(&self) -> impl Iterator<Item = &[EntityKey]> {
        self.parts.iter().map(|part| part.keys.get(1..).unwrap_or_default())
    }

    /// A unit that others add to: its name and its date.
    pub(super) fn of_nothing(environment: &dyn Environment) -> Self {
        Self { parts: Vec::new(), idempotency: None, command_id: environment.new_id(), now: environment.now() }
    }

    /// The entity that the first of them addresses.
    pub(super) fn addressed(&self) -> Option<&EntityKey> {
        self.parts.first().and_then(|part| part.keys.first())
    }
}

impl Commands {
    /// Decides and writes, again and again while others write in between and the caller did not say
    /// which version it expects.
    pub(super) async fn decide_and_commit(&self, unit: &Unit<'_>) -> Result<Vec<Accepted>, FailedEntry> {
        for attempt in 1..=ATTEMPTS {
            let draft = self.draft(unit).await?;
            if draft.commit.versions.is_empty() {
                return Ok(draft.accepted());
            }
            match self.ledger.commit(&draft.commit, unit.now).await {
                Ok(()) => return Ok(draft.accepted()),
                Err(error) => match unit.verdict(&draft.commit, error) {
                    Verdict::Lost => {}
                    Verdict::Failed(failed) => return Err(failed),
                },
            }
            if attempt < ATTEMPTS {
                self.environment.back_off(attempt).await;
            }
        }
        Err(unit.failed(0, |part| part.keys.first().cloned().map_or(CommandError::InFlight, CommandError::Contended)))
    }

    /// Loads what there is and decides on it.
    async fn draft(&self, unit: &Unit<'_>) -> Result<Draft, FailedEntry> {
        let load = |(index, part)| async move { self.load(part).await.map_err(|error| FailedEntry { index, error }) };
        let loaded: Vec<_> = match unit.parts.as_slice() {
            [only] => vec![load((0, only)).await?],
            parts => {
                // Collected first: a stream over the closure itself would make a future that is not `Send`.
                let loads: Vec<_> = parts.iter().enumerate().map(load).collect();
                futures::stream::iter(loads).buffered(IN_FLIGHT).try_collect().await?
            }
        };
        let mut draft = Draft::default();
        draft.commit.versions.reserve_exact(loaded.iter().map(Vec::len).sum());
        for (index, (part, newest)) in unit.parts.iter().zip(loaded).enumerate() {
            draft.decide(unit, part, newest).map_err(|error| FailedEntry { index, error })?;
        }
        if let (Some(idempotency), false) = (unit.idempotency, draft.commit.versions.is_empty()) {
            draft.commit.idempotency = Some(idempotency.record(unit.produced(&draft.answers), unit.now));
        }
        let operations = draft.commit.operations();
        if operations > MAX_OPERATIONS {
            let error = CommandError::TooManyWrites { operations, limit: MAX_OPERATIONS };
            return Err(FailedEntry { index: unit.parts.len().saturating_sub(1), error });
        }
        Ok(draft)
    }

    /// The newest versions of a part's entities; a create needs none.
    async fn load(&self, part: &Part<'_>) -> Result<Vec<Option<VersionItem>>, CommandError> {
        let mut newest = Vec::with_capacity(part.keys.len());
        for (index, key) in part.keys.iter().enumerate() {
            let addressed = index == 0;
            let found = if addressed && part.creates() { None } else { self.ledger.newest(key).await? };
            match (&found, part.expected) {
                (None, _) if !(addressed && part.creates()) => return Err(CommandError::NotFound(key.clone())),
                (Some(item), Some((expected, given_in))) if addressed && item.version != expected => {
                    return Err(CommandError::VersionConflict { expected, current: item.version, given_in });
                }
                _ => newest.push(found),
            }
        }
        Ok(newest)
    }
}

/// What a unit would write, and would answer then.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) commit: Commit,
    answers: Vec<Answer>,
}

/// What a part will be answered with: an item that was there before, or the next of those to be
/// written, which belong to the commit until then.
struct Answer {
    version: Version,
    unchanged: Option<VersionItem>,
    /// How many items of other entities the part writes, right after its own.
    others: usize,
}

impl Answer {
    /// It counts as changed if any of its entities is.
    fn changed(&self) -> bool {
        self.unchanged.is_none() || self.others > 0
    }
}

impl Draft {
    /// Adds what a part leads to. What is left by one that fails is of no use.
    pub(super) fn decide(
        &mut self,
        unit: &Unit<'_>,
        part: &Part<'_>,
        newest: Vec<Option<VersionItem>>,
    ) -> Result<(), CommandError> {
        let decisions = part.decide(&newest, unit.now)?;
        let mut answer: Option<Answer> = None;
        for ((key, newest), decision) in part.keys.iter().zip(newest).zip(decisions) {
            let (version, unchanged) = match (decision, newest) {
                (Some(decision), newest) if !decision.events.is_empty() => {
                    (self.write(unit, part, key, newest.as_ref(), decision)?, None)
                }
                (_, Some(newest)) => (newest.version, Some(newest)),
                (_, None) => return Err(CommandError::NotFound(key.clone())),
            };
            // The answer is the addressed entity's.
            match &mut answer {
                None => answer = Some(Answer { version, unchanged, others: 0 }),
                Some(answer) => answer.others += usize::from(unchanged.is_none()),
            }
        }
        self.answers.extend(answer);
        Ok(())
    }

    /// Each part's answer, with the items of the commit.
    fn accepted(self) -> Vec<Accepted> {
        let mut written = self.commit.versions.into_iter();
        let accepted = |answer: Answer| {
            let changed = answer.changed();
            let item = answer.unchanged.or_else(|| written.next())?;
            Some(Accepted { item, changed, replayed: false, others: written.by_ref().take(answer.others).collect() })
        };
        let mut answers = Vec::with_capacity(self.answers.len());
        answers.extend(self.answers.into_iter().filter_map(accepted));
        answers
    }

    fn write(
        &mut self,
        unit: &Unit<'_>,
        part: &Part<'_>,
        key: &EntityKey,
        newest: Option<&VersionItem>,
        mut decision: Decision,
    ) -> Result<Version, CommandError> {
        for (field, value) in std::mem::take(&mut decision.released) {
            self.change_claim(unit, key, field, value, false)?;
        }
        for (field, value) in std::mem::take(&mut decision.taken) {
            self.change_claim(unit, key, field, value, true)?;
        }
        let version = match newest {
            None => Version::FIRST,
            Some(newest) => newest.version.next().map_err(CommandError::VersionsExhausted)?,
        };
        let item = part.chain(key, version, newest, decision, &unit.command_id, unit.now)?;
        let (bytes, limit) = match part.request.domain.has_large_states() {
            true => (travelling_size(&item), LARGE_STATE_LIMIT),
            false => (json_length(&item.state), STATE_LIMIT),
        };
        if bytes > limit {
            return Err(CommandError::TooLarge { bytes, limit });
        }
        // The first version holds the place of a create, the newest that of an update: both stay.
        let outdated = newest.filter(|newest| newest.version > Version::FIRST);
        if let (Some(days), Some(outdated)) = (part.request.domain.retention_days(), outdated) {
            let at = (unit.now.as_datetime() + TimeDelta::days(i64::from(days.get()))).into();
            self.commit.expiries.push(Expiry { key: key.clone(), version: outdated.version, at });
        }
        self.commit.versions.push(item);
        Ok(version)
    }

    fn change_claim(
        &mut self,
        unit: &Unit<'_>,
        key: &EntityKey,
        field: &str,
        value: String,
        take: bool,
    ) -> Result<(), CommandError> {
        let partition = &key.partition;
        let claim = Claim {
            tenant: partition.tenant.clone(),
            entity_type: partition.entity_type.clone(),
            field: field.to_owned(),
            value,
        };
        // One change for each value: entries may pass one on.
        let claims = &mut self.commit.claims;
        let earlier = claims.iter().position(|change| *change.claim() == claim).map(|index| claims.swap_remove(index));
        let change = match (earlier, take) {
            (None, true) => ClaimChange::Take(claim, key.clone()),
            (None, false) => ClaimChange::Release(claim, key.clone()),
            // One entry gives it up and another takes it, in either order.
            (Some(ClaimChange::Release(_, from)), true) => ClaimChange::Transfer { claim, from, to: key.clone() },
            (Some(ClaimChange::Take(_, to)), false) => ClaimChange::Transfer { claim, from: key.clone(), to },
            (Some(earlier), _) => {
                let (field, entry) = (field.to_owned(), unit.part_of(earlier.holder()));
                return Err(CommandError::RepeatedInBatch { field, entry });
            }
        };
        claims.push(change);
        Ok(())
    }
}

/// What a failed commit means.
enum Verdict {
    /// Somebody was faster; decide again on what is there now.
    Lost,
    Failed(FailedEntry),
}

impl Unit<'_> {
    fn produced(&self, answers: &[Answer]) -> Vec<Produced> {
        let produced = |(part, answer): (&Part<'_>, &Answer)| {
            let id = part.keys.first()?.clone();
            Some(Produced { id, version: answer.version, changed: answer.changed() })
        };
        self.parts.iter().zip(answers).filter_map(produced).collect()
    }

    fn verdict(&self, commit: &Commit, error: CommitError) -> Verdict {
        let failed = |index, error| Verdict::Failed(FailedEntry { index, error });
        match error {
            CommitError::Occupied(stored) => {
                let index = self.part_of(&stored.key);
                match self.parts.get(index) {
                    Some(part) if part.keys.first() != Some(&stored.key) => Verdict::Lost,
                    Some(part) if part.creates() => failed(index, CommandError::AlreadyExists(stored.key)),
                    Some(Part { expected: Some((expected, given_in)), .. }) => {
                        let (expected, given_in, current) = (*expected, *given_in, stored.version);
                        failed(index, CommandError::VersionConflict { expected, current, given_in })
                    }
                    _ => Verdict::Lost,
                }
            }
            CommitError::Claimed { claim, holder } => {
                let taker = commit.claims.iter().find(|change| *change.claim() == *claim).map(ClaimChange::holder);
                let index = taker.map_or(0, |key| self.part_of(key));
                failed(index, CommandError::Taken { field: claim.field, holder })
            }
            // Reported as its twin's answer, or as a misused key, once the record has been looked at.
            CommitError::Remembered(_) => failed(0, CommandError::InFlight),
            // No unit but that of an import's rows has an outcome to lose; see `rows.rs`.
            CommitError::Imported(_) => failed(0, CommandError::InFlight),
            CommitError::Contended if self.idempotency.is_some() => failed(0, CommandError::InFlight),
            CommitError::Contended => self
                .parts
                .first()
                .and_then(|part| part.keys.first())
                .map_or(Verdict::Lost, |key| failed(0, CommandError::Contended(key.clone()))),
            CommitError::TooLarge { bytes, limit } => failed(0, CommandError::TooLarge { bytes, limit }),
            CommitError::TooMany { operations, limit } => failed(0, CommandError::TooManyWrites { operations, limit }),
            CommitError::Store(error) => failed(0, error.into()),
        }
    }

    fn failed(&self, index: usize, error: impl FnOnce(&Part<'_>) -> CommandError) -> FailedEntry {
        FailedEntry { index, error: self.parts.get(index).map_or(CommandError::InFlight, error) }
    }

    fn part_of(&self, key: &EntityKey) -> usize {
        self.parts.iter().position(|part| part.keys.contains(key)).unwrap_or(0)
    }
}
