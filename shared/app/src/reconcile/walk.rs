use std::sync::Arc;

use ledgerline_kernel::ports::{Digest, IndexPage, StoreError, SumsFound};
use ledgerline_kernel::{DynDomain, PartitionKey, SortKey, Timestamp};
use serde::{Deserialize, Serialize};

use super::compare::{Model, Sum};
use super::heads::Head;
use super::report::{Drift, DriftKind, ReadModelDrift, ReconcileReport, Verdict};
use super::{Reconciler, Repair, Scope};

/// How many of a read model's entities are looked up in the ledger at a time.
const EXTRA_PAGE: usize = 200;

/// A comparison under way. As JSON it can be kept, and gone on with by another process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Walk {
    scope: Scope,
    pub(super) repair: Repair,
    /// Versions made until then have had their time to arrive.
    settled: Timestamp,
    /// How many of the scope's partitions are behind us, where they are known beforehand.
    partitions: usize,
    /// Where the list of versions goes on.
    from: Option<String>,
    is_listed: bool,
    open: Option<Open>,
    /// Read models that hold what the ledger may not have.
    extras: Vec<Extras>,
    report: ReconcileReport,
}

/// A partition whose versions are being listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    partition: PartitionKey,
    since: Timestamp,
    ledger: Sum,
    /// How many of the entities there were when it was opened.
    old: u64,
    models: Vec<Model>,
    /// The entity whose versions were listed last; more of them may follow.
    entity: Option<Head>,
}

/// A search for entities that the ledger does not have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Extras {
    model: ReadModelDrift,
    partition: PartitionKey,
    after: Option<SortKey>,
    /// How many of its entities were looked up.
    seen: u64,
}

impl Walk {
    pub(super) fn new(scope: Scope, repair: Repair, now: Timestamp, settled: Timestamp) -> Self {
        let report = ReconcileReport::new(now, repair == Repair::No);
        let (from, open, extras) = (None, None, Vec::new());
        Self { scope, repair, settled, partitions: 0, from, is_listed: false, open, extras, report }
    }

    /// How many entities were compared so far.
    #[must_use]
    pub fn entities(&self) -> u64 {
        self.report.entities
    }

    /// What was found so far.
    #[must_use]
    pub fn report(&self) -> &ReconcileReport {
        &self.report
    }

    /// What was found.
    #[must_use]
    pub fn into_report(self) -> ReconcileReport {
        self.report
    }
}

impl Reconciler {
    /// Goes on by one page. `true` once all is compared.
    ///
    /// # Errors
    /// [`StoreError`] of a store that failed. The walk stands where it stood, to be gone on with.
    pub async fn step(&self, walk: &mut Walk) -> Result<bool, StoreError> {
        let mut next = walk.clone();
        let done = match next.extras.pop() {
            Some(extras) => self.search(&mut next, extras).await.map(|()| false),
            None if next.is_listed => Ok(true),
            None => self.page(&mut next).await.map(|()| false),
        }?;
        next.report.finish(self.environment.now());
        *walk = next;
        Ok(done)
    }

    /// Compares a page of the list of versions.
    async fn page(&self, walk: &mut Walk) -> Result<(), StoreError> {
        let partition = match self.partition(walk) {
            Some(known) => known,
            None => {
                walk.is_listed = true;
                return Ok(());
            }
        };
        if let (Some(partition), None) = (&partition, &walk.open) {
            walk.open = Some(self.open(&walk.scope, partition.clone()).await?);
        }
        let IndexPage { versions, unreadable, next } =
            self.index.versions(partition.as_ref(), walk.from.take()).await?;
        for row in &unreadable {
            tracing::error!(row, "a row of the ledger cannot be compared with read models");
        }
        walk.report.add_unreadable(unreadable);
        let mut heads = Vec::new();
        for version in versions {
            if walk.open.as_ref().is_none_or(|open| open.partition != version.key.partition) {
                self.close(walk, std::mem::take(&mut heads)).await?;
                walk.open = Some(self.open(&walk.scope, version.key.partition.clone()).await?);
            }
            let Some(open) = &mut walk.open else { continue };
            match &mut open.entity {
                Some(entity) if entity.key == version.key => entity.add(version, walk.settled),
                entity => heads.extend(entity.replace(Head::new(version, walk.settled))),
            }
        }
        walk.from = next;
        if walk.from.is_some() {
            return self.compare(walk, heads).await;
        }
        walk.partitions += 1;
        self.close(walk, heads).await
    }

    /// The partition to list (`Some(None)`: all of them at once); `None` after the last.
    #[expect(clippy::option_option, reason = "none left, all at once, or this one")]
    fn partition(&self, walk: &Walk) -> Option<Option<PartitionKey>> {
        match &walk.scope {
            Scope::All | Scope::Resource(_) => (walk.partitions == 0).then_some(None),
            Scope::Tenant(tenant, resource) => {
                let wanted = |domain: &&Arc<dyn DynDomain>| {
                    resource.as_deref().is_none_or(|resource| resource == domain.resource())
                };
                let domain = self.registry.domains().filter(wanted).nth(walk.partitions)?;
                Some(Some(PartitionKey { entity_type: domain.entity_type().clone(), tenant: tenant.clone() }))
            }
        }
    }

