//! `ledgerline quarantine`: what the projections could not take, and trying it again.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use async_trait::async_trait;
use clap::{Args, Subcommand};
use ledgerline_app::Redriven;
use ledgerline_kernel::ports::{QuarantineQuery, Quarantined};
use ledgerline_kernel::{EntityKey, TenantCode, Timestamp, Version};
use serde::{Deserialize, Serialize};

use crate::operate::{Operation, Progress, Site};
use crate::tenants::ensure_known;

/// How many are listed.
const LISTED: usize = 1_000;

/// What to do with what is quarantined.
#[derive(Debug, Clone, Args)]
pub struct Quarantine {
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do with what is quarantined.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Action {
    /// List it, with the last error of each
    List(List),
    /// Project it again from the ledger; what goes through is quarantined no more
    Redrive(Redrive),
}

/// Which of it.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub struct Which {
    /// Only this tenant's [default: all]
    #[arg(long)]
    pub tenant: Option<TenantCode>,
    /// Only this entity, such as PRODUCT#acme#ring-7
    #[arg(long)]
    pub id: Option<EntityKey>,
    /// The template to read, where no host runs [default: ./template.yaml, else the built-in one]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub template: Option<PathBuf>,
}

/// Lists what is quarantined.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct List {
    /// Which of it.
    #[command(flatten)]
    pub which: Which,
}

/// Tries what is quarantined again.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct Redrive {
    /// Which of it.
    #[command(flatten)]
    pub which: Which,
}

/// Something that is quarantined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// In which projection.
    pub projection: String,
    /// The entity, as `--id` takes it; none if nobody knows which it is.
    #[serde(default)]
    pub id: Option<EntityKey>,
    /// What is quarantined: the entity's id, or what names a record that cannot be read.
    pub record: String,
    /// The newest version that is missing in the read model.
    pub version: Option<Version>,
    /// What is wrong.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed first.
    pub since: Timestamp,
}

impl From<Quarantined> for Held {
    fn from(held: Quarantined) -> Self {
        let Quarantined { projection, record, version, error, attempts, since } = held;
        let (id, version) = version.unzip();
        Self { projection, id, record, version, error, attempts, since }
    }
}

/// What is quarantined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The first 1,000.
    pub quarantined: Vec<Held>,
    /// Whether there are more.
    pub has_more: bool,
}

/// What came of trying it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// Those that went through.
    pub healed: usize,
    /// Those that their read model still does not take.
    pub refused: usize,
    /// Those of which the ledger has nothing, or that name no entity.
    pub unknown: usize,
}

#[async_trait]
impl Operation for List {
    const NAME: &'static str = "quarantine-list";
    type Report = Listed;

    async fn run(&self, site: &Site, _: &Progress) -> anyhow::Result<Listed> {
        let listed = list(site, &self.which).await?;
        match &self.which.tenant {
            Some(tenant) if listed.quarantined.is_empty() => ensure_known(site, tenant).await?,
            _ => {}
        }
        Ok(listed)
    }
}

/// What is quarantined.
///
/// # Errors
/// If the quarantine cannot be read.
pub(crate) async fn list(site: &Site, which: &Which) -> anyhow::Result<Listed> {
    let Which { tenant, id, .. } = which.clone();
    let query = QuarantineQuery { tenant, entity: id, after: None, limit: LISTED + 1 };
    let mut held = site.upkeep.redrive.list(&query).await.context("cannot read the quarantine")?;
    let has_more = held.len() > LISTED;
    held.truncate(LISTED);
    Ok(Listed { quarantined: held.into_iter().map(Held::from).collect(), has_more })
}

#[async_trait]
impl Operation for Redrive {
    const NAME: &'static str = "quarantine-redrive";
    type Report = Tried;

    async fn run(&self, site: &Site, _: &Progress) -> anyhow::Result<Tried> {
        let Which { tenant, id, .. } = &self.which;
        let redriven = site.upkeep.redrive.redrive(tenant.as_ref(), id.as_ref()).await;
        let Redriven { healed, refused, unknown } = redriven.context("cannot try again")?;
        match tenant {
            Some(tenant) if healed + refused + unknown == 0 => ensure_known(site, tenant).await?,
            _ => {}
        }
        Ok(Tried { healed, refused, unknown })
    }
}

/// For people.
#[must_use]
pub fn list_text(listed: &Listed) -> String {
    let mut text = String::new();
    for held in &listed.quarantined {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line(held));
    }
    match (listed.quarantined.len(), listed.has_more) {
        (0, _) => "nothing is quarantined".to_owned(),
        (count, true) => text + &format!("the first {count} of more"),
        (count, false) => text + &format!("{count} quarantined"),
    }
}

/// One quarantined thing in a line, which begins with what `--id` takes.
pub(crate) fn line(held: &Held) -> String {
    let Held { projection, id, record, version, error, attempts, since } = held;
    let what = match id.as_ref().map(ToString::to_string) {
        Some(id) if id == *record => id,
        Some(id) => format!("{id} (record {record})"),
        None => format!("record {record}, of no entity that can be told,"),
    };
    let version = version.map(|version| format!(" version {version}")).unwrap_or_default();
    format!("{what}{version} {projection}: {error} ({attempts} attempts, since {since})")
}

/// For people.
#[must_use]
pub fn redrive_text(Tried { healed, refused, unknown }: &Tried) -> String {
    format!(
        "{healed} healed, {refused} refused again, {unknown} that the ledger does not have in that version, or that name no entity"
    )
}

/// Whether nothing is left.
///
/// # Errors
/// If something is.
pub fn redrive_verdict(tried: &Tried) -> anyhow::Result<()> {
    anyhow::ensure!(tried.refused + tried.unknown == 0, "not everything went through; `quarantine list` says why");
    Ok(())
}
