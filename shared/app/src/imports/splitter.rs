//! A file's rows into messages.

use std::sync::Arc;

use async_trait::async_trait;
use ledgerline_import_file::{Chunk, Mapping};
use ledgerline_kernel::ports::{ImportJobs, MessageQueue, QueueMessage, StoreError};
use ledgerline_kernel::{ImportFailure, ImportJob, ImportKey, ImportState, SplitProgress};

use super::change::{change, complete_if_done, source_changed};
use super::{mapping_of, rejected};
use crate::{Environment, InTime};

/// How many chunks are sent before the progress is saved: with 240 KiB each, about a megabyte.
const AT_ONCE: usize = 4;

/// Where chunks come from: the same ones, in the same order, whenever a file is read.
#[async_trait]
pub trait ChunkSource: Send {
    /// The next chunk; none at the end.
    async fn next(&mut self) -> Result<Option<Chunk>, SourceError>;
}

/// Why no more chunks come.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read on, now or later.
    #[error("{}: {}", .0.code, .0.message)]
    File(ImportFailure),
    /// The store that it is in failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a splitter came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Split {
    /// There is nothing more to do. The import is in this state.
    Done(ImportState),
    /// Time was up: call it again.
    More,
}

/// Makes messages of a file's rows.
#[derive(Clone)]
pub struct Splitter {
    jobs: Arc<dyn ImportJobs>,
    queue: Arc<dyn MessageQueue>,
    environment: Arc<dyn Environment>,
}

impl Splitter {
    /// A splitter into this queue.
    pub fn new(jobs: Arc<dyn ImportJobs>, queue: Arc<dyn MessageQueue>, environment: Arc<dyn Environment>) -> Self {
        Self { jobs, queue, environment }
    }

    /// Begins, or goes on, with the file that has this etag. None if there is nothing to be done for this
    /// import: there is no such one, or it has come to its end. One that was begun with another file comes to
    /// it here: what is to be imported then, nobody knows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin(&self, key: &ImportKey, etag: &str) -> Result<Option<ImportJob>, StoreError> {
        let now = self.environment.now();
        let begun = |job: &ImportJob| {
            let source_etag = Some(etag.to_owned());
            match job.state {
                ImportState::AwaitingUpload => {
                    Some(ImportJob { state: ImportState::Splitting, started_at: Some(now), source_etag, ..job.clone() })
                }
                ImportState::Splitting | ImportState::Running if job.source_etag.is_none() => {
                    Some(ImportJob { source_etag, ..job.clone() })
                }
                _ => None,
            }
        };
        let job = change(self.jobs.as_ref(), self.environment.as_ref(), key, begun).await?;
        let Some(job) = job.filter(|job| !job.state.is_final()) else { return Ok(None) };
        if job.source_etag.as_deref() == Some(etag) {
            return Ok(Some(job));
        }
        self.fail(&job, &mut Sending::of(&job)?, source_changed()).await?;
        Ok(None)
    }

    /// Sends the chunks of `source` that are to be sent: while it is splitting, those behind the saved
    /// progress; when all were sent before, those of which a row has no outcome. `job` comes from
    /// [`begin`](Self::begin).
    ///
    /// A file that cannot be read, or that lacks what the mapping needs, fails the import: once the rows that came
    /// before that have an outcome.
    ///
    /// # Errors
    /// [`StoreError`]; calling it again goes on where it was.
    pub async fn split(
        &self,
        job: &ImportJob,
        source: &mut dyn ChunkSource,
        in_time: InTime<'_>,
    ) -> Result<Split, StoreError> {
        let mut sending = Sending::of(job)?;
        while in_time() {
            let chunk = match source.next().await {
                Ok(chunk) => chunk,
                Err(SourceError::File(failure)) => return self.fail(job, &mut sending, failure).await,
                Err(SourceError::Store(error)) => return Err(error),
            };
            let Some(chunk) = chunk else { return self.finish(job, &mut sending).await };
            if let Err(failure) = sending.check(&chunk) {
                return self.fail(job, &mut sending, failure).await;
            }
            if self.is_wanted(job, &sending, &chunk).await? {
                sending.add(&chunk)?;
            }
            if sending.messages.len() >= AT_ONCE
                && let Some(end) = self.send(job, &mut sending).await?
            {
                return Ok(Split::Done(end));
            }
        }
        // What is packed and not sent is made again.
        Ok(Split::More)
    }

    async fn is_wanted(&self, job: &ImportJob, sending: &Sending, chunk: &Chunk) -> Result<bool, StoreError> {
        let number = number_of(chunk)?;
        if !sending.again {
            return Ok(number >= job.split.chunks);
        }
        let outcomes = self.jobs.outcomes_of(&job.key, number).await?;
        let whole = outcomes.iter().map(|rows| u64::from(rows.rows)).sum::<u64>() >= chunk.rows.len() as u64;
        Ok(!whole || outcomes.iter().any(|rows| !rows.shown))
    }

    /// Sends what is packed and saves how far that is. The state of an import that has come to its end
    /// meanwhile.
    async fn send(&self, job: &ImportJob, sending: &mut Sending) -> Result<Option<ImportState>, StoreError> {
        let messages = std::mem::take(&mut sending.messages);
        for sent in self.queue.send(&messages).await {
            sent?;
        }
        let (progress, again) = (sending.progress, sending.again);
        let further = |job: &ImportJob| {
            let is_further = !again && job.state == ImportState::Splitting && job.split.chunks < progress.chunks;
            is_further.then(|| ImportJob { split: progress, ..job.clone() })
        };
        let job = change(self.jobs.as_ref(), self.environment.as_ref(), &job.key, further).await?;
        Ok(job.map_or(Some(ImportState::Cancelled), |job| job.state.is_final().then_some(job.state)))
    }

    async fn finish(&self, job: &ImportJob, sending: &mut Sending) -> Result<Split, StoreError> {
        if let Some(end) = self.send(job, sending).await? {
            return Ok(Split::Done(end));
        }
        let progress = SplitProgress { whole: true, ..sending.progress };
        let running = |job: &ImportJob| {
            let splitting = job.state == ImportState::Splitting;
            splitting.then(|| ImportJob { state: ImportState::Running, split: progress, ..job.clone() })
        };
        let job = change(self.jobs.as_ref(), self.environment.as_ref(), &job.key, running).await?;
        let Some(job) = job else { return Ok(Split::Done(ImportState::Cancelled)) };
        let job = complete_if_done(self.jobs.as_ref(), self.environment.as_ref(), job).await?;
        Ok(Split::Done(job.state))
    }

    /// What came before the break stands, and is accounted for like the rows of any file.
    async fn fail(&self, job: &ImportJob, sending: &mut Sending, failure: ImportFailure) -> Result<Split, StoreError> {
        if let Some(end) = self.send(job, sending).await? {
            return Ok(Split::Done(end));
        }
        let progress = SplitProgress { whole: true, ..sending.progress };
        let failed = |job: &ImportJob| {
            let (failure, failed) = (Some(failure.clone()), ImportState::Failed);
            match (job.state, progress.rows, &job.failure) {
                (ImportState::Splitting, 0, _) => Some(ImportJob { state: failed, failure, ..job.clone() }),
                (ImportState::Splitting, ..) => {
                    Some(ImportJob { state: ImportState::Running, split: progress, failure, ..job.clone() })
                }
                // Read again, it breaks where it broke before; or it is not the file that it was.
                (ImportState::Running, _, None) => Some(ImportJob { state: failed, failure, ..job.clone() }),
                _ => None,
            }
        };
        let job = change(self.jobs.as_ref(), self.environment.as_ref(), &job.key, failed).await?;
        let Some(job) = job else { return Ok(Split::Done(ImportState::Failed)) };
        let job = complete_if_done(self.jobs.as_ref(), self.environment.as_ref(), job).await?;
        Ok(Split::Done(job.state))
    }
}

