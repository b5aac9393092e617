use ledgerline_kernel::ports::{Digest, ReadModelAudit, StoreError, SumsFound};
use ledgerline_kernel::{DynDomain, EntityKey, Hash, Timestamp, VersionItem};
use serde::{Deserialize, Serialize};

use super::heads::{Head, Look};
use super::report::{Counts, Drift, DriftKind, ReadModelDrift, ReconcileReport, Verdict};
use super::sums::TakeIn;
use super::{Reconciler, Repair};

/// A read model of a partition, or of one entity, as far as it was compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Model {
    pub(super) name: String,
    /// Its sum at the beginning, and since then changed by what was repaired.
    pub(super) expected: Sum,
    /// How many entities it had at the beginning.
    pub(super) had: u64,
    /// The sum of what it was seen to have of the ledger's entities.
    pub(super) accounted: Sum,
    pub(super) counts: Counts,
    /// When the oldest newest version was made that it lacked.
    pub(super) waiting_since: Option<Timestamp>,
    pub(super) drift: Vec<Drift>,
    /// How its own sums are beside its entities, once looked at.
    pub(super) sums: Option<SumsFound>,
}

/// A [`Digest`] that can be kept, and taken from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sum(u64, u64);

impl Sum {
    pub(super) fn add(&mut self, hash: &Hash) {
        let Digest { entities, sum } = Self::of(hash);
        *self = Self(self.0 + entities, self.1.wrapping_add(sum));
    }

    fn take(&mut self, hash: &Hash) {
        let Digest { entities, sum } = Self::of(hash);
        *self = Self(self.0.saturating_sub(entities), self.1.wrapping_sub(sum));
    }

    fn of(hash: &Hash) -> Digest {
        let mut one = Digest::default();
        one.add(hash);
        one
    }
}

impl From<Digest> for Sum {
    fn from(Digest { entities, sum }: Digest) -> Self {
        Self(entities, sum)
    }
}

impl From<Sum> for Digest {
    fn from(Sum(entities, sum): Sum) -> Self {
        Self { entities, sum }
    }
}

impl Model {
    pub(super) fn new(name: &str, has: Digest) -> Self {
        Self {
            name: name.to_owned(),
            expected: has.into(),
            had: has.entities,
            accounted: Sum::default(),
            counts: Counts::default(),
            waiting_since: None,
            drift: Vec::new(),
            sums: None,
        }
    }

    /// Takes in what became of an entity that differed.
    fn note(&mut self, drift: Drift, held_now: Option<&Hash>, room: usize) {
        let count = match drift.kind {
            DriftKind::Missing => &mut self.counts.missing,
            DriftKind::Behind => &mut self.counts.behind,
            DriftKind::Fork => &mut self.counts.forks,
            DriftKind::Ahead => &mut self.counts.ahead,
            DriftKind::Extra => &mut self.counts.extra,
        };
        *count += 1;
        if drift.repaired {
            self.counts.repaired += 1;
            if let Some((_, hash)) = &drift.held {
                self.expected.take(hash);
            }
            if let Some(hash) = held_now {
                self.expected.add(hash);
            }
        }
        if self.drift.len() < room {
            self.drift.push(drift);
        }
    }
}

impl Reconciler {
    /// Compares these entities in one read model, and takes from the ledger what differs.
    pub(super) async fn compare_in(
        &self,
        domain: &dyn DynDomain,
        audit: &dyn ReadModelAudit,
        heads: &[Head],
        repair: Repair,
        model: &mut Model,
        room: usize,
    ) -> Result<(), StoreError> {
        let keys: Vec<_> = heads.iter().map(|head| head.key.clone()).collect();
        let held = audit.held(domain, &keys).await?;
        let (mut suspects, mut same) = (Vec::new(), Vec::new());
        for head in heads {
            let has = held.get(&head.key);
            match head.look(has) {
                Look::Suspicious => suspects.push(head),
                look => {
                    model.counts.in_flight += u64::from(look == Look::InFlight);
                    same.push(head.key.clone());
                    if let Some((_, hash)) = has {
                        model.accounted.add(hash);
                    }
                }
            }
        }
        let confirmed = self.confirm(domain, audit, &suspects).await?;
        model.counts.in_flight += confirmed.in_flight.len() as u64;
        for (_, hash) in confirmed.in_flight.iter().flatten() {
            model.accounted.add(hash);
        }
        let take_in = match repair {
            Repair::No => TakeIn::Not,
            _ => self.before_taking_in(domain, audit, &confirmed.findings, model).await?,
        };
        for repaired in self.repair(domain, audit, confirmed.findings, repair, take_in).await? {
            let held_now = repaired.held_now.map(|(_, hash)| hash);
            if let Some(hash) = &held_now {
                model.accounted.add(hash);
            }
            model.waiting_since = model.waiting_since.into_iter().chain(repaired.waiting_since).min();
            model.counts.versions_behind += repaired.versions_behind;
            model.note(repaired.drift, held_now.as_ref(), room);
        }
        if repair == Repair::Everything {
            model.counts.rewritten += self.rewrite(domain, audit, &same).await?;
        }
        Ok(())
    }

    /// Compares one entity in all read models. `None` if the ledger does not have it.
    ///
    /// # Errors
    /// [`StoreError`] of a store that failed, or of the ledger if it cannot read the entity.
    pub async fn one(&self, key: &EntityKey, repair: Repair) -> Result<Option<ReconcileReport>, StoreError> {
        let (Some(domain), Some(newest)) = (self.domain_of(&key.partition), self.ledger.newest(key).await?) else {
            return Ok(None);
        };
        let begun = self.environment.now();
        let mut report = ReconcileReport::new(begun, repair == Repair::No);
        (report.partitions, report.entities) = (1, 1);
        let head = [head_of(&newest)];
        for audit in self.models_of(domain.as_ref()) {
            let mut model = Model::new(audit.name(), Digest::default());
            self.compare_in(domain.as_ref(), audit, &head, repair, &mut model, report.room()).await?;
            if model.sums.is_some() {
                self.settle_sums(domain.as_ref(), audit, &key.partition.tenant, repair, &mut model).await?;
            }
            let mut ledger = Sum::default();
            ledger.add(&newest.hash);
            let is_same = model.accounted == ledger && !matches!(model.sums, Some(SumsFound::Wrong(_)));
            let verdict = match is_same {
                true => Verdict::Proven,
                // Of one entity alone, more than was asked for is written by somebody else.
                false if model.counts.left() == 0 => Verdict::Moving,
                false => Verdict::Unequal,
            };
            let mut counts = model.counts;
            counts.count(verdict);
            report.add(ReadModelDrift {
                tenant: key.partition.tenant.clone(),
                resource: domain.resource().to_owned(),
                read_model: model.name,
                counts,
                ledger: Digest::from(ledger).into(),
                held: Digest::from(model.accounted).into(),
                verdict,
                waiting_since: model.waiting_since,
                drift: model.drift,
            });
        }
        report.finish(self.environment.now());
        Ok(Some(report))
    }
}

fn head_of(newest: &VersionItem) -> Head {
    let settled = Some((newest.version, newest.hash.clone()));
    Head { key: newest.key.clone(), since: newest.created.at, settled, later: Vec::new() }
}
