//! `ledgerline reconcile` and `ledgerline resync`: the read models compared with the ledger, and made to
//! say the same.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use clap::Args;
use ledgerline_app::{Counts, ReconcileReport, Repair, Scope, Verdict};
use ledgerline_kernel::{EntityKey, SortKey, TenantCode};
use serde::{Deserialize, Serialize};

use crate::banner::thousands;
use crate::operate::{Operation, Progress, Site};
use crate::tenants::ensure_known;
use crate::verify::counted;

/// Compares read models with the ledger.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct Reconcile {
    /// Only this tenant's part [default: all]
    #[arg(long)]
    pub tenant: Option<TenantCode>,
    /// Repair nothing; exits with 1 if anything differs
    #[arg(long)]
    pub dry_run: bool,
    /// How many seconds a version may take to a read model before its absence counts
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub settle: u64,
    /// The template to read, where no host runs [default: ./template.yaml, else the built-in one]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub template: Option<PathBuf>,
}

#[async_trait]
impl Operation for Reconcile {
    const NAME: &'static str = "reconcile";
    type Report = ReconcileReport;

    fn alone(&self) -> Option<String> {
        (!self.dry_run).then(|| Self::NAME.to_owned() + &of_tenant(self.tenant.as_ref()))
    }

    async fn run(&self, site: &Site, progress: &Progress) -> anyhow::Result<ReconcileReport> {
        let scope = self.tenant.clone().map_or(Scope::All, |tenant| Scope::Tenant(tenant, None));
        let repair = if self.dry_run { Repair::No } else { Repair::Differences };
        let tell = |entities| progress.step("comparing", entities, None);
        let compared = site.upkeep.reconciler.run(scope, repair, Duration::from_secs(self.settle), tell).await;
        let report = compared.context("cannot compare the read models with the ledger")?;
        ensure_something(site, self.tenant.as_ref(), &report).await?;
        Ok(report)
    }
}

/// Projects entities again from the ledger.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct Resync {
    /// Which domain: its resource, such as products
    pub resource: String,
    /// Only this tenant's entities [default: all]
    #[arg(long)]
    pub tenant: Option<TenantCode>,
    /// Only this entity of the tenant
    #[arg(long, requires = "tenant")]
    pub sk: Option<SortKey>,
    /// The template to read, where no host runs [default: ./template.yaml, else the built-in one]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub template: Option<PathBuf>,
}

#[async_trait]
impl Operation for Resync {
    const NAME: &'static str = "resync";
    type Report = ReconcileReport;

    fn alone(&self) -> Option<String> {
        let sk = self.sk.as_ref().map(|sk| format!(" --sk {sk}")).unwrap_or_default();
        Some(format!("{} {}{}{sk}", Self::NAME, self.resource, of_tenant(self.tenant.as_ref())))
    }

    async fn run(&self, site: &Site, progress: &Progress) -> anyhow::Result<ReconcileReport> {
        let domain = site.registry.by_resource(&self.resource).with_context(|| {
            let known: Vec<_> = site.registry.domains().map(|domain| domain.resource()).collect();
            format!("there is no resource {:?}; there is: {}", self.resource, known.join(", "))
        })?;
        let (reconciler, everything) = (&site.upkeep.reconciler, Repair::Everything);
        let scope = match (self.tenant.clone(), self.sk.clone()) {
            (Some(tenant), Some(sk)) => {
                let key = EntityKey::new(domain.entity_type().clone(), tenant, sk);
                let done = reconciler.one(&key, everything).await.context("cannot project it again")?;
                return done.with_context(|| format!("the ledger has no {key}"));
            }
            (Some(tenant), None) => Scope::Tenant(tenant, Some(self.resource.clone())),
            (None, _) => Scope::Resource(self.resource.clone()),
        };
        let tell = |entities| progress.step("projecting", entities, None);
        let report = reconciler.run(scope, everything, Duration::ZERO, tell).await.context("cannot project again")?;
        ensure_something(site, self.tenant.as_ref(), &report).await?;
        Ok(report)
    }
}

