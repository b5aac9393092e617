//! `ledgerline diagnose`: how the read models are, and what to do about each thing that is not as it should be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use clap::Args;
use ledgerline_app::{Counts, Drift, DriftKind, ReadModelDrift, ReconcileReport, Repair, Scope};
use ledgerline_kernel::ports::Rounds as _;
use ledgerline_kernel::{TenantCode, Timestamp};
use ledgerline_views_postgres::UnfinishedRebuild;
use serde::{Deserialize, Serialize};

use crate::mappings::MappingsStatus;
use crate::notifications::NotificationStatus;
use crate::operate::{Operation, Progress, Site};
use crate::quarantine::{self, Held, Listed, Which};
use crate::queue_source::QueueStatus;
use crate::reconcile::ensure_something;

/// Looks at everything and changes nothing.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct Diagnose {
    /// Only this tenant's read models and quarantine [default: all]
    #[arg(long)]
    pub tenant: Option<TenantCode>,
    /// The template to read, where no host runs [default: ./template.yaml, else the built-in one]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub template: Option<PathBuf>,
}

/// How everything is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// Whether there is nothing to do.
    pub healthy: bool,
    /// Each read model beside the ledger.
    pub read_models: Vec<ReadModelHealth>,
    /// What differs, entity by entity, as far as it is listed.
    pub comparison: ReconcileReport,
    /// What no projection could take.
    pub quarantine: Listed,
    /// Rebuilds that are not finished.
    #[serde(default)]
    pub rebuilds: Vec<RebuildHealth>,
    /// Event source mappings and schedules; none where no host runs.
    pub mappings: Option<MappingsStatus>,
    /// When the last scheduled comparison with the ledger ended.
    pub last_round_at: Option<Timestamp>,
    /// What to do, a sentence each.
    pub advice: Vec<String>,
}

/// A read model, over all tenants that were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadModelHealth {
    /// Its name.
    pub read_model: String,
    /// What was counted.
    pub counts: Counts,
    /// For how many seconds it has lacked a version.
    pub lag_seconds: u64,
}

/// A rebuild that is not finished. While there is one, whatever is written is written to the new tables
/// too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RebuildHealth {
    /// Of which domain.
    pub resource: String,
    /// Whether somebody is at it now.
    pub is_running: bool,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it got on last.
    pub moved_at: Timestamp,
    /// In how many parts it reads the ledger.
    pub segments: usize,
    /// How many of these it has read to their end.
    pub segments_done: usize,
    /// The rows of the ledger that it has looked at.
    pub examined: u64,
    /// The versions that it has taken in.
    pub versions: u64,
}

impl From<UnfinishedRebuild> for RebuildHealth {
    fn from(rebuild: UnfinishedRebuild) -> Self {
        let UnfinishedRebuild { resource, segments, started_at, moved_at, is_running } = rebuild;
        Self {
            resource,
            is_running,
            started_at,
            moved_at,
            segments: segments.len(),
            segments_done: segments.iter().filter(|segment| segment.is_done).count(),
            examined: segments.iter().map(|segment| segment.examined).sum(),
            versions: segments.iter().map(|segment| segment.versions).sum(),
        }
    }
}

impl RebuildHealth {
    fn line(&self) -> String {
        let Self { resource, started_at, moved_at, segments, segments_done, versions, .. } = self;
        let how = if self.is_running { "is running" } else { "is not finished and nobody is at it" };
        format!(
            "the rebuild of {resource} {how}: begun {started_at}, {segments_done} of {segments} parts of the ledger read, \
             {versions} versions taken in, the last {moved_at}"
        )
    }
}

#[async_trait]
impl Operation for Diagnose {
    const NAME: &'static str = "diagnose";
    type Report = Diagnosis;

