//! Operator commands: each is an [`Operation`], which runs in the host that serves the data directory,
//! or in this process if none does.
//!
//! In the host, because its stores may serve nobody else: the embedded Postgres has one connection.
//! So that the same code runs either way, an operation is a value that travels as JSON, and so is
//! what it reports.

mod call;
mod door;
mod under_way;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use indicatif::{ProgressBar, ProgressStyle};
use ledgerline_app::{Registry, WithLargeStates};
use ledgerline_lambda::{Config, Upkeep, dynamodb_client, large_states};
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_views_postgres::PostgresViews;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data_dir::{DataDir, Use, read_record};
use crate::dead_letters::{DeadLetterQueue, dead_letter_queues};
use crate::failure::Failure;
use crate::host::config_of;
use crate::mappings::MappingsReader;
use crate::stores::{Stores, ledger_file};
use crate::template::Template;

pub(crate) use door::{for_operators, router};
pub use under_way::UnderWay;

/// The file in a data directory with the key that the host asks operators for.
const KEY_FILE: &str = "operator-key";

/// What an operator can ask for.
#[async_trait]
pub trait Operation: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name in the host's routes.
    const NAME: &'static str;

    /// What it says in the end.
    type Report: Serialize + DeserializeOwned + Send + 'static;

    /// The command that a host does only once at a time, as it is typed; none if it may be done by
    /// several at once.
    fn alone(&self) -> Option<String> {
        None
    }

    /// Does it. May be dropped half-way, when the operator interrupts it.
    async fn run(&self, site: &Site, progress: &Progress) -> anyhow::Result<Self::Report>;
}

/// The stores that an operation works on.
#[derive(Clone)]
pub struct Site {
    /// The domains.
    pub registry: Registry,
    /// The ledger.
    pub ledger: WithLargeStates<DynamoLedger>,
    /// The newest states.
    pub data_table: WithLargeStates<DynamoDataTable>,
    /// What keeps the read models right.
    pub upkeep: Upkeep,
    /// What the host's event source mappings do; none where no host runs.
    pub mappings: Option<MappingsReader>,
    /// Where functions' messages go that they fail on.
    pub dead_letters: Vec<DeadLetterQueue>,
    /// Postgres. The embedded one has a single connection, which the host's functions use too.
    pub views: PostgresViews,
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// What operators are at.
    pub under_way: UnderWay,
}

impl Site {
    /// The stores that `config` names, and these views.
    ///
    /// # Errors
    /// If `config` lacks the name of a table.
    pub async fn new(config: &Config, views: PostgresViews, data_dir: &Path) -> anyhow::Result<Self> {
        let (client, registry) = (dynamodb_client(config).await, Registry::shipped()?);
        let large = large_states(config, &registry)?;
        Ok(Self {
            ledger: large.over(DynamoLedger::new(client.clone(), config.required("LEDGER_TABLE")?)),
            data_table: large.over(DynamoDataTable::new(client, config.required("DATA_TABLE")?)),
            registry,
            upkeep: Upkeep::new(config, views.clone()).await?,
            mappings: None,
            dead_letters: Vec::new(),
            views,
            data_dir: data_dir.to_owned(),
            under_way: UnderWay::default(),
        })
    }
}

impl Site {
    /// The same with what a host knows of its mappings.
    #[must_use]
    pub fn beside(self, mappings: MappingsReader) -> Self {
        Self { mappings: Some(mappings), ..self }
    }

    /// The same with these dead-letter queues.
    #[must_use]
    pub fn with_dead_letters(self, dead_letters: Vec<DeadLetterQueue>) -> Self {
        Self { dead_letters, ..self }
    }
}

/// How far an operation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it is doing, such as `comparing`.
    pub doing: String,
    /// How much of it is done.
    pub done: u64,
    /// How much there is, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

/// Is told how far an operation is. Cheap to tell; not every step arrives.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Step) + Send + Sync>);

