//! `Idempotency-Key`: the first answer again, and no second effect.
//!
//! The record is written in the same transaction as its effect, so there is no moment at which one
//! exists without the other. It is looked up only when the effect did not happen: a request that is
//! accepted costs no extra read.

use std::slice::from_ref;

use chrono::TimeDelta;
use ledgerline_kernel::ports::CommitError;
use ledgerline_kernel::{Commit, Hash, IdempotencyRecord, Produced, TenantCode, Timestamp};

use super::unit::Unit;
use super::{Accepted, CommandError, CommandRequest, Commands, FailedEntry};

/// How long an answer is remembered.
const REMEMBERED_HOURS: i64 = 24;

/// A request's idempotency key and what tells the request from others.
#[derive(Debug, Clone)]
pub(crate) struct Idempotency {
    tenant: TenantCode,
    key: String,
    pub(crate) payload_hash: Hash,
}

impl Idempotency {
    /// That of a request which is told from others by this text.
    pub(crate) fn new(tenant: &TenantCode, key: &str, payload: &str) -> Result<Self, CommandError> {
        let valid = (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !valid {
            return Err(CommandError::KeyInvalid);
        }
        Ok(Self { tenant: tenant.clone(), key: key.to_owned(), payload_hash: Hash::of(payload) })
    }

    /// That of a command by itself.
    pub(super) fn of(request: &CommandRequest<'_>) -> Result<Option<Self>, CommandError> {
        Self::of_all("", from_ref(request))
    }

    /// That of a batch: the key of its first entry, the payload of all. A batch of one is another
    /// request than its entry by itself, and is answered otherwise.
    pub(super) fn of_batch(requests: &[CommandRequest<'_>]) -> Result<Option<Self>, CommandError> {
        Self::of_all("together ", requests)
    }

    fn of_all(how: &str, requests: &[CommandRequest<'_>]) -> Result<Option<Self>, CommandError> {
        let Some((first, Some(key))) = requests.first().map(|first| (first, first.idempotency_key.as_ref())) else {
            return Ok(None);
        };
        let mut payload = how.to_owned();
        for request in requests {
            let CommandRequest { domain, action, sk, if_match, body, .. } = request;
            // The lengths keep neighbouring texts apart.
            let target = format!("{} {action:?} {sk:?} {if_match:?}", domain.resource());
            payload.push_str(&format!("{} {target} {} {body}", target.len(), body.len()));
        }
        Self::new(&first.caller.tenant, key, &payload).map(Some)
    }

    /// What will remember that `accepted` was the answer.
    pub(crate) fn record(&self, produced: Vec<Produced>, now: Timestamp) -> IdempotencyRecord {
        IdempotencyRecord {
            tenant: self.tenant.clone(),
            key: self.key.clone(),
            payload_hash: self.payload_hash.clone(),
            produced,
            expires_at: (now.as_datetime() + TimeDelta::hours(REMEMBERED_HOURS)).into(),
        }
    }
}

impl Commands {
    /// Keeps an idempotency key for a batch whose entries are executed each by itself, under keys of
    /// their own: whatever else comes with this key is refused. Written before any of them, since no
    /// transaction holds them all; the batch itself may come again at any time.
    ///
    /// # Errors
    /// [`CommandError::KeyReused`] if the key came with another `payload` before, or with something
    /// that was no batch; [`CommandError::KeyInvalid`] for one that cannot be.
    pub async fn reserve(&self, tenant: &TenantCode, key: &str, payload: &str) -> Result<(), CommandError> {
        let now = self.environment.now();
        let idempotency = Idempotency::new(tenant, key, &format!("batch {payload}"))?;
        let commit = Commit { idempotency: Some(idempotency.record(Vec::new(), now)), ..Commit::default() };
        match self.ledger.commit(&commit, now).await {
            Ok(()) => Ok(()),
            Err(CommitError::Remembered(record)) if record.payload_hash == idempotency.payload_hash => Ok(()),
            Err(CommitError::Remembered(_)) => Err(CommandError::KeyReused),
            Err(CommitError::Store(error)) => Err(error.into()),
            Err(_) => Err(CommandError::InFlight),
        }
    }

    /// Executes a unit, or answers as it was answered before.
    pub(super) async fn execute_unit(&self, unit: &Unit<'_>) -> Result<Vec<Accepted>, FailedEntry> {
        let outcome = self.decide_and_commit(unit).await;
        let Some(idempotency) = unit.idempotency else { return outcome };
        match outcome {
            Ok(accepted) if accepted.iter().any(|accepted| accepted.changed) => Ok(accepted),
            Ok(accepted) => self.remember_unchanged(unit, idempotency, accepted).await,
            Err(failed) if failed.error.may_come_from_an_earlier_success() => {
                let remembered = self.ledger.remembered(&idempotency.tenant, &idempotency.key, unit.now).await;
                match remembered.map_err(at_first)? {
                    Some(record) => self.replay(unit, idempotency, &record).await.map_err(at_first),
                    None => Err(failed),
                }
            }
            Err(failed) => Err(failed),
        }
    }

    /// Nothing happened, and that is the answer which a repetition gets, whatever is the case by then.
    async fn remember_unchanged(
        &self,
        unit: &Unit<'_>,
        idempotency: &Idempotency,
        accepted: Vec<Accepted>,
    ) -> Result<Vec<Accepted>, FailedEntry> {
        let record = idempotency.record(accepted.iter().map(produced).collect(), unit.now);
        let commit = Commit { idempotency: Some(record), ..Commit::default() };
        match self.ledger.commit(&commit, unit.now).await {
            Ok(()) => Ok(accepted),
            Err(CommitError::Remembered(record)) => self.replay(unit, idempotency, &record).await.map_err(at_first),
            Err(CommitError::Store(error)) => Err(at_first(error)),
            Err(_) => Err(at_first(CommandError::InFlight)),
        }
    }

    /// The first answer again: the versions that the record names, which never change. Of the other
    /// entities that were changed with them, the newest: the record does not name those, and whoever
    /// waits for the read models is to find them there as well.
    async fn replay(
        &self,
        unit: &Unit<'_>,
        idempotency: &Idempotency,
        record: &IdempotencyRecord,
    ) -> Result<Vec<Accepted>, CommandError> {
        if record.payload_hash != idempotency.payload_hash {
            return Err(CommandError::KeyReused);
        }
        let mut answers = Vec::with_capacity(record.produced.len());
        for (Produced { id, version, changed }, involved) in record.produced.iter().zip(unit.involved()) {
            let item = self.ledger.at(id, *version).await?.ok_or_else(|| CommandError::NotFound(id.clone()))?;
            let mut others = Vec::new();
            for key in involved.iter().filter(|_| *changed) {
                others.extend(self.ledger.newest(key).await?);
            }
            answers.push(Accepted { item, changed: *changed, replayed: true, others });
        }
        Ok(answers)
    }
}

impl CommandError {
    /// Whether this is what a request meets whose twin was accepted before. Everything else would
    /// have stopped the twin as well, or says nothing about it.
    fn may_come_from_an_earlier_success(&self) -> bool {
        match self {
            Self::NotFound(_)
            | Self::AlreadyExists(_)
            | Self::Taken { .. }
            | Self::VersionConflict { .. }
            | Self::Contended(_)
            | Self::InFlight
            | Self::Refused { .. } => true,
            Self::Input(_)
            | Self::ContradictoryVersions
            | Self::PreconditionRequired
            | Self::NothingToMatch
            | Self::KeyReused
            | Self::KeyInvalid
            | Self::RepeatedInBatch { .. }
            | Self::NamesItself(_)
            | Self::TooManyWrites { .. }
            | Self::TooLarge { .. }
            | Self::Store(_)
            | Self::Corrupt(_)
            | Self::Unstorable(_)
            | Self::VersionsExhausted(_) => false,
        }
    }
}

fn produced(accepted: &Accepted) -> Produced {
    Produced { id: accepted.item.key.clone(), version: accepted.item.version, changed: accepted.changed }
}

/// What stands in the way of all of it is reported of the first entry.
fn at_first(error: impl Into<CommandError>) -> FailedEntry {
    FailedEntry { index: 0, error: error.into() }
}