    async fn run(&self, site: &Site, progress: &Progress) -> anyhow::Result<Diagnosis> {
        let mappings = match &site.mappings {
            Some(mappings) => Some(mappings.read().await.context("cannot ask the event source mappings")?),
            None => None,
        };
        let scope = self.tenant.clone().map_or(Scope::All, |tenant| Scope::Tenant(tenant, None));
        let tell = |entities| progress.step("comparing", entities, None);
        // What is on its way shows as lag.
        let comparison = site.upkeep.reconciler.run(scope, Repair::No, Duration::ZERO, tell).await;
        let comparison = comparison.context("cannot compare the read models with the ledger")?;
        ensure_something(site, self.tenant.as_ref(), &comparison).await?;
        let which = Which { tenant: self.tenant.clone(), ..Which::default() };
        let quarantine = quarantine::list(site, &which).await?;
        let rebuilds = site.views.unfinished_rebuilds().await.context("cannot read how far rebuilds are")?;
        let last_round = site.views.newest_round().await.context("cannot read the last round")?;
        let names = site.upkeep.projector.read_models();
        let read_models = health(&names, &comparison, Utc::now());
        let mut diagnosis = Diagnosis {
            healthy: true,
            read_models,
            comparison,
            quarantine,
            rebuilds: rebuilds.into_iter().map(RebuildHealth::from).collect(),
            mappings,
            last_round_at: last_round.and_then(|round| round.finished_at),
            advice: Vec::new(),
        };
        diagnosis.advice = advice(&diagnosis);
        diagnosis.healthy = diagnosis.advice.is_empty();
        Ok(diagnosis)
    }
}

