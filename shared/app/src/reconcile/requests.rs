use std::sync::Arc;
use std::time::Duration;

use ledgerline_kernel::ports::{Resync, ResyncState, Resyncs, Round, Rounds, StoreError};
use ledgerline_kernel::{DynDomain, EntityKey, SortKey, TenantCode, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::{ReconcileReport, Reconciler, Repair, Scope, Walk};
use crate::InTime;

/// What to project again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResyncTarget {
    /// Whose entities.
    pub tenant: TenantCode,
    /// Of which kind: the resource.
    pub resource: String,
    /// Which one; all of them if none.
    pub sk: Option<SortKey>,
}

/// Keeps read models right over time: does the resyncs that were asked for, and compares everything
/// with the ledger in rounds.
///
/// Both go on where they stopped, also in another process. They are for one process at a time; two at
/// once do no harm but the same work.
#[derive(Clone)]
pub struct Maintenance {
    reconciler: Reconciler,
    resyncs: Arc<dyn Resyncs>,
    rounds: Arc<dyn Rounds>,
    every: Duration,
    settle: Duration,
}

/// What was done in one go.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Worked {
    /// The ids of the resyncs that were finished, and whether they did what was asked.
    pub resyncs: Vec<(String, bool)>,
    /// The round that was finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<ReconcileReport>,
    /// Whether something is left that there was no time for.
    pub unfinished: bool,
}

/// Why a round does not go on just now.
enum Paused {
    Finished,
    Asked,
    NoTime,
}

impl Maintenance {
    /// Begins a round when the last one began `every` ago. Versions younger than `settle` may still be
    /// on their way to a read model.
    #[must_use]
    pub fn new(
        reconciler: Reconciler,
        resyncs: Arc<dyn Resyncs>,
        rounds: Arc<dyn Rounds>,
        every: Duration,
        settle: Duration,
    ) -> Self {
        Self { reconciler, resyncs, rounds, every, settle }
    }

    /// Does what there is to do for as long as there is time. A round that takes long lets in what is
    /// asked for meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] of a store that failed. The next call goes on from the last state that was kept.
    pub async fn work(&self, in_time: InTime<'_>) -> Result<Worked, StoreError> {
        let mut worked = Worked::default();
        loop {
            while let Some(mut resync) = self.resyncs.next().await? {
                if !in_time() || !self.go_on(&mut resync, in_time).await? {
                    worked.unfinished = true;
                    return Ok(worked);
                }
                worked.resyncs.push((resync.id, resync.state == ResyncState::Done));
            }
            let Some((mut round, mut walk)) = self.due().await? else { return Ok(worked) };
            let paused = self.walk_until_asked(&mut walk, in_time).await;
            let is_finished = matches!(paused, Ok(Paused::Finished));
            round.finished_at = is_finished.then(|| self.reconciler.environment.now());
            round.report = to_json(walk.report());
            round.progress = if is_finished { Value::Null } else { to_json(&walk) };
            self.rounds.save_round(&round).await?;
            match paused? {
                Paused::Asked => {}
                Paused::NoTime => {
                    worked.unfinished = true;
                    return Ok(worked);
                }
                Paused::Finished => {
                    worked.round = Some(walk.into_report());
                    return Ok(worked);
                }
            }
        }
    }

    /// The round under way, or a new one if it is time for one.
    async fn due(&self) -> Result<Option<(Round, Walk)>, StoreError> {
        let now = self.reconciler.environment.now();
        let begin = || self.reconciler.begin(Scope::All, Repair::Differences, self.settle);
        match self.rounds.newest_round().await? {
            Some(round) if round.finished_at.is_none() => {
                // Kept by code that is no more: from the beginning then.
                let walk = serde_json::from_value(round.progress.clone()).unwrap_or_else(|_| begin());
                Ok(Some((round, walk)))
            }
            Some(round) if !has_passed(self.every, round.started_at, now) => Ok(None),
            _ => {
                let id = self.reconciler.environment.new_id();
                let (progress, report) = (Value::Null, Value::Null);
                Ok(Some((Round { id, started_at: now, finished_at: None, progress, report }, begin())))
            }
        }
    }

