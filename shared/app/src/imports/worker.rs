//! A message's rows into entities.

use std::sync::Arc;

use futures::future::join;
use ledgerline_import_file::{Chunk, ChunkRow, RowMapper};
use ledgerline_kernel::ports::{ImportJobs, LedgerLookup, LedgerRead, StoreError};
use ledgerline_kernel::{
    DynDomain, ImportCounts, ImportJob, ImportKey, ImportState, ImportedRows, MAX_OPERATIONS, Timestamp,
};

use super::change::complete_if_done;
use super::show::{Show, Unshown};
use super::{mapping_of, rejected};
use crate::commands::rows::{RowsDone, RowsRequest};
use crate::{Caller, Commands, Environment, InTime, Projector, Registry, RequestOrigin};

/// How many rows a part begins with: creates that take a unique value are two operations each, and the
/// outcome is one.
const FIRST_PART: usize = (MAX_OPERATIONS - 1) / 2;

/// The most rows of a part: as many keys as one request looks up.
const LARGEST_PART: usize = 100;

/// How many versions are projected at once, about.
const SHOWN_AT_ONCE: usize = 200;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkWorked {
    /// Each of its rows has an outcome, and the read models show it.
    Done,
    /// There is no such import any more, or it has come to its end: the message is of no use.
    Dropped,
    /// Time was up; the message has to come again.
    OutOfTime,
}

/// Works through messages.
#[derive(Clone)]
pub struct ImportWorker {
    registry: Registry,
    commands: Commands,
    lookup: Arc<dyn LedgerLookup>,
    jobs: Arc<dyn ImportJobs>,
    show: Show,
    environment: Arc<dyn Environment>,
}

impl ImportWorker {
    /// A worker that writes through `commands`, whose ledger is `ledger`.
    pub fn new(
        commands: Commands,
        (ledger, lookup): (Arc<dyn LedgerRead>, Arc<dyn LedgerLookup>),
        jobs: Arc<dyn ImportJobs>,
        (registry, projector): (Registry, Projector),
        environment: Arc<dyn Environment>,
    ) -> Self {
        let show = Show { ledger, jobs: jobs.clone(), projector };
        Self { registry, commands, lookup, jobs, show, environment }
    }

    /// Gives each row of `chunk` an outcome that has none, and has the read models show what came of it,
    /// for as long as there is time.
    ///
    /// Delivering a chunk again, to this worker or to another one at the same time, changes nothing: rows
    /// that have an outcome are not looked at.
    ///
    /// # Errors
    /// [`StoreError`] if it has to come again.
    pub async fn work(&self, chunk: &Chunk, in_time: InTime<'_>) -> Result<ChunkWorked, StoreError> {
        let number = u32::try_from(chunk.chunk).map_err(|_| rejected("a chunk has no such number".to_owned()))?;
        let Some(job) = self.live(chunk).await? else { return Ok(ChunkWorked::Dropped) };
        let domain = self.registry.by_resource(&job.resource);
        let domain = domain.ok_or_else(|| rejected(format!("there are no {}", job.resource)))?;
        let mapper = mapping_of(&job)?.over(&chunk.columns);
        let mapper = mapper.map_err(|problems| rejected(format!("a mapping that does not fit: {problems:?}")))?;
        let mut rows = Rows {
            origin: RequestOrigin {
                request_id: request_id(&job, number),
                source: "import-worker".to_owned(),
                traceparent: None,
            },
            caller: Caller { tenant: job.key.tenant.clone(), user: job.created.by.clone(), ip: job.created.ip.clone() },
            domain: domain.as_ref(),
            mapper,
            job,
            chunk,
            number,
            next: 0,
            size: FIRST_PART,
            counts: ImportCounts::default(),
        };
        let earlier = self.jobs.outcomes_of(&rows.job.key, number).await?;
        rows.next = behind(&earlier);
        self.show.catch_up(rows.domain, &earlier).await?;
        let worked = self.go_through(&mut rows, in_time).await;
        rows.tell_counts();
        let worked = worked?;
        if worked == ChunkWorked::Done {
            self.complete(&rows, !earlier.is_empty()).await?;
        }
        Ok(worked)
    }

    /// The import, while it is not at its end.
    async fn live(&self, chunk: &Chunk) -> Result<Option<ImportJob>, StoreError> {
        let Ok(id) = chunk.import.parse() else { return Ok(None) };
        let job = self.jobs.get(&ImportKey { tenant: chunk.tenant.clone(), id }).await?;
        Ok(job.filter(|job| !job.state.is_final()))
    }

