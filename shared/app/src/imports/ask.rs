//! What callers do with imports: ask for one, see how far it is, stop it, have it go on.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use ledgerline_kernel::input::{InputError, Problem};
use ledgerline_kernel::ports::{ImportJobs, LedgerWrite, SourceObjects, StoreError};
use ledgerline_kernel::{
    FailedRow, ImportCounts, ImportId, ImportJob, ImportKey, ImportState, SplitProgress, Stamp, TenantCode, Timestamp,
};

use super::change::{change, complete_if_done};
use super::request::{ImportRequest, ImportSource};
use super::{rejected, source_key, sources_of};
use crate::{Caller, CommandError, Environment, Registry};

/// How long an import, and what became of its rows, is kept.
const KEPT_DAYS: i64 = 90;

/// How long the URL of an upload is good for.
const UPLOAD_TIME: Duration = Duration::from_secs(60 * 60);

/// How large a mapping is at most: it is kept in the job's item.
const MAPPING_BYTES: usize = 100 * 1024;

/// How long a key of S3 is at most, in bytes.
const KEY_BYTES: usize = 1024;

/// Whether a key is below the tenant's prefix, wherever it is taken for a path: S3 knows no `..`, others do.
fn is_of_tenant(key: &str, tenant: &TenantCode) -> bool {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\\');
    let rest = key.strip_prefix(&sources_of(tenant));
    key.len() <= KEY_BYTES && rest.is_some_and(|rest| rest.split('/').all(is_plain))
}

/// Imports as their callers see them.
#[derive(Clone)]
pub struct Imports {
    registry: Registry,
    pub(super) jobs: Arc<dyn ImportJobs>,
    pub(super) ledger: Arc<dyn LedgerWrite>,
    objects: Arc<dyn SourceObjects>,
    pub(super) environment: Arc<dyn Environment>,
}

/// Why nothing came of a request about an import.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The body could not be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Its idempotency key is none, or stands for another request.
    #[error(transparent)]
    Key(#[from] CommandError),
    /// There is no such import of this tenant.
    #[error("there is no {0}")]
    NotFound(ImportKey),
    /// It has come to an end already, and not to this one.
    #[error("the import has ended: it is {0}")]
    Ended(ImportState),
    /// There is no object with its rows.
    #[error("there is no file to import")]
    NoSource,
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An import that was taken in.
#[derive(Debug, Clone, PartialEq)]
pub struct NewImport {
    /// What was asked for.
    pub job: ImportJob,
    /// Where to `PUT` the file, and until when that works, if the caller brings it.
    pub upload: Option<(String, Timestamp)>,
    /// Whether the same request had asked for it before.
    pub replayed: bool,
}

/// How far an import is.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportStatus {
    /// What was asked for, and its state.
    pub job: ImportJob,
    /// What became of the rows that have an outcome.
    pub counts: ImportCounts,
    /// How much of it is done, from 0 to 1; none before all rows have been read.
    pub progress: Option<f64>,
    /// Rows with an outcome for each second since it began; none before that.
    pub rows_per_second: Option<f64>,
}

/// Failed rows of one file, with what their fields are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowErrors {
    /// Of which outcome: its chunk and first row.
    pub place: (u32, u32),
    /// The file's name in an archive.
    pub file: Option<String>,
    /// The columns of its table; none of JSON lines.
    pub columns: Vec<String>,
    /// The rows, in the order of the file.
    pub rows: Vec<FailedRow>,
}

/// Some failed rows, and behind which outcome the next page begins; none on the last page.
pub type FailedRows = (Vec<RowErrors>, Option<(u32, u32)>);

impl Imports {
    /// Imports into these domains. `ledger` keeps the imports and what is remembered of requests for them.
    pub fn new(
        registry: Registry,
        ledger: Arc<impl ImportJobs + LedgerWrite + 'static>,
        objects: Arc<dyn SourceObjects>,
        environment: Arc<dyn Environment>,
    ) -> Self {
        Self { registry, jobs: Arc::clone(&ledger) as _, ledger, objects, environment }
    }