    /// Goes on with a resync and keeps how far it is. `true` once it is finished.
    async fn go_on(&self, resync: &mut Resync, in_time: InTime<'_>) -> Result<bool, StoreError> {
        let ended = match self.key_of(resync) {
            Some(key) => self.reconciler.one(&key, Repair::Everything).await.map(|report| {
                resync.report = report.as_ref().map_or_else(|| json!({"error": "there is no such entity"}), to_json);
                Some(report.is_some_and(|report| report.is_good()))
            }),
            None => {
                let scope = Scope::Tenant(resync.tenant.clone(), Some(resync.resource.clone()));
                let mut walk = serde_json::from_value(resync.progress.clone())
                    .unwrap_or_else(|_| self.reconciler.begin(scope, Repair::Everything, Duration::ZERO));
                let ended = self.walk(&mut walk, in_time).await;
                resync.report = to_json(walk.report());
                resync.progress = to_json(&walk);
                ended.map(|finished| finished.then(|| walk.report().is_good()))
            }
        };
        let (state, result) = match ended {
            Ok(Some(true)) => (ResyncState::Done, Ok(true)),
            Ok(Some(false)) => (ResyncState::Failed, Ok(true)),
            Ok(None) => (ResyncState::Running, Ok(false)),
            // It would fail for ever, and hold up those behind it.
            Err(error @ StoreError::Rejected { .. }) => {
                tracing::error!(resync = resync.id, "a resync failed: {error}");
                resync.report = json!({"error": "a store refused it; see the log"});
                (ResyncState::Failed, Ok(true))
            }
            Err(error) => (ResyncState::Running, Err(error)),
        };
        resync.state = state;
        if state.is_final() {
            resync.progress = Value::Null;
        }
        self.resyncs.save(resync).await?;
        result
    }

    async fn walk_until_asked(&self, walk: &mut Walk, in_time: InTime<'_>) -> Result<Paused, StoreError> {
        while in_time() {
            if self.reconciler.step(walk).await? {
                return Ok(Paused::Finished);
            }
            if self.resyncs.next().await?.is_some() {
                return Ok(Paused::Asked);
            }
        }
        Ok(Paused::NoTime)
    }

    async fn walk(&self, walk: &mut Walk, in_time: InTime<'_>) -> Result<bool, StoreError> {
        while in_time() {
            if self.reconciler.step(walk).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes down that somebody wants entities projected again. One entity is done at once. While the
    /// same is under way, that is the answer: nothing is done twice.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written down. Nothing more is known of it then.
    pub async fn ask(&self, target: ResyncTarget, asked_by: &str) -> Result<Resync, StoreError> {
        let mut resync = Resync {
            id: self.reconciler.environment.new_id(),
            tenant: target.tenant,
            resource: target.resource,
            sk: target.sk,
            asked_by: asked_by.to_owned(),
            asked_at: self.reconciler.environment.now(),
            state: ResyncState::Asked,
            progress: Value::Null,
            report: Value::Null,
        };
        if let Some(under_way) = self.resyncs.ask(&resync).await? {
            resync = under_way;
        }
        if resync.sk.is_some()
            && let Err(error) = self.go_on(&mut resync, &|| true).await
        {
            tracing::warn!(resync = resync.id, "a resync is left to the next run: {error}");
        }
        Ok(resync)
    }

    /// What became of a tenant's resync.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be read.
    pub async fn resync(&self, tenant: &TenantCode, id: &str) -> Result<Option<Resync>, StoreError> {
        self.resyncs.get(tenant, id).await
    }

    fn key_of(&self, resync: &Resync) -> Option<EntityKey> {
        let domain: &dyn DynDomain = self.reconciler.registry.by_resource(&resync.resource)?.as_ref();
        Some(EntityKey::new(domain.entity_type().clone(), resync.tenant.clone(), resync.sk.clone()?))
    }
}

fn has_passed(time: Duration, since: Timestamp, now: Timestamp) -> bool {
    (now.as_datetime() - since.as_datetime()).to_std().is_ok_and(|passed| passed >= time)
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
