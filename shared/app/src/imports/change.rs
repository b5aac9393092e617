//! Changes of a job, each on condition that it is what was seen.

use ledgerline_kernel::ports::{ImportJobs, StoreError};
use ledgerline_kernel::{ImportFailure, ImportJob, ImportKey, ImportState};

use super::unavailable;
use crate::Environment;

/// How often a change is tried, the first time included, when others make one in between.
const ATTEMPTS: u32 = 8;

/// Makes of the job what `next` says, if anything, and answers with what it is then. None if there is no
/// such import.
pub(super) async fn change(
    jobs: &dyn ImportJobs,
    environment: &dyn Environment,
    key: &ImportKey,
    next: impl Fn(&ImportJob) -> Option<ImportJob> + Send + Sync,
) -> Result<Option<ImportJob>, StoreError> {
    for attempt in 1..=ATTEMPTS {
        let Some(job) = jobs.get(key).await? else { return Ok(None) };
        let Some(next) = next(&job) else { return Ok(Some(job)) };
        let next = ImportJob { revision: job.revision + 1, updated_at: environment.now(), ..next };
        if jobs.replace(&next).await? {
            tracing::info!(import.id = %key.id, state = ?next.state, "an import has changed");
            return Ok(Some(next));
        }
        environment.back_off(attempt).await;
    }
    Err(unavailable(format!("others kept changing {key}")))
}

/// Completes an import if every row has an outcome and the read models show it, or fails it then if its file could not
/// be read to the end; answers with what it is. Whoever may be the last to have done something calls this.
pub(super) async fn complete_if_done(
    jobs: &dyn ImportJobs,
    environment: &dyn Environment,
    job: ImportJob,
) -> Result<ImportJob, StoreError> {
    if job.state != ImportState::Running {
        return Ok(job);
    }
    let totals = jobs.totals(&job.key).await?;
    if totals.counts.total() < job.split.rows || totals.unshown > 0 {
        return Ok(job);
    }
    let ended = |job: &ImportJob| {
        let state = if job.failure.is_some() { ImportState::Failed } else { ImportState::Completed };
        let running = job.state == ImportState::Running;
        running.then(|| ImportJob { state, counts: Some(totals.counts), ..job.clone() })
    };
    Ok(change(jobs, environment, &job.key, ended).await?.unwrap_or(job))
}

/// Of a file that another one was uploaded over, or that is gone.
pub(super) fn source_changed() -> ImportFailure {
    ImportFailure {
        code: "SOURCE_CHANGED".to_owned(),
        message: "The file was replaced or removed before all of its rows were imported. Those that were stay as they \
                  are."
            .to_owned(),
    }
}
