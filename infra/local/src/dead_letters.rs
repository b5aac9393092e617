//! `ledgerline dead-letters`: messages that a function failed on too often, and bringing them back.

mod queue;
mod text;

use std::path::PathBuf;

use anyhow::Context as _;
use async_trait::async_trait;
use clap::{Args, Subcommand};
use ledgerline_import_file::Chunk;
use ledgerline_kernel::TenantCode;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::operate::{Operation, Progress, Site};
use crate::queue_source::Message;

pub use queue::{DeadLetterQueue, Source, dead_letter_queues};
pub use text::{list_text, redrive_text};

/// How many messages of a queue are listed: as many as SQS shows at once.
const LISTED: usize = 10;

/// Letters of a body that are shown.
const BODY: usize = 200;

/// What to do with dead letters.
#[derive(Debug, Clone, Args)]
pub struct DeadLetters {
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do with dead letters.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Action {
    /// List them, with the beginning of what they say
    List(List),
    /// Bring them back to the queues that they came from, whose functions then try again
    Redrive(Redrive),
}

/// Which of them.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub struct Which {
    /// Only this dead-letter queue, by its name in the template or its own [default: all]
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// The template to read, where no host runs [default: ./template.yaml, else the built-in one]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub template: Option<PathBuf>,
}

/// Lists dead letters. SQS has no other look at a message than a receive, and counts it as one.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct List {
    /// Which of them.
    #[command(flatten)]
    pub which: Which,
}

/// Brings dead letters back.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct Redrive {
    /// Which of them.
    #[command(flatten)]
    pub which: Which,
}

/// Dead letters, queue by queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The dead-letter queues.
    pub queues: Vec<DeadQueue>,
    /// Whether a host runs: where none does, there are no messages either.
    pub host_runs: bool,
}

/// A dead-letter queue and the first of its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadQueue {
    /// Its name in the template.
    pub queue: String,
    /// Its own.
    pub name: String,
    /// The queues that its messages come from.
    pub sources: Vec<Source>,
    /// How many messages it holds.
    pub count: u64,
    /// The first ten, or fewer.
    pub messages: Vec<DeadLetter>,
}

/// A message that a function failed on too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its `MessageId`.
    pub id: String,
    /// How often it was received, by functions and by whoever listed it before.
    pub receive_count: u32,
    /// How long ago it was sent.
    pub age_seconds: u64,
    /// The beginning of what it says.
    pub body: String,
    /// The rows that it carries, if it is an import's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<DeadRows>,
}

/// An import's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadRows {
    /// Whose import it is.
    pub tenant: TenantCode,
    /// Which one.
    pub import: String,
    /// Which of its messages, from 0.
    pub chunk: u64,
    /// The file's name in an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The first row's number in its file.
    pub first: u64,
    /// The last one's.
    pub last: u64,
    /// How many there are.
    pub count: usize,
}

/// What was brought back, queue by queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Redriven {
    /// The dead-letter queues.
    pub queues: Vec<RedrivenQueue>,
    /// Whether a host runs: where none does, there are no messages either.
    pub host_runs: bool,
}

/// What was brought back from one dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedrivenQueue {
    /// Its name in the template.
    pub queue: String,
    /// The queues that its messages come from.
    pub sources: Vec<Source>,
    /// How many messages were moved.
    pub moved: u64,
    /// How many are still there.
    pub left: u64,
    /// Why not all were moved, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

#[async_trait]
impl Operation for List {
    const NAME: &'static str = "dead-letters-list";
    type Report = Listed;

    async fn run(&self, site: &Site, _: &Progress) -> anyhow::Result<Listed> {
        let mut queues = Vec::new();
        for queue in self.which.of(site)? {
            let cannot = || format!("cannot read the queue {}", queue.name);
            let count = queue.api.count().await.with_context(cannot)?;
            let messages = if count > 0 { queue.api.look(LISTED).await.with_context(cannot)? } else { Vec::new() };
            let now = chrono::Utc::now().timestamp_millis();
            queues.push(DeadQueue {
                queue: queue.logical_id.clone(),
                name: queue.name.clone(),
                sources: queue.sources.clone(),
                count,
                messages: messages.iter().map(|message| DeadLetter::of(message, now)).collect(),
            });
        }
        Ok(Listed { queues, host_runs: site.mappings.is_some() })
    }
}

#[async_trait]
impl Operation for Redrive {
    const NAME: &'static str = "dead-letters-redrive";
    type Report = Redriven;

    async fn run(&self, site: &Site, progress: &Progress) -> anyhow::Result<Redriven> {
        let mut queues = Vec::new();
        for queue in self.which.of(site)? {
            progress.step(&format!("redriving {}", queue.logical_id), 0, None);
            // What was brought back from other queues is to be told of, whatever becomes of this one.
            let (moved, problem) = match queue.api.redrive().await {
                Ok(moved) => (moved, None),
                Err(error) => (0, Some(format!("{error:#}"))),
            };
            let left = queue.api.count().await.with_context(|| format!("cannot read the queue {}", queue.name))?;
            queues.push(RedrivenQueue {
                queue: queue.logical_id.clone(),
                sources: queue.sources.clone(),
                moved,
                left,
                problem,
            });
        }
        Ok(Redriven { queues, host_runs: site.mappings.is_some() })
    }
}

impl Which {
    /// The queues that are meant.
    fn of<'a>(&self, site: &'a Site) -> anyhow::Result<Vec<&'a DeadLetterQueue>> {
        let all = &site.dead_letters;
        let Some(name) = &self.queue else { return Ok(all.iter().collect()) };
        let meant: Vec<_> = all.iter().filter(|queue| queue.logical_id == *name || queue.name == *name).collect();
        if meant.is_empty() {
            let known: Vec<_> = all.iter().map(|queue| queue.logical_id.as_str()).collect();
            let message =
                format!("there is no dead-letter queue {name} of a function's queue; there is: {}", known.join(", "));
            return Err(Failure::new(Failure::NO_SUCH_QUEUE, message).into());
        }
        Ok(meant)
    }
}

impl DeadLetter {
    fn of(message: &Message, now: i64) -> Self {
        let number = |name: &str| message.attributes.get(name)?.parse::<i64>().ok();
        let (sent, received) = (number("SentTimestamp"), number("ApproximateReceiveCount"));
        // This look is one of them.
        let received = received.and_then(|count| u32::try_from(count - 1).ok());
        let age = sent.and_then(|sent| u64::try_from((now - sent) / 1000).ok());
        Self {
            id: message.id.clone(),
            receive_count: received.unwrap_or_default(),
            age_seconds: age.unwrap_or_default(),
            body: message.body.chars().take(BODY).collect(),
            rows: serde_json::from_str(&message.body).ok().and_then(DeadRows::of),
        }
    }
}

impl DeadRows {
    fn of(chunk: Chunk) -> Option<Self> {
        let (first, last) = (chunk.rows.first()?.row, chunk.rows.last()?.row);
        let Chunk { tenant, import, chunk, file, rows, .. } = chunk;
        Some(Self { tenant, import, chunk, file, first, last, count: rows.len() })
    }
}

/// Whether all that was asked for has left its dead-letter queue.
///
/// # Errors
/// If something is still there.
pub fn redrive_verdict(redriven: &Redriven) -> anyhow::Result<()> {
    let is_empty = |queue: &RedrivenQueue| queue.left == 0 && queue.problem.is_none();
    anyhow::ensure!(redriven.queues.iter().all(is_empty), "not every message was brought back");
    Ok(())
}

#[cfg(test)]
#[path = "dead_letters_tests.rs"]
mod tests;