    async fn open(&self, scope: &Scope, partition: PartitionKey) -> Result<Open, StoreError> {
        let since = self.environment.now();
        let mut models = Vec::new();
        let is_wanted = |domain: &&Arc<dyn DynDomain>| match scope {
            Scope::Resource(resource) => resource == domain.resource(),
            Scope::All | Scope::Tenant(..) => true,
        };
        let domain = self.domain_of(&partition);
        if let Some(domain) = domain.filter(is_wanted) {
            for model in self.models_of(domain.as_ref()) {
                let has = model.digest(domain.as_ref(), &partition.tenant).await?;
                models.push(Model::new(model.name(), has));
            }
        } else if domain.is_none() {
            tracing::warn!(%partition, "the ledger has entities of a type that no domain has; they are not compared");
        }
        Ok(Open { partition, since, ledger: Sum::default(), old: 0, models, entity: None })
    }

    /// Compares these entities of the open partition with each of its read models.
    async fn compare(&self, walk: &mut Walk, heads: Vec<Head>) -> Result<(), StoreError> {
        let Some(open) = &mut walk.open else { return Ok(()) };
        let Some(domain) = self.domain_of(&open.partition).filter(|_| !open.models.is_empty()) else { return Ok(()) };
        for (_, hash) in heads.iter().filter_map(Head::newest) {
            open.ledger.add(hash);
        }
        open.old += heads.iter().filter(|head| head.since <= open.since).count() as u64;
        walk.report.entities += heads.len() as u64;
        for (audit, model) in self.models_of(domain.as_ref()).into_iter().zip(&mut open.models) {
            let room = walk.report.room();
            self.compare_in(domain.as_ref(), audit, &heads, walk.repair, model, room).await?;
        }
        Ok(())
    }

    /// Compares the last entities of the open partition, then the sums.
    async fn close(&self, walk: &mut Walk, mut heads: Vec<Head>) -> Result<(), StoreError> {
        heads.extend(walk.open.as_mut().and_then(|open| open.entity.take()));
        self.compare(walk, heads).await?;
        let Some(open) = walk.open.take() else { return Ok(()) };
        let Some(domain) = self.domain_of(&open.partition).filter(|_| !open.models.is_empty()) else { return Ok(()) };
        walk.report.partitions += 1;
        for (audit, mut model) in self.models_of(domain.as_ref()).into_iter().zip(open.models) {
            let tenant = &open.partition.tenant;
            self.settle_sums(domain.as_ref(), audit, tenant, walk.repair, &mut model).await?;
            let Model { name, expected, had, accounted, mut counts, waiting_since, drift, sums } = model;
            let has = audit.digest(domain.as_ref(), tenant).await?;
            let sum = Sum::from(has);
            let (verdict, has_extras) = if sum == open.ledger {
                let verdict = match sums {
                    Some(SumsFound::Wrong(_)) => Verdict::Unequal,
                    Some(SumsFound::Unknown) => Verdict::Moving,
                    Some(SumsFound::Right | SumsFound::Corrected(_)) | None => Verdict::Proven,
                };
                (verdict, false)
            } else if sum == accounted {
                (if counts.left() > 0 { Verdict::Unequal } else { Verdict::Moving }, false)
            } else if sum == expected {
                // Nobody wrote to it but us, and yet it has something else than what was seen.
                (Verdict::Unequal, true)
            } else {
                // It had more than the ledger's entities of that moment can account for.
                (Verdict::Moving, had > open.old.saturating_sub(counts.missing))
            };
            if !has_extras {
                counts.count(verdict);
            }
            let model = ReadModelDrift {
                tenant: open.partition.tenant.clone(),
                resource: domain.resource().to_owned(),
                read_model: name,
                counts,
                ledger: Digest::from(open.ledger).into(),
                held: has.into(),
                verdict,
                waiting_since,
                drift,
            };
            if has_extras {
                walk.extras.push(Extras { model, partition: open.partition.clone(), after: None, seen: 0 });
            } else {
                walk.report.add(model);
            }
        }
        Ok(())
    }

    /// Looks a page of a read model's entities up in the ledger.
    async fn search(&self, walk: &mut Walk, mut extras: Extras) -> Result<(), StoreError> {
        let Some(domain) = self.domain_of(&extras.partition) else { return Ok(()) };
        let audits = self.models_of(domain.as_ref());
        let Some(audit) = audits.into_iter().find(|audit| audit.name() == extras.model.read_model) else {
            return Ok(());
        };
        let tenant = &extras.partition.tenant;
        let keys = audit.entities(domain.as_ref(), tenant, extras.after.as_ref(), EXTRA_PAGE).await?;
        let strangers = self.unknown_to_the_ledger(&keys).await?;
        let held = audit.held(domain.as_ref(), &strangers).await?;
        for id in strangers {
            tracing::error!(entity.id = %id, read_model = audit.name(), "the ledger does not have an entity of a read model");
            extras.model.counts.extra += 1;
            if extras.model.drift.len() < walk.report.room() {
                let held = held.get(&id).cloned();
                let reason = Some("the ledger has no such entity".to_owned());
                let drift = Drift { id, kind: DriftKind::Extra, ledger: None, held, repaired: false, reason };
                extras.model.drift.push(drift);
            }
        }
        extras.seen += keys.len() as u64;
        match keys.into_iter().next_back() {
            Some(last) => walk.extras.push(Extras { after: Some(last.sk), ..extras }),
            None => {
                let model = &mut extras.model;
                // The ledger has everything that it has: the difference was made while it was compared.
                if model.counts.extra == 0 && extras.seen >= model.held.entities {
                    model.verdict = Verdict::Moving;
                }
                model.counts.count(model.verdict);
                walk.report.add(extras.model);
            }
        }
        Ok(())
    }
}
