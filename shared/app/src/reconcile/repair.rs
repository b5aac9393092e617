use std::collections::BTreeMap;

use ledgerline_kernel::ports::{ReadModelAudit, StoreError};
use ledgerline_kernel::{DynDomain, EntityKey, Hash, Timestamp, Version, VersionItem};

use super::confirm::Finding;
use super::report::Drift;
use super::sums::TakeIn;
use super::{Reconciler, Repair};

/// A difference, and what the read model has after it was dealt with.
pub(super) struct Repaired {
    pub(super) drift: Drift,
    pub(super) held_now: Option<(Version, Hash)>,
    /// How many versions it lacked, and since when the newest of them is there.
    pub(super) versions_behind: u64,
    pub(super) waiting_since: Option<Timestamp>,
}

impl Reconciler {
    /// Takes what differs from the ledger, and looks whether that helped.
    pub(super) async fn repair(
        &self,
        domain: &dyn DynDomain,
        model: &dyn ReadModelAudit,
        findings: Vec<Finding>,
        repair: Repair,
        take_in: TakeIn,
    ) -> Result<Vec<Repaired>, StoreError> {
        let mut reasons = match repair {
            Repair::No => BTreeMap::new(),
            Repair::Differences | Repair::Everything => self.correct(domain, model, &findings, take_in).await?,
        };
        let keys: Vec<_> = findings.iter().map(|finding| finding.key.clone()).collect();
        let mut now_held: BTreeMap<_, _> = match (repair, keys.is_empty()) {
            (Repair::No, _) | (_, true) => {
                findings.iter().filter_map(|finding| Some((finding.key.clone(), finding.held.clone()?))).collect()
            }
            _ => model.held(domain, &keys).await?,
        };
        let mut all = Vec::new();
        for finding in findings {
            let held_now = now_held.remove(&finding.key);
            let repaired = is_as_it_should_be(&finding, held_now.as_ref());
            let reason = reasons.remove(&finding.key).filter(|_| !repaired);
            let held = finding.held.as_ref().map_or(0, |(version, _)| version.number());
            let lacked = finding.newest.as_ref().ok().filter(|item| item.version.number() > held);
            let versions_behind = lacked.map_or(0, |item| item.version.number() - held);
            let waiting_since = lacked.map(|item| item.updated.at);
            let drift = finding.drift(repaired, reason);
            tracing::warn!(
                entity.id = %drift.id,
                read_model = model.name(),
                kind = ?drift.kind,
                ledger = ?drift.ledger,
                held = ?drift.held,
                repaired,
                reason = drift.reason,
                "a read model differed from the ledger"
            );
            all.push(Repaired { drift, held_now, versions_behind, waiting_since });
        }
        Ok(all)
    }

    /// Writes what the ledger says. Answers with what could not be done, and why.
    async fn correct(
        &self,
        domain: &dyn DynDomain,
        model: &dyn ReadModelAudit,
        findings: &[Finding],
        take_in: TakeIn,
    ) -> Result<BTreeMap<EntityKey, String>, StoreError> {
        let mut reasons = BTreeMap::new();
        let mut behind = Vec::new();
        for Finding { key, newest, held, .. } in findings {
            let item = match newest {
                Ok(item) => item,
                Err(reason) => {
                    reasons.insert(key.clone(), reason.clone());
                    continue;
                }
            };
            if let Some(reason) = self.unsound(item).await? {
                reasons.insert(key.clone(), reason);
                continue;
            }
            match held {
                Some((version, _)) if *version >= item.version => {
                    if !model.replace(domain, item, *version).await? {
                        let reason = "it cannot be corrected for one entity alone; rebuild it";
                        reasons.insert(key.clone(), reason.to_owned());
                    }
                }
                None if take_in == TakeIn::Not => {
                    let reason = "its sums are too much to be looked at and may hold it already; rebuild it";
                    reasons.insert(key.clone(), reason.to_owned());
                }
                _ => behind.push(item.as_ref().clone()),
            }
        }
        if behind.is_empty() {
            return Ok(reasons);
        }
        let projection = match take_in {
            TakeIn::Place => self.projector.place_into(model.name(), &behind).await,
            TakeIn::Whole | TakeIn::Not => self.projector.project_into(model.name(), &behind).await,
        };
        for report in projection.read_models {
            if let Some(error) = report.unavailable {
                return Err(error);
            }
            reasons.extend(report.refused.into_iter().map(|refused| (refused.key, refused.reason)));
            let forked = "it has taken in another past of this entity; rebuild it";
            reasons.extend(report.forks.into_iter().map(|key| (key, forked.to_owned())));
        }
        Ok(reasons)
    }

    /// Writes these entities again. Answers with how many could be.
    pub(super) async fn rewrite(
        &self,
        domain: &dyn DynDomain,
        model: &dyn ReadModelAudit,
        keys: &[EntityKey],
    ) -> Result<u64, StoreError> {
        let mut rewritten = 0;
        for item in self.newest(keys).await?.into_iter().flatten() {
            if self.unsound(&item).await?.is_none() {
                rewritten += u64::from(model.replace(domain, &item, item.version).await?);
            }
        }
        Ok(rewritten)
    }

    /// Why a version of the ledger proves nothing, if so.
    async fn unsound(&self, item: &VersionItem) -> Result<Option<String>, StoreError> {
        if let Err(bad) = self.projector.verify(item) {
            return Ok(Some(bad.to_string()));
        }
        let Ok(before) = Version::new(item.version.number() - 1) else {
            let is_first = item.prev_hash == Hash::genesis();
            return Ok((!is_first).then(|| "the ledger's first version says that there is one before it".to_owned()));
        };
        // Gone, if its time was over.
        let before = self.ledger.at(&item.key, before).await?;
        let follows = before.is_none_or(|before| before.hash == item.prev_hash);
        Ok((!follows).then(|| "the ledger's newest version does not follow the one before it; verify it".to_owned()))
    }
}

fn is_as_it_should_be(finding: &Finding, held: Option<&(Version, Hash)>) -> bool {
    match (&finding.newest, held) {
        // Newer: somebody wrote since, and it got there.
        (Ok(item), Some((version, hash))) => {
            (*version == item.version && *hash == item.hash)
                || (*version > item.version && finding.held.as_ref().is_none_or(|(before, _)| before < version))
        }
        _ => false,
    }
}
