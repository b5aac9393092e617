use ledgerline_kernel::ports::{LedgerScan, StoreError};

use crate::{ProjectionReport, Projector};

/// What came of projecting everything again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reprojected {
    /// Version items read from the ledger.
    pub scanned: usize,
    /// Items that no read model could take, by id and version, with the reason.
    pub bad: Vec<String>,
    /// Rows written and left alone.
    pub report: ProjectionReport,
}

/// Projects the whole ledger again. Harmless beside live writes: older versions never overwrite
/// newer ones. `progress` is called after each page with the items read so far.
///
/// # Errors
/// [`StoreError`] of the store that failed; starting again repeats nothing wrongly.
pub async fn reproject(
    ledger: &dyn LedgerScan,
    projector: &Projector,
    mut progress: impl FnMut(usize) + Send,
) -> Result<Reprojected, StoreError> {
    let mut done = Reprojected::default();
    let mut from = None;
    loop {
        let (items, next) = ledger.scan(from).await?;
        done.scanned += items.len();
        let mut good = Vec::with_capacity(items.len());
        for item in items {
            match projector.check(&item) {
                Ok(()) => good.push(item),
                Err(bad) => done.bad.push(format!("{}@{}: {bad}", item.key, item.version)),
            }
        }
        let applied = projector.apply(&good).await?;
        done.report.written += applied.written;
        done.report.unchanged += applied.unchanged;
        done.report.forks.extend(applied.forks);
        progress(done.scanned);
        match next {
            Some(next) => from = Some(next),
            None => return Ok(done),
        }
    }
}
