use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::run::Shared;

/// How an event source mapping on a queue gets on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// The mapping's id: the names of function and event in the template.
    pub mapping: String,
    /// The function.
    pub function: String,
    /// The queue.
    pub queue_arn: String,
    /// Messages that wait.
    pub messages: u64,
    /// Messages that were received and not deleted yet: being worked on, or failed and hidden for a while.
    pub in_flight: u64,
    /// Messages that wait for a delay to pass.
    pub delayed: u64,
    /// What keeps it from going on at this moment.
    pub current_error: Option<String>,
    /// What went wrong last, if anything ever did since the host started.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<DateTime<Utc>>,
    /// Invocations since the host started.
    pub invocations: u64,
    /// Where the queue sends what was received too often.
    pub dead_letter_queue_arn: Option<String>,
    /// How many messages are there.
    pub dead_letters: u64,
}

impl QueueStatus {
    /// Whether all that was sent is done with or dead.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages + self.in_flight + self.delayed == 0
    }
}

/// What went wrong, and how often what happened.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    pub(super) now: Option<String>,
    pub(super) last: Option<(String, DateTime<Utc>)>,
    pub(super) invocations: u64,
}

/// Says how a mapping gets on.
#[derive(Clone)]
pub struct QueueReader(Arc<Shared>);

impl QueueReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Asks the queues.
    ///
    /// # Errors
    /// If one cannot be asked.
    pub async fn read(&self) -> anyhow::Result<QueueStatus> {
        let (mapping, parts) = (&self.0.mapping, &self.0.parts);
        let depths = parts.source.depths().await?;
        let dead_letters = match &parts.dead_letters {
            Some(dead) => dead.depths().await?.total(),
            None => 0,
        };
        let trouble = self.0.trouble();
        let (last_error, last_error_at) = trouble.last.clone().unzip();
        Ok(QueueStatus {
            mapping: mapping.id.clone(),
            function: mapping.function.clone(),
            queue_arn: parts.source.arn().to_owned(),
            messages: depths.visible,
            in_flight: depths.in_flight,
            delayed: depths.delayed,
            current_error: trouble.now.clone(),
            last_error,
            last_error_at,
            invocations: trouble.invocations,
            dead_letter_queue_arn: parts.dead_letters.as_ref().map(|dead| dead.arn().to_owned()),
            dead_letters,
        })
    }
}

impl fmt::Debug for QueueReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueReader").field(&self.0.mapping.id).finish()
    }
}