fn health(names: &[&'static str], comparison: &ReconcileReport, now: DateTime<Utc>) -> Vec<ReadModelHealth> {
    let none = |name: &&str| ((*name).to_owned(), (Counts::default(), None::<Timestamp>));
    let mut found: BTreeMap<String, (Counts, Option<Timestamp>)> = names.iter().map(none).collect();
    for model in &comparison.read_models {
        let (counts, since) = found.entry(model.read_model.clone()).or_default();
        *counts += model.counts;
        *since = since.iter().copied().chain(model.waiting_since).min();
    }
    let lag = |since: Option<Timestamp>| since.map_or(0, |since| (now - since.as_datetime()).num_seconds().max(0));
    let health = |(read_model, (counts, since)): (String, (Counts, Option<Timestamp>))| ReadModelHealth {
        read_model,
        counts,
        lag_seconds: lag(since).unsigned_abs(),
    };
    found.into_iter().map(health).collect()
}

fn advice(diagnosis: &Diagnosis) -> Vec<String> {
    let mut advice = Vec::new();
    let Diagnosis { comparison, quarantine, mappings, .. } = diagnosis;
    let Counts { forks, ahead, extra, wrong_sums, unequal, .. } = comparison.counts;
    let on_their_way = mappings.as_ref().map(|status| {
        let behind = status.event_sources.iter().map(|source| source.records_behind);
        behind.max().unwrap_or(0)
    });
    match (lacking(diagnosis), on_their_way) {
        (0, _) => {}
        (times, None) => advice.push(format!(
            "{times} times a read model lacks versions, and no host runs: start one, and its streams bring what they still \
             have; `ledgerline reconcile` takes the others from the ledger"
        )),
        (times, Some(0)) => advice.push(format!(
            "{times} times a read model lacks versions that no stream will bring any more: `ledgerline reconcile` takes \
             them from the ledger"
        )),
        (_, Some(records)) => advice.push(format!("{records} records are on their way: look again in a moment")),
    }
    if forks + ahead > 0 {
        advice.push(format!(
            "{} times a read model has what the ledger does not: `ledgerline verify` says whether the ledger is sound, \
             `ledgerline reconcile` then corrects states, `ledgerline rebuild` sums",
            forks + ahead
        ));
    }
    if extra > 0 {
        advice.push(format!(
            "{extra} entities of read models are not in the ledger, as after another ledger was used with them: \
             `ledgerline rebuild` makes tables without them"
        ));
    }
    if wrong_sums > 0 {
        advice.push(format!(
            "{wrong_sums} rows of sums are not what their entities add: `ledgerline reconcile` makes them so"
        ));
    }
    if comparison.unreadable > 0 {
        advice.push(format!(
            "{} rows of the ledger cannot be compared: `ledgerline verify` names them and what to do",
            comparison.unreadable
        ));
    }
    if unequal > 0 && comparison.counts.drift() == 0 {
        advice.push("a sum differs from the ledger's and no entity does: diagnose again".to_owned());
    }
    if !quarantine.quarantined.is_empty() {
        let count = quarantine.quarantined.len();
        advice.push(format!(
            "{count} quarantined: mend what each error names, then `ledgerline quarantine redrive` (`--id` for one)"
        ));
    }
    for rebuild in diagnosis.rebuilds.iter().filter(|rebuild| !rebuild.is_running) {
        let (line, resource) = (rebuild.line(), &rebuild.resource);
        advice.push(format!(
            "{line}; until it is, everything is written twice: `ledgerline rebuild {resource}` goes on with it, \
             `ledgerline rebuild {resource} --abort` gives it up"
        ));
    }
    for source in mappings.iter().flat_map(|status| &status.event_sources) {
        let name = &source.mapping;
        if let Some(error) = &source.current_error {
            advice.push(format!("{name} does not get on ({error}): mend that; it goes on by itself"));
        }
        if source.failure_depth > 0 {
            advice.push(format!(
                "{} groups of records that {name} gave up are in {}: `ledgerline reconcile` brings the read models \
                 what they told of; then empty it",
                source.failure_depth, source.failure_destination
            ));
        }
    }
    if let Some(status) = mappings {
        advice.extend(advice_on_work(status));
    }
    advice
}

/// How often a read model lacks versions and not because they are quarantined, which is told of by itself.
fn lacking(diagnosis: &Diagnosis) -> u64 {
    let Diagnosis { comparison, quarantine, .. } = diagnosis;
    let is_quarantined = |read_model: &str, drift: &Drift| {
        let is_it = |held: &Held| held.projection == read_model && held.id.as_ref() == Some(&drift.id);
        matches!(drift.kind, DriftKind::Missing | DriftKind::Behind) && quarantine.quarantined.iter().any(is_it)
    };
    let held_up = |model: &ReadModelDrift| {
        model.drift.iter().filter(|drift| is_quarantined(&model.read_model, drift)).count() as u64
    };
    let held_up: u64 = comparison.read_models.iter().map(held_up).sum();
    (comparison.counts.missing + comparison.counts.behind).saturating_sub(held_up)
}

/// On what is not a read model: queues, notifications, schedules.
fn advice_on_work(status: &MappingsStatus) -> Vec<String> {
    let mut advice = Vec::new();
    for queue in &status.queues {
        let name = &queue.mapping;
        if let Some(error) = &queue.current_error {
            advice.push(format!("{name} does not get on ({error}): mend that; what failed comes again by itself"));
        }
        if let Some(dead) = queue.dead_letter_queue_arn.as_ref().filter(|_| queue.dead_letters > 0) {
            let dead = dead.rsplit(':').next().unwrap_or(dead);
            advice.push(format!(
                "{} messages that {name} failed on too often are in {dead}: `ledgerline dead-letters list` shows them; \
                 mend what made them fail, then `ledgerline dead-letters redrive`",
                queue.dead_letters
            ));
        }
    }
    for told in &status.notifications {
        if let Some(error) = told.last_error.as_ref().filter(|_| told.waiting > 0) {
            advice.push(format!("{} will be told again of {} objects: {error}", told.function, told.waiting));
        }
        if told.failure_depth > 0 {
            advice.push(format!(
                "{} objects that {} could not be told of are in {}: mend what it failed on and copy each onto itself; \
                 then empty it",
                told.failure_depth, told.function, told.failure_destination
            ));
        }
    }
    for schedule in &status.schedules {
        if let Some(error) = &schedule.last_error {
            advice.push(format!("{} failed when it ran last: {error}", schedule.function));
        }
    }
    advice
}

/// For people.
#[must_use]
pub fn text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, diagnosis);
    text
}

