use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use ledgerline_kernel::ports::{DeltaMove, DeltaPosition, DeltaSink, LedgerRead, StoreError};
use ledgerline_kernel::{DeltaChange, DeltaStep, DynDelta, EntityKey, Hash, Version, VersionItem};
use serde_json::Value;

use super::parts::{Takes, in_parts};
use super::{InTime, ReadModelReport, Versions};

/// How often an entity is begun again that others have moved in the meantime. They got it further
/// each time, so this is for the case that they never stop.
const ROUNDS: usize = 10;

/// How many versions are pulled from the ledger at a time.
const PAGE: u64 = 100;

/// For how many entities the ledger is asked at once.
const PULLS: usize = 8;

/// A delta projection and its stores.
#[derive(Clone, Copy)]
pub(super) struct Stores<'a> {
    pub(super) delta: &'a dyn DynDelta,
    pub(super) ledger: &'a dyn LedgerRead,
    pub(super) sink: &'a dyn DeltaSink,
    /// Whether versions add what they change; if not, somebody adds up everything afterwards.
    pub(super) adds: bool,
}

struct Positions<'a>(&'a Stores<'a>);

#[async_trait]
impl Takes for Positions<'_> {
    type Piece = EntityKey;
    type Answer = BTreeMap<EntityKey, DeltaPosition>;

    async fn take(&self, keys: &[EntityKey]) -> Result<Self::Answer, StoreError> {
        self.0.sink.positions(self.0.delta, keys).await
    }
}

struct Moves<'a>(&'a Stores<'a>);

#[async_trait]
impl Takes for Moves<'_> {
    type Piece = DeltaMove;
    /// How many moved, and those that others had moved before.
    type Answer = (usize, Vec<EntityKey>);

    async fn take(&self, moves: &[DeltaMove]) -> Result<Self::Answer, StoreError> {
        let lost = self.0.sink.advance(self.0.delta, moves).await?;
        Ok((moves.len().saturating_sub(lost.len()), lost))
    }
}

/// What is to be done about an entity.
struct Plan {
    /// As far as its versions can be taken in.
    moving: Option<DeltaMove>,
    /// What ends it there.
    trouble: Option<Trouble>,
}

enum Trouble {
    Fork,
    Refused(Version, String),
    Unavailable(StoreError),
}

impl Stores<'_> {
    /// Takes in, of each entity, every version between its position and the newest of the batch.
    pub(super) async fn apply(
        &self,
        entities: &BTreeMap<&EntityKey, Versions<'_>>,
        in_time: InTime<'_>,
    ) -> ReadModelReport {
        let mut report = ReadModelReport::of(self.delta.name());
        let mut open: Vec<EntityKey> = entities.keys().map(|key| (*key).clone()).collect();
        for _ in 0..ROUNDS {
            if open.is_empty() {
                return report;
            }
            open = self.round(&open, entities, in_time, &mut report).await;
        }
        let contended =
            || StoreError::Unavailable { store: self.delta.name(), reason: "others keep moving".to_owned() };
        let because = (!open.is_empty()).then(contended);
        report.leave(&open, because);
        report
    }

    /// One attempt at these entities; gives those that others have moved meanwhile.
    async fn round(
        &self,
        open: &[EntityKey],
        entities: &BTreeMap<&EntityKey, Versions<'_>>,
        in_time: InTime<'_>,
        report: &mut ReadModelReport,
    ) -> Vec<EntityKey> {
        let parts = in_parts(&Positions(self), open, in_time).await;
        report.leave(parts.left.iter().copied(), parts.unavailable);
        for (key, reason) in &parts.refused {
            report.refuse(key, first_of(entities, key), reason.clone());
        }
        let is_known =
            |key: &&EntityKey| !parts.left.contains(key) && !parts.refused.iter().any(|(refused, _)| refused == key);
        let known: Vec<&EntityKey> = open.iter().filter(is_known).collect();
        let mut positions: BTreeMap<EntityKey, DeltaPosition> = parts.taken.into_iter().flatten().collect();

        let plans = known.into_iter().filter_map(|key| {
            let position = positions.remove(key);
            entities.get(key).map(|versions| async move { (key, self.plan(key, position, versions, in_time).await) })
        });
        let plans: Vec<(&EntityKey, Plan)> = stream::iter(plans.collect::<Vec<_>>()).buffered(PULLS).collect().await;

        let (mut moves, mut halted) = (Vec::new(), BTreeMap::new());
        for (key, plan) in plans {
            match (plan.moving, plan.trouble) {
                (None, None) => report.unchanged += 1,
                (None, Some(trouble)) => note(report, key, trouble),
                (Some(mut moving), trouble) => {
                    if !self.adds {
                        moving.changes.clear();
                    }
                    halted.extend(trouble.map(|trouble| (key, trouble)));
                    moves.push(moving);
                }
            }
        }
        let parts = in_parts(&Moves(self), &moves, in_time).await;
        let mut lost = Vec::new();
        for (moved, again) in parts.taken {
            report.written += moved;
            lost.extend(again);
        }
        for moving in &parts.left {
            halted.remove(&moving.key);
        }
        report.leave(parts.left.iter().map(|moving| &moving.key), parts.unavailable);
        for (moving, reason) in parts.refused {
            halted.remove(&moving.key);
            let first = moving.from.as_ref().and_then(|from| from.version.next().ok()).unwrap_or(Version::FIRST);
            report.refuse(&moving.key, first, reason);
        }
        for (key, trouble) in halted {
            // What was lost is looked at again as a whole.
            if !lost.contains(key) {
                report.written = report.written.saturating_sub(1);
                note(report, key, trouble);
            }
        }
        lost
    }

    /// Folds the versions from an entity's position to the newest of the batch. Those that the batch
    /// does not hold are pulled from the ledger, now: nobody waits for a message.
    async fn plan(
        &self,
        key: &EntityKey,
        position: Option<DeltaPosition>,
        versions: &[&VersionItem],
        in_time: InTime<'_>,
    ) -> Plan {
        let nothing = |trouble| Plan { moving: None, trouble };
        let Some(newest) = versions.last().map(|item| item.version) else { return nothing(None) };
        if let Some(held) = &position {
            let is_fork = |item: &&VersionItem| item.version == held.version && item.hash != held.hash;
            if versions.iter().any(is_fork) {
                return nothing(Some(Trouble::Fork));
            }
            if held.version >= newest {
                return nothing(None);
            }
        }
        let mut fold = Fold::from(self.delta, position);
        let mut trouble = None;
        while fold.at < newest.number() && trouble.is_none() {
            let next = fold.at + 1;
            let ahead: Vec<&&VersionItem> = versions.iter().filter(|item| item.version.number() >= next).collect();
            trouble = match ahead.first() {
                Some(item) if item.version.number() == next => fold.take(item).err(),
                _ if !in_time() => {
                    Some(Trouble::Unavailable(StoreError::Unavailable { store: "time", reason: "is up".to_owned() }))
                }
                first => {
                    let until = first.map_or(next, |item| item.version.number() - 1).min(fold.at + PAGE);
                    self.pull(key, until, &mut fold).await.err()
                }
            };
        }
        Plan { moving: fold.into_move(key), trouble }
    }

    /// Takes in what the ledger has up to version `until`, one page of it.
    async fn pull(&self, key: &EntityKey, until: u64, fold: &mut Fold<'_>) -> Result<(), Trouble> {
        let wanted = usize::try_from(until.saturating_sub(fold.at)).unwrap_or(usize::MAX);
        let before = Version::new(until + 1).ok();
        let items = self.ledger.history(key, before, wanted).await.map_err(|error| match error {
            error @ StoreError::Unavailable { .. } => Trouble::Unavailable(error),
            StoreError::Rejected { reason, .. } => fold.refused(reason),
        })?;
        for item in items.iter().rev() {
            if item.computed_hash().as_ref() != Ok(&item.hash) {
                return Err(fold.refused("the ledger's item does not have the hash of its content".to_owned()));
            }
            fold.take(item)?;
        }
        if fold.at < until {
            return Err(fold.refused("the ledger does not have it".to_owned()));
        }
        Ok(())
    }
}