    /// Part by part; while one is written, the read models are brought up to those before it.
    async fn go_through(&self, rows: &mut Rows<'_>, in_time: InTime<'_>) -> Result<ChunkWorked, StoreError> {
        let import = rows.job.key.clone();
        let (mut worked, mut unshown) = (ChunkWorked::Done, Unshown::default());
        while !rows.left().is_empty() {
            if !in_time() {
                worked = ChunkWorked::OutOfTime;
                break;
            }
            if self.live(rows.chunk).await?.is_none() {
                worked = ChunkWorked::Dropped;
                break;
            }
            let ready = unshown.items.len() >= SHOWN_AT_ONCE;
            let ready = if ready { std::mem::take(&mut unshown) } else { Unshown::default() };
            let request = rows.request();
            let (done, shown) =
                join(self.commands.execute_rows(self.lookup.as_ref(), &request), self.show.show(&import, ready)).await;
            drop(request);
            shown?;
            match done? {
                RowsDone::Ours { outcome, items } => {
                    rows.went_on(&outcome, items.len());
                    unshown.add(&outcome, items);
                }
                // Somebody else works on the same rows: go on behind them, and do not leave what they did
                // to be shown by them alone.
                RowsDone::Theirs => {
                    self.show.show(&import, std::mem::take(&mut unshown)).await?;
                    let outcomes = self.jobs.outcomes_of(&import, rows.number).await?;
                    rows.next = behind(&outcomes);
                    self.show.catch_up(rows.domain, &outcomes).await?;
                }
            }
        }
        self.show.show(&import, unshown).await?;
        Ok(worked)
    }

    /// Looks whether that was all of the import, where there is reason to think so: adding it all up is
    /// nothing to be done after each chunk. Whoever asks how far it is looks as well.
    async fn complete(&self, rows: &Rows<'_>, late: bool) -> Result<(), StoreError> {
        let Some(job) = self.live(rows.chunk).await? else { return Ok(()) };
        let is_small = job.split.chunks <= SMALL;
        let near_the_end = rows.number.saturating_add(NEAR) >= job.split.chunks;
        let may_be_the_last = is_small || late || near_the_end || rows.number.is_multiple_of(NEAR);
        if job.state == ImportState::Running && may_be_the_last {
            complete_if_done(self.jobs.as_ref(), self.environment.as_ref(), job).await?;
        }
        Ok(())
    }
}

/// So many chunks from the end it may be the last that is worked on; and of those before, one in so many
/// looks.
const NEAR: u32 = 16;

/// An import of no more chunks is added up after each: that is little work.
const SMALL: u32 = 64;

/// What the versions say of where they come from: the import and the chunk, so that another row of the same file is
/// known for one.
fn request_id(job: &ImportJob, chunk: u32) -> String {
    format!("{}.{chunk}", job.key.id)
}

/// The place behind these outcomes of a chunk.
fn behind(outcomes: &[ImportedRows]) -> usize {
    outcomes.last().map_or(0, |last| usize::try_from(last.end()).unwrap_or(usize::MAX))
}

/// The rows of a chunk, and how far they are.
struct Rows<'a> {
    job: ImportJob,
    chunk: &'a Chunk,
    number: u32,
    domain: &'a dyn DynDomain,
    mapper: RowMapper,
    caller: Caller,
    origin: RequestOrigin,
    /// The first that has no outcome.
    next: usize,
    /// How many make the next part, at most.
    size: usize,
    /// What became of those that got their outcome here.
    counts: ImportCounts,
}

impl Rows<'_> {
    fn left(&self) -> &[ChunkRow] {
        self.chunk.rows.get(self.next..).unwrap_or_default()
    }

    fn request(&self) -> RowsRequest<'_> {
        let left = self.left();
        let now: Timestamp = self.job.updated_at;
        let outcome = ImportedRows {
            import: self.job.key.clone(),
            chunk: self.number,
            first: u32::try_from(self.next).unwrap_or(u32::MAX),
            rows: 0,
            counts: ImportCounts::default(),
            file: self.chunk.file.clone(),
            columns: self.chunk.columns.clone(),
            failures: Vec::new(),
            written: Vec::new(),
            shown: false,
            command_id: String::new(),
            at: now,
            expires_at: self.job.expires_at,
        };
        RowsRequest {
            domain: self.domain,
            mode: self.job.mode,
            mapper: &self.mapper,
            rows: left.get(..self.size).unwrap_or(left),
            caller: &self.caller,
            origin: &self.origin,
            outcome,
        }
    }

    /// Takes more rows the next time if these took little of a transaction, and no more than fitted if
    /// they did not all fit.
    fn went_on(&mut self, outcome: &ImportedRows, written: usize) {
        let taken = usize::try_from(outcome.rows).unwrap_or(usize::MAX);
        self.next = self.next.saturating_add(taken);
        self.counts.add(&outcome.counts);
        if taken < self.size {
            self.size = taken.max(FIRST_PART);
        } else if written <= taken / 2 {
            self.size = LARGEST_PART;
        }
    }

    /// The template counts rows by these lines.
    fn tell_counts(&self) {
        let ImportCounts { created, updated, unchanged, failed } = self.counts;
        let counts = [("created", created), ("updated", updated), ("unchanged", unchanged), ("failed", failed)];
        for (outcome, rows) in counts.into_iter().filter(|(_, rows)| *rows > 0) {
            tracing::info!(import.id = %self.job.key.id, outcome, rows, "rows were imported");
        }
    }
}