impl Progress {
    /// Tells `tell`.
    pub fn new(tell: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells nobody.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Draws a bar, on a terminal only.
    fn drawn(bar: &ProgressBar) -> anyhow::Result<Self> {
        let of_known = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}, {eta} left")?;
        let of_unknown = ProgressStyle::with_template("{spinner} {msg} {pos}")?;
        let bar = bar.clone();
        Ok(Self::new(move |Step { doing, done, of }| {
            bar.set_style(if of.is_some() { of_known.clone() } else { of_unknown.clone() });
            bar.set_message(doing);
            bar.set_length(of.unwrap_or(0));
            bar.set_position(done);
        }))
    }

    /// Tells of a step.
    pub fn step(&self, doing: &str, done: u64, of: Option<u64>) {
        (self.0)(Step { doing: doing.to_owned(), done, of });
    }
}

/// Where to run an operation.
#[derive(Debug, Clone)]
pub struct Place {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The template, if not the usual one.
    pub template: Option<PathBuf>,
    /// The host to use, if not the one that is recorded in the data directory.
    pub host_url: Option<String>,
    /// A Postgres that runs already, where no host does.
    pub database_url: Option<String>,
}

/// As [`operate`], from a command line: blocks, and draws how far it is.
///
/// # Errors
/// As [`operate`].
pub fn operate_blocking<O: Operation>(operation: &O, place: &Place) -> anyhow::Result<O::Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    let bar = ProgressBar::new_spinner();
    let progress = Progress::drawn(&bar)?;
    let done = runtime.block_on(operate(operation, place, &progress));
    bar.finish_and_clear();
    done
}

/// Runs an operation: in the host that runs on the data directory or is named, else in this process, on
/// stores that are started for it and stopped afterwards.
///
/// # Errors
/// If there is no ledger, the host cannot be reached, or the operation fails.
pub async fn operate<O: Operation>(operation: &O, place: &Place, progress: &Progress) -> anyhow::Result<O::Report> {
    let data_dir = &place.data_dir;
    if let Some(url) = &place.host_url {
        let key = key_in(data_dir).with_context(|| format!("name the --data-dir of the host at {url}"))?;
        return call::call(url, &key, operation, progress).await;
    }
    ensure_ledger(data_dir)?;
    match (DataDir::take(data_dir, Use::Command(&as_typed(O::NAME))), read_record(data_dir)) {
        (Ok(dir), _) => run_here(operation, place, dir, progress).await,
        (Err(_), Some(record)) => call::call(&record.url, &key_in(data_dir)?, operation, progress).await,
        (Err(in_use), None) => Err(in_use),
    }
}

/// An operation's name as the command is typed: `quarantine list`, `dead-letters redrive`.
fn as_typed(name: &str) -> String {
    name.rsplit_once('-').map_or_else(|| name.to_owned(), |(command, action)| format!("{command} {action}"))
}

/// Fails where no host has ever kept anything.
pub(crate) fn ensure_ledger(data_dir: &Path) -> anyhow::Result<()> {
    if ledger_file(data_dir).is_file() {
        return Ok(());
    }
    let dir = data_dir.display();
    let message = format!("there is no ledger in {dir}; name the data directory of a host with --data-dir");
    Err(Failure::new(Failure::NO_LEDGER, message).into())
}

fn key_in(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join(KEY_FILE);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read the operator's key, {}", path.display()))
}

async fn run_here<O: Operation>(
    operation: &O,
    place: &Place,
    dir: DataDir,
    progress: &Progress,
) -> anyhow::Result<O::Report> {
    let template = Template::load(place.template.as_deref())?;
    let stores = Stores::start(&dir, place.database_url.clone(), &template).await?;
    let done = async {
        let config = config_of(&template, &dir, &stores)?;
        stores.ensure_read_models(&config).await?;
        let site = Site::new(&config, PostgresViews::new(stores.pool.clone()), dir.path()).await?;
        let site = site.with_dead_letters(dead_letter_queues(&template, &stores.messaging).await);
        tokio::select! {
            done = operation.run(&site, progress) => done,
            // The stores are to be stopped all the same: an embedded Postgres that is not is lost.
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        }
    };
    let done = done.await;
    let stopped = stores.stop().await;
    done.and_then(|report| stopped.map(|()| report))
}

#[cfg(test)]
#[path = "operate_tests.rs"]
mod tests;