    /// Takes in an import: it is there before its file is, which sets it going.
    ///
    /// # Errors
    /// [`ImportError`]. After [`ImportError::Store`] there may be an import that awaits its file.
    pub async fn ask(&self, caller: &Caller, request: ImportRequest) -> Result<NewImport, ImportError> {
        let job = self.create(caller, &request).await?;
        let upload = self.provide(&job, request.source).await?;
        Ok(NewImport { job, upload, replayed: false })
    }

    pub(super) async fn create(&self, caller: &Caller, request: &ImportRequest) -> Result<ImportJob, ImportError> {
        self.check(&caller.tenant, request)?;
        if let ImportSource::Object(key) = &request.source
            && self.objects.head(key).await?.is_none()
        {
            return Err(ImportError::NoSource);
        }
        let (id, now) = (self.environment.new_id(), self.environment.now());
        let id: ImportId = id.parse().map_err(|_| rejected("an id is no ULID".to_owned()))?;
        let job = ImportJob {
            key: ImportKey { tenant: caller.tenant.clone(), id },
            resource: request.resource.clone(),
            format: request.format,
            mode: request.mode,
            mapping: request.mapping.clone(),
            state: ImportState::AwaitingUpload,
            source_etag: None,
            created: Stamp { at: now, by: caller.user.clone(), ip: caller.ip.clone() },
            started_at: None,
            updated_at: now,
            revision: 1,
            split: SplitProgress::default(),
            failure: None,
            counts: None,
            expires_at: (now.as_datetime() + TimeDelta::days(KEPT_DAYS)).into(),
        };
        if !self.jobs.create(&job).await? {
            return Err(rejected(format!("there is a {} already", job.key)).into());
        }
        Ok(job)
    }

    fn check(&self, tenant: &TenantCode, request: &ImportRequest) -> Result<(), InputError> {
        let mut problems = Vec::new();
        let mut problem = |path: &str, code, message: &str| {
            problems.push(Problem { path: path.to_owned(), code, message: message.to_owned() });
        };
        if self.registry.by_resource(&request.resource).is_none() {
            problem("resource", "OUT_OF_RANGE", "must be a resource that there is");
        }
        if matches!(&request.source, ImportSource::Object(key) if !is_of_tenant(key, tenant)) {
            problem(
                "source.s3.key",
                "OUT_OF_RANGE",
                "must be imports/, the tenant's code and the rest of a plain path",
            );
        }
        if request.mapping.to_string().len() > MAPPING_BYTES {
            problem("mapping", "OUT_OF_RANGE", "must be of 100 KiB at most");
        }
        if problems.is_empty() { Ok(()) } else { Err(InputError::Invalid(problems)) }
    }

    pub(super) async fn provide(
        &self,
        job: &ImportJob,
        source: ImportSource,
    ) -> Result<Option<(String, Timestamp)>, ImportError> {
        let key = source_key(&job.key);
        match source {
            ImportSource::Upload => {
                let until = self.environment.now().as_datetime() + TimeDelta::from_std(UPLOAD_TIME).unwrap_or_default();
                Ok(Some((self.objects.upload_url(&key, UPLOAD_TIME).await?, until.into())))
            }
            ImportSource::Rows(rows) => {
                self.objects.put(&key, rows.join("\n").into_bytes()).await?;
                Ok(None)
            }
            ImportSource::Object(from) => {
                if self.objects.copy(&from, &key).await? {
                    Ok(None)
                } else {
                    Err(ImportError::NoSource)
                }
            }
        }
    }