/// Messages on their way.
struct Sending {
    mapping: Mapping,
    /// The columns that the mapping was checked with.
    columns: Option<Vec<String>>,
    messages: Vec<QueueMessage>,
    /// How far it is once these are sent.
    progress: SplitProgress,
    /// Whether all were sent before.
    again: bool,
}

impl Sending {
    fn of(job: &ImportJob) -> Result<Self, StoreError> {
        let again = job.state == ImportState::Running;
        Ok(Self { mapping: mapping_of(job)?, columns: None, messages: Vec::new(), progress: job.split, again })
    }

    /// Whether the file has the columns that the mapping needs.
    fn check(&mut self, chunk: &Chunk) -> Result<(), ImportFailure> {
        if self.columns.as_ref() == Some(&chunk.columns) {
            return Ok(());
        }
        let problem = self.mapping.check(&chunk.columns).into_iter().next();
        self.columns = Some(chunk.columns.clone());
        let Some(problem) = problem else { return Ok(()) };
        let file = chunk.file.as_ref().map_or_else(String::new, |file| format!("{file}: "));
        Err(ImportFailure {
            code: problem.code.to_owned(),
            message: format!("{file}the mapping's field {} {}", problem.path, problem.message),
        })
    }

    fn add(&mut self, chunk: &Chunk) -> Result<(), StoreError> {
        let json = serde_json::to_string(chunk).map_err(|error| rejected(error.to_string()))?;
        self.messages.push(QueueMessage::of_json(chunk.tenant.as_str(), &json));
        if !self.again {
            self.progress.chunks = number_of(chunk)?.saturating_add(1);
            self.progress.rows += chunk.rows.len() as u64;
        }
        Ok(())
    }
}

fn number_of(chunk: &Chunk) -> Result<u32, StoreError> {
    u32::try_from(chunk.chunk).map_err(|_| rejected("an import has too many chunks".to_owned()))
}
