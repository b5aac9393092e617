//! What is decided together and written in one go: one command, or several that stand or fall as one.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use futures::{StreamExt as _, TryStreamExt as _};
use ledgerline_kernel::ports::CommitError;
use ledgerline_kernel::{
    Claim, ClaimChange, Commit, Decision, EntityKey, Expiry, MAX_OPERATIONS, Timestamp, Version, VersionItem,
};

use super::idempotency::{Idempotency, produced};
use super::parts::Part;
use super::{Accepted, CommandError, CommandRequest, Commands, FailedEntry, IN_FLIGHT};
use crate::Environment;

/// How often a unit is decided, the first time included, when others write in between.
const ATTEMPTS: u32 = 6;

/// The largest state that is accepted, in bytes of JSON: what DynamoDB takes of an item (400 KB),
/// less room for the events and the envelope.
const STATE_LIMIT: usize = 350 * 1024;

/// Commands on their way, named and dated once.
pub(super) struct Unit<'a> {
    parts: Vec<Part<'a>>,
    pub(super) idempotency: Option<&'a Idempotency>,
    command_id: String,
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
            let taken = parts.iter().flat_map(|part| &part.keys);
            if let Some(twice) = part.keys.iter().find(|key| taken.clone().any(|other| other == *key)) {
                return Err(FailedEntry { index, error: CommandError::RepeatedInBatch(twice.to_string()) });
            }
            parts.push(part);
        }
        Ok(Self { parts, idempotency, command_id, now })
    }
}

impl Commands {
    /// Decides and writes, again and again while others write in between and the caller did not say
    /// which version it expects.
    pub(super) async fn decide_and_commit(&self, unit: &Unit<'_>) -> Result<Vec<Accepted>, FailedEntry> {
        for attempt in 1..=ATTEMPTS {
            let draft = self.draft(unit).await?;
            if draft.commit.versions.is_empty() {
                return Ok(draft.accepted);
            }
            match self.ledger.commit(&draft.commit, unit.now).await {
                Ok(()) => return Ok(draft.accepted),
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
        for (index, (part, newest)) in unit.parts.iter().zip(loaded).enumerate() {
            draft.decide(unit, part, newest).map_err(|error| FailedEntry { index, error })?;
        }
        draft.commit.claims = std::mem::take(&mut draft.claims).into_values().collect();
        let (commit, accepted) = (&mut draft.commit, &draft.accepted);
        if let (Some(idempotency), false) = (unit.idempotency, commit.versions.is_empty()) {
            commit.idempotency = Some(idempotency.record(accepted.iter().map(produced).collect(), unit.now));
        }
        let operations = commit.operations();
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
struct Draft {
    commit: Commit,
    accepted: Vec<Accepted>,
    /// One change for each value: entries may pass one on.
    claims: BTreeMap<Claim, ClaimChange>,
}

impl Draft {
    fn decide(
        &mut self,
        unit: &Unit<'_>,
        part: &Part<'_>,
        newest: Vec<Option<VersionItem>>,
    ) -> Result<(), CommandError> {
        let decisions = part.decide(&newest, unit.now)?;
        let mut answer: Option<Accepted> = None;
        for ((key, newest), decision) in part.keys.iter().zip(newest).zip(decisions) {
            let (item, changed) = match (decision, newest) {
                (Some(decision), newest) if !decision.events.is_empty() => {
                    (self.write(unit, part, key, newest.as_ref(), decision)?, true)
                }
                (_, Some(newest)) => (newest, false),
                (_, None) => return Err(CommandError::NotFound(key.clone())),
            };
            // The answer is the addressed entity's; it counts as changed if any of them is.
            match &mut answer {
                None => answer = Some(Accepted { item, changed, replayed: false, others: Vec::new() }),
                Some(answer) if changed => {
                    answer.changed = true;
                    answer.others.push(item);
                }
                Some(_) => {}
            }
        }
        self.accepted.extend(answer);
        Ok(())
    }

    fn write(
        &mut self,
        unit: &Unit<'_>,
        part: &Part<'_>,
        key: &EntityKey,
        newest: Option<&VersionItem>,
        mut decision: Decision,
    ) -> Result<VersionItem, CommandError> {
        for (field, value) in std::mem::take(&mut decision.released) {
            self.change_claim(key, field, value, false)?;
        }
        for (field, value) in std::mem::take(&mut decision.taken) {
            self.change_claim(key, field, value, true)?;
        }
        let version = match newest {
            None => Version::FIRST,
            Some(newest) => newest.version.next().map_err(CommandError::VersionsExhausted)?,
        };
        let item = part.chain(key, version, newest, decision, &unit.command_id, unit.now)?;
        let bytes = item.state.to_string().len();
        if bytes > STATE_LIMIT {
            return Err(CommandError::TooLarge { bytes, limit: STATE_LIMIT });
        }
        // The first version holds the place of a create, the newest that of an update: both stay.
        let outdated = newest.filter(|newest| newest.version > Version::FIRST);
        if let (Some(days), Some(outdated)) = (part.request.domain.retention_days(), outdated) {
            let at = (unit.now.as_datetime() + TimeDelta::days(i64::from(days.get()))).into();
            self.commit.expiries.push(Expiry { key: key.clone(), version: outdated.version, at });
        }
        self.commit.versions.push(item.clone());
        Ok(item)
    }

    fn change_claim(&mut self, key: &EntityKey, field: &str, value: String, take: bool) -> Result<(), CommandError> {
        let partition = &key.partition;
        let claim = Claim {
            tenant: partition.tenant.clone(),
            entity_type: partition.entity_type.clone(),
            field: field.to_owned(),
            value,
        };
        let change = match (self.claims.remove(&claim), take) {
            (None, true) => ClaimChange::Take(claim.clone(), key.clone()),
            (None, false) => ClaimChange::Release(claim.clone(), key.clone()),
            // One entry gives it up and another takes it, in either order.
            (Some(ClaimChange::Release(_, from)), true) => {
                ClaimChange::Transfer { claim: claim.clone(), from, to: key.clone() }
            }
            (Some(ClaimChange::Take(_, to)), false) => {
                ClaimChange::Transfer { claim: claim.clone(), from: key.clone(), to }
            }
            (Some(_), _) => return Err(CommandError::RepeatedInBatch(field.to_owned())),
        };
        self.claims.insert(claim, change);
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