    /// How far an import is. Completes it where nobody has noticed yet that it is done.
    ///
    /// # Errors
    /// [`ImportError::NotFound`], [`ImportError::Store`].
    pub async fn get(&self, key: &ImportKey) -> Result<ImportStatus, ImportError> {
        let job = self.jobs.get(key).await?.ok_or_else(|| ImportError::NotFound(key.clone()))?;
        let job = complete_if_done(self.jobs.as_ref(), self.environment.as_ref(), job).await?;
        let counts = match job.counts {
            Some(counts) => counts,
            None => self.jobs.totals(key).await?.counts,
        };
        Ok(ImportStatus::new(job, counts, self.environment.now()))
    }

    /// Up to `limit` imports of a tenant, newest first, beginning below `before`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(
        &self,
        tenant: &TenantCode,
        before: Option<&ImportId>,
        limit: usize,
    ) -> Result<Vec<ImportJob>, StoreError> {
        self.jobs.list(tenant, before, limit).await
    }

    /// Stops an import; what was imported stays. Stopping it again changes nothing.
    ///
    /// # Errors
    /// [`ImportError::Ended`] if it came to another end before.
    pub async fn cancel(&self, key: &ImportKey) -> Result<ImportJob, ImportError> {
        let cancelled = |job: &ImportJob| {
            (!job.state.is_final()).then(|| ImportJob { state: ImportState::Cancelled, ..job.clone() })
        };
        let job = change(self.jobs.as_ref(), self.environment.as_ref(), key, cancelled).await?;
        match job {
            None => Err(ImportError::NotFound(key.clone())),
            Some(job) if job.state == ImportState::Cancelled => Ok(job),
            Some(job) => Err(ImportError::Ended(job.state)),
        }
    }

    /// Has an import go on that stopped half-way: what has no outcome is sent again.
    ///
    /// # Errors
    /// [`ImportError::Ended`] if it has come to its end, [`ImportError::NoSource`] if it has no file.
    pub async fn resume(&self, key: &ImportKey) -> Result<ImportJob, ImportError> {
        let job = self.jobs.get(key).await?.ok_or_else(|| ImportError::NotFound(key.clone()))?;
        if job.state.is_final() {
            return Err(ImportError::Ended(job.state));
        }
        let source = source_key(key);
        if self.objects.copy(&source, &source).await? { Ok(job) } else { Err(ImportError::NoSource) }
    }

    /// A page of the rows that were not accepted, in the order of the file, beginning behind `after`. It
    /// may be empty and yet not be the last.
    ///
    /// # Errors
    /// [`ImportError::NotFound`], [`ImportError::Store`].
    pub async fn errors(&self, key: &ImportKey, after: Option<(u32, u32)>) -> Result<FailedRows, ImportError> {
        if after.is_none() && self.jobs.get(key).await?.is_none() {
            return Err(ImportError::NotFound(key.clone()));
        }
        let (outcomes, next) = self.jobs.outcomes(key, after).await?;
        let failed = outcomes.into_iter().filter(|rows| !rows.failures.is_empty());
        let errors = failed.map(|rows| {
            let place = (rows.chunk, rows.first);
            RowErrors { place, file: rows.file, columns: rows.columns, rows: rows.failures }
        });
        Ok((errors.collect(), next))
    }
}

impl ImportStatus {
    #[expect(clippy::cast_precision_loss, reason = "shown to people, to a few digits")]
    fn new(job: ImportJob, counts: ImportCounts, now: Timestamp) -> Self {
        let done = counts.total() as f64;
        let until = if job.state.is_final() { job.updated_at } else { now };
        let seconds = |from: Timestamp| (until.as_datetime() - from.as_datetime()).num_milliseconds() as f64 / 1000.0;
        let rows_per_second =
            job.started_at.map(seconds).filter(|seconds| *seconds > 0.0).map(|seconds| done / seconds);
        let progress = match (job.split.whole, job.split.rows) {
            (false, _) => None,
            (true, 0) => Some(1.0),
            (true, rows) => Some(done / rows as f64),
        };
        Self { job, counts, progress, rows_per_second }
    }
}
