use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::shared::Shared;
use super::{Clock, FailureDestination, Mapping, Positions, StreamSource};

/// How many records of a shard are counted at most: beyond that, "many" says it all.
const COUNTED: usize = 10_000;

/// Records read at a time to be counted.
const PAGE: usize = 1000;

/// How far an event source mapping is, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The mapping's id: the names of function and event in the template.
    pub mapping: String,
    /// The function.
    pub function: String,
    /// The stream.
    pub stream_arn: String,
    /// The newest record of any shard up to which that shard is done with; none before the first.
    pub position: Option<String>,
    /// Records that are not done with, filtered ones left out; at most 10,000 of each shard are counted.
    pub records_behind: u64,
    /// The age of the oldest of these, in seconds; 0 if there is none.
    pub lag_seconds: f64,
    /// What keeps it from going on at this moment.
    pub current_error: Option<String>,
    /// What went wrong last, if anything ever did since the host started.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<DateTime<Utc>>,
    /// Invocations since the host started.
    pub invocations: u64,
    /// Records given up since the host started.
    pub given_up: u64,
    /// Where those are.
    pub failure_destination: String,
    /// How many groups of records are there, also of earlier runs.
    pub failure_depth: u64,
}

/// What went wrong, and how often what happened.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    pub(super) now: Option<String>,
    pub(super) last: Option<(String, DateTime<Utc>)>,
    pub(super) invocations: u64,
    pub(super) given_up: usize,
}

/// Says how far a mapping is.
#[derive(Clone)]
pub struct SourceReader {
    mapping: Mapping,
    stream: Arc<dyn StreamSource>,
    failures: Arc<dyn FailureDestination>,
    clock: Clock,
    trouble: Arc<Mutex<Trouble>>,
    progress: watch::Receiver<Positions>,
}

impl SourceReader {
    pub(super) fn new(shared: &Shared, progress: watch::Receiver<Positions>) -> Self {
        Self {
            mapping: shared.mapping.clone(),
            stream: Arc::clone(&shared.stream),
            failures: Arc::clone(&shared.failures),
            clock: shared.clock.clone(),
            trouble: Arc::clone(&shared.trouble),
            progress,
        }
    }

    pub(super) fn stream(&self) -> &dyn StreamSource {
        &*self.stream
    }

    pub(super) fn progress(&self) -> watch::Receiver<Positions> {
        self.progress.clone()
    }

    /// Reads the stream from where the mapping is.
    ///
    /// # Errors
    /// If the stream or the failure destination cannot be read.
    pub async fn read(&self) -> anyhow::Result<SourceStatus> {
        let positions = self.progress.borrow().clone();
        let (mut behind, mut oldest) = (0, None::<DateTime<Utc>>);
        for shard in self.stream.shards().await? {
            let position = positions.get(&shard.id).cloned().unwrap_or_default();
            let (mut after, mut counted) = (position.sequence_number, 0);
            while !position.is_finished && counted < COUNTED {
                let page = self.stream.read(&shard.id, after.as_ref(), PAGE).await?;
                let Some(last) = page.records.last() else { break };
                after = Some(last.sequence_number.clone());
                for record in page.records.iter().filter(|record| self.mapping.accepts(&record.json)) {
                    counted += 1;
                    oldest = Some(oldest.map_or(record.created, |oldest| oldest.min(record.created)));
                }
            }
            behind += counted;
        }
        let position = positions.values().filter_map(|position| position.sequence_number.as_ref()).max();
        let lag = oldest.map_or(0, |oldest| (self.clock.now() - oldest).num_milliseconds().max(0));
        let failure_depth = self.failures.depth().await?;
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let (last_error, last_error_at) = trouble.last.clone().unzip();
        Ok(SourceStatus {
            mapping: self.mapping.id.clone(),
            function: self.mapping.function.clone(),
            stream_arn: self.stream.arn().to_owned(),
            position: position.map(ToString::to_string),
            records_behind: behind.try_into()?,
            lag_seconds: std::time::Duration::from_millis(lag.try_into()?).as_secs_f64(),
            current_error: trouble.now.clone(),
            last_error,
            last_error_at,
            invocations: trouble.invocations,
            given_up: trouble.given_up.try_into()?,
            failure_destination: self.failures.name(),
            failure_depth,
        })
    }
}

impl fmt::Debug for SourceReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceReader").field(&self.mapping.id).finish()
    }
}