fn write(text: &mut String, diagnosis: &Diagnosis) -> std::fmt::Result {
    let entities = diagnosis.comparison.entities;
    writeln!(text, "{entities} entities in the ledger\n")?;
    writeln!(
        text,
        "{:<24} {:>8} {:>8} {:>9} {:>7} {:>6} {:>6} {:>6} {:>6}",
        "read model", "missing", "behind", "versions", "lag", "forks", "ahead", "extra", "sums"
    )?;
    for ReadModelHealth { read_model, counts, lag_seconds } in &diagnosis.read_models {
        let Counts { missing, behind, versions_behind, forks, ahead, extra, wrong_sums, .. } = counts;
        let lag = format!("{lag_seconds} s");
        writeln!(
            text,
            "{read_model:<24} {missing:>8} {behind:>8} {versions_behind:>9} {lag:>7} {forks:>6} {ahead:>6} {extra:>6} {wrong_sums:>6}"
        )?;
    }
    if let Some(status) = &diagnosis.mappings {
        writeln!(text, "\n{:<26} {:>8} {:>9} {:>9}  last error", "event source", "behind", "lag", "given up")?;
        for source in &status.event_sources {
            let lag = format!("{:.1} s", source.lag_seconds);
            let error = source.last_error.as_deref().unwrap_or("none");
            let (name, behind, depth) = (&source.mapping, source.records_behind, source.failure_depth);
            writeln!(text, "{name:<26} {behind:>8} {lag:>9} {depth:>9}  {error}")?;
        }
        write_work(text, status)?;
    }
    if !diagnosis.quarantine.quarantined.is_empty() {
        writeln!(text, "\nquarantined")?;
        for held in &diagnosis.quarantine.quarantined {
            writeln!(text, "  {}", quarantine::line(held))?;
        }
    }
    for rebuild in diagnosis.rebuilds.iter().filter(|rebuild| rebuild.is_running) {
        writeln!(text, "\n{}", rebuild.line())?;
    }
    if let Some(at) = diagnosis.last_round_at {
        writeln!(text, "\nlast compared on schedule: {at}")?;
    }
    if diagnosis.advice.is_empty() {
        return write!(text, "\nall is well");
    }
    writeln!(text, "\nwhat to do")?;
    let advice: Vec<_> = diagnosis.advice.iter().map(|advice| format!("  {advice}")).collect();
    write!(text, "{}", advice.join("\n"))
}

fn write_work(text: &mut String, status: &MappingsStatus) -> std::fmt::Result {
    if !status.queues.is_empty() {
        writeln!(text, "\n{:<26} {:>8} {:>9} {:>9}  last error", "queue", "waiting", "in flight", "dead")?;
    }
    for QueueStatus { mapping, messages, delayed, in_flight, dead_letters, last_error, .. } in &status.queues {
        let (waiting, error) = (messages + delayed, last_error.as_deref().unwrap_or("none"));
        writeln!(text, "{mapping:<26} {waiting:>8} {in_flight:>9} {dead_letters:>9}  {error}")?;
    }
    if !status.notifications.is_empty() {
        writeln!(text, "\n{:<26} {:>8} {:>9} {:>9}  last error", "notification", "waiting", "delivered", "given up")?;
    }
    for NotificationStatus { notification, waiting, delivered, failure_depth, last_error, .. } in &status.notifications
    {
        let error = last_error.as_deref().unwrap_or("none");
        writeln!(text, "{notification:<26} {waiting:>8} {delivered:>9} {failure_depth:>9}  {error}")?;
    }
    Ok(())
}

/// Whether there is nothing to do.
///
/// # Errors
/// If there is.
pub fn verdict(diagnosis: &Diagnosis) -> anyhow::Result<()> {
    anyhow::ensure!(diagnosis.healthy, "not all is well");
    Ok(())
}

#[cfg(test)]
#[path = "diagnose_tests.rs"]
mod tests;