/// What a projection makes of one entity's versions, one after the other.
struct Fold<'a> {
    delta: &'a dyn DynDelta,
    from: Option<DeltaPosition>,
    /// The version taken in last, 0 before the first; its hash; what is remembered after it.
    at: u64,
    hash: Hash,
    memory: Option<Value>,
    changes: Vec<DeltaChange>,
}

impl<'a> Fold<'a> {
    fn from(delta: &'a dyn DynDelta, position: Option<DeltaPosition>) -> Self {
        let at = position.as_ref().map_or(0, |held| held.version.number());
        let held = position.clone().map(|held| (held.hash, held.memory));
        let (hash, memory) = held.map_or_else(|| (Hash::genesis(), None), |(hash, memory)| (hash, Some(memory)));
        Self { delta, from: position, at, hash, memory, changes: Vec::new() }
    }

    /// Takes in the version after the last one.
    fn take(&mut self, item: &VersionItem) -> Result<(), Trouble> {
        if item.version.number() != self.at + 1 {
            return Err(self.refused("the ledger does not have it".to_owned()));
        }
        if item.prev_hash != self.hash {
            return Err(Trouble::Fork);
        }
        let step = catch_unwind(AssertUnwindSafe(|| self.delta.step(self.memory.as_ref(), item)));
        let DeltaStep { memory, changes } = match step {
            Ok(Ok(step)) => step,
            Ok(Err(corrupt)) => return Err(self.refused(corrupt.reason)),
            Err(_) => return Err(self.refused("the projection panicked".to_owned())),
        };
        self.memory = Some(memory);
        self.changes.extend(changes);
        self.hash = item.hash.clone();
        self.at += 1;
        Ok(())
    }

    /// The version after the last one cannot be taken in.
    fn refused(&self, reason: String) -> Trouble {
        Trouble::Refused(Version::new(self.at + 1).unwrap_or(Version::MAX), reason)
    }

    fn into_move(self, key: &EntityKey) -> Option<DeltaMove> {
        let version =
            Version::new(self.at).ok().filter(|at| self.from.as_ref().is_none_or(|from| from.version != *at))?;
        let to = DeltaPosition { version, hash: self.hash, memory: self.memory.unwrap_or_default() };
        Some(DeltaMove { key: key.clone(), from: self.from, to, changes: self.changes })
    }
}

fn note(report: &mut ReadModelReport, key: &EntityKey, trouble: Trouble) {
    match trouble {
        Trouble::Fork => report.forks.push(key.clone()),
        Trouble::Refused(version, reason) => report.refuse(key, version, reason),
        Trouble::Unavailable(error) => report.leave([key], Some(error)),
    }
}

/// The first version of an entity in the batch.
fn first_of(entities: &BTreeMap<&EntityKey, Versions<'_>>, key: &EntityKey) -> Version {
    entities.get(key).and_then(|versions| versions.first()).map_or(Version::FIRST, |item| item.version)
}
