//! `ledgerline rebuild`: a domain's Postgres tables made anew from the ledger while writes go on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use async_trait::async_trait;
use clap::Args;
use ledgerline_app::{RebuildOptions, RebuildStep, rebuild};
use serde::{Deserialize, Serialize};

use crate::banner::thousands;
use crate::operate::{Operation, Progress, Site};

/// What to rebuild.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct Rebuild {
    /// Which domain: its resource, such as `products`
    pub resource: String,
    /// Give up the rebuild that was begun; the tables in use stay as they are
    #[arg(long)]
    pub abort: bool,
    /// In how many parts at once the ledger is read
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64), value_name = "COUNT")]
    pub segments: u32,
    /// How many rows of the ledger each of them reads at a time: fewer leave the stores more room for others
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "ROWS")]
    pub batch: u32,
    /// The template to read [default: ./template.yaml, else the built-in one]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub template: Option<PathBuf>,
}

/// What became of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The new tables are in use.
    Switched,
    /// It was given up; the tables in use are as they were.
    Aborted,
    /// There was none to give up.
    NothingToAbort,
}

/// What a rebuild did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RebuildReport {
    /// Which domain.
    pub resource: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether it went on with what was begun earlier.
    pub resumed: bool,
    /// The versions taken in, in all.
    pub versions: u64,
    /// The entities in the tables.
    pub entities: u64,
    /// How many of them differ from what the tables before had, or were missing there.
    pub corrected: u64,
    /// What could not be taken in, and why; no more than some.
    pub refused: Vec<String>,
    /// How long it took, this time.
    pub seconds: f64,
}

#[async_trait]
impl Operation for Rebuild {
    const NAME: &'static str = "rebuild";
    type Report = RebuildReport;

    /// To give one up must be possible while it runs.
    fn alone(&self) -> Option<String> {
        (!self.abort).then(|| format!("{} {}", Self::NAME, self.resource))
    }

    async fn run(&self, site: &Site, progress: &Progress) -> anyhow::Result<RebuildReport> {
        let begun = Instant::now();
        let domain = site.registry.by_resource(&self.resource).with_context(|| {
            let known: Vec<&str> = site.registry.domains().map(|domain| domain.resource()).collect();
            format!("there is no resource {:?}; there is: {}", self.resource, known.join(", "))
        })?;
        let mut report = RebuildReport {
            resource: self.resource.clone(),
            outcome: Outcome::NothingToAbort,
            resumed: false,
            versions: 0,
            entities: 0,
            corrected: 0,
            refused: Vec::new(),
            seconds: 0.0,
        };
        if self.abort {
            if site.views.abandon_rebuild(domain.as_ref()).await.context("cannot give up the rebuild")? {
                report.outcome = Outcome::Aborted;
            }
            report.seconds = begun.elapsed().as_secs_f64();
            return Ok(report);
        }
        progress.step("preparing", 0, None);
        let cannot = || format!("cannot rebuild {}", self.resource);
        let views = site.views.rebuild(domain.as_ref(), self.segments).await.with_context(cannot)?;
        let options = RebuildOptions { page_rows: self.batch };
        let show = Show { progress, begun, before: None.into() };
        let ledger = Arc::new(site.ledger.clone());
        let tell = |step| show.tell(step);
        let rebuilt = rebuild(&ledger, &site.registry, domain.as_ref(), &views, &options, &tell).await;
        let rebuilt = rebuilt.with_context(cannot)?;
        report.outcome = Outcome::Switched;
        report.resumed = views.is_resumed();
        report.versions = rebuilt.versions;
        report.entities = rebuilt.entities;
        report.corrected = rebuilt.corrected;
        report.refused = rebuilt.refused;
        report.seconds = begun.elapsed().as_secs_f64();
        Ok(report)
    }
}

/// Puts a rebuild's steps into words.
struct Show<'a> {
    progress: &'a Progress,
    begun: Instant,
    /// The versions that earlier attempts had taken in, once known.
    before: Mutex<Option<u64>>,
}

impl Show<'_> {
    fn tell(&self, step: RebuildStep) {
        match step {
            RebuildStep::Filling { examined, of, versions } => {
                let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
                let new = versions.saturating_sub(*before.get_or_insert(versions));
                #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
                let rate = new as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
                let count = |number: u64| thousands(usize::try_from(number).unwrap_or(usize::MAX));
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
                let rate = count(rate as u64);
                // The estimate is hours old.
                let of = of.map(|of| of.max(examined));
                self.progress.step(&format!("{} versions, {rate}/s", count(versions)), examined, of);
            }
            RebuildStep::Comparing { looked_up } => self.progress.step("looking up what differs", looked_up, None),
        }
    }
}

/// For people.
#[must_use]
pub fn text(report: &RebuildReport) -> String {
    let count = |number: u64| thousands(usize::try_from(number).unwrap_or(usize::MAX));
    let resource = &report.resource;
    let mut lines: Vec<String> = report.refused.iter().map(|refused| format!("not taken in: {refused}")).collect();
    lines.push(match report.outcome {
        Outcome::Switched => {
            let again = if report.resumed { ", going on with what was begun" } else { "" };
            format!(
                "rebuilt {resource} in {:.1} s{again}: {} versions, {} entities, {} of them not as they were",
                report.seconds,
                count(report.versions),
                count(report.entities),
                count(report.corrected)
            )
        }
        Outcome::Aborted => format!("gave up the rebuild of {resource}; the tables in use are as they were"),
        Outcome::NothingToAbort => format!("there is no rebuild of {resource} to give up"),
    });
    lines.join("\n")
}