fn of_tenant(tenant: Option<&TenantCode>) -> String {
    tenant.map(|tenant| format!(" --tenant {tenant}")).unwrap_or_default()
}

/// Fails if there is nothing of the tenant that was named: neither in the ledger nor in a read model.
pub(crate) async fn ensure_something(
    site: &Site,
    tenant: Option<&TenantCode>,
    report: &ReconcileReport,
) -> anyhow::Result<()> {
    match tenant {
        Some(tenant) if report.entities == 0 && report.is_good() => ensure_known(site, tenant).await,
        _ => Ok(()),
    }
}

/// For people: what differed, and the sum.
#[must_use]
pub fn text(report: &ReconcileReport) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_drift(&mut text, report);
    let Counts { repaired, rewritten, in_flight, proven, moving, unequal, .. } = report.counts;
    let unreadable = report.unreadable;
    let mut parts = vec![match report.counts.drift() {
        0 => "nothing differs".to_owned(),
        1 if report.dry => "1 differs".to_owned(),
        drift if report.dry => format!("{} differ", thousands(count(drift))),
        drift => format!("{} differed, {} repaired", thousands(count(drift)), thousands(count(repaired))),
    }];
    let mut part = |number: u64, what: &str| {
        if number > 0 {
            parts.push(format!("{} {what}", thousands(count(number))));
        }
    };
    part(rewritten, "written again");
    part(in_flight, "on their way");
    part(proven, "read models proven equal by the sum of all hashes");
    part(moving, "written to meanwhile, and not proven");
    part(unequal, "with another sum than the ledger");
    part(unreadable, "rows of the ledger that cannot be compared");
    let (entities, seconds) = (counted(count(report.entities), "entity"), report.millis / 1000);
    text + &format!("compared {entities} in {seconds} s: {}", parts.join(", "))
}

fn write_drift(text: &mut String, report: &ReconcileReport) -> std::fmt::Result {
    for row in &report.unreadable_rows {
        writeln!(text, "{row}; `ledgerline verify` says what to do")?;
    }
    for model in &report.read_models {
        for drift in &model.drift {
            let version = |at: &Option<(ledgerline_kernel::Version, _)>| {
                at.as_ref().map_or_else(|| "nothing".to_owned(), |(version, _)| format!("version {version}"))
            };
            let (ledger, held) = (version(&drift.ledger), version(&drift.held));
            let outcome = match (drift.repaired, &drift.reason) {
                (true, _) => "repaired".to_owned(),
                (false, Some(reason)) => reason.clone(),
                (false, None) => "not repaired".to_owned(),
            };
            let kind = serde_json::to_value(drift.kind).unwrap_or_default();
            let kind = kind.as_str().unwrap_or_default();
            writeln!(text, "{} {} {kind}: it has {held}, the ledger {ledger}; {outcome}", drift.id, model.read_model)?;
        }
        let listed = count(model.counts.drift() - model.counts.wrong_sums).saturating_sub(model.drift.len());
        if listed > 0 {
            writeln!(text, "and {} more of {} in {}", thousands(listed), model.tenant, model.read_model)?;
        }
        if model.counts.wrong_sums > 0 {
            let (tenant, rows) = (&model.tenant, thousands(count(model.counts.wrong_sums)));
            let outcome = match model.verdict {
                _ if report.dry => "not repaired",
                Verdict::Unequal => "an entity's part cannot be read; rebuild it",
                Verdict::Proven | Verdict::Moving => "repaired",
            };
            writeln!(text, "{tenant} {}: {rows} rows are not what its entities add; {outcome}", model.read_model)?;
        }
        if model.verdict == Verdict::Unequal && model.counts.drift() == 0 {
            let (tenant, resource) = (&model.tenant, &model.resource);
            writeln!(text, "{tenant} {resource} {}: the sums differ; run it again", model.read_model)?;
        }
    }
    Ok(())
}

/// Whether the read models say what the ledger says now.
///
/// # Errors
/// If not.
pub fn verdict(report: &ReconcileReport) -> anyhow::Result<()> {
    anyhow::ensure!(report.is_good(), "not every read model says what the ledger says");
    Ok(())
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
