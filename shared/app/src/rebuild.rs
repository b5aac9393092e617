use ledgerline_kernel::ports::{LedgerScan, StoreError};

use crate::{ProjectionReport, Projector};

/// What a rebuild did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
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
pub async fn rebuild(
    ledger: &dyn LedgerScan,
    projector: &Projector,
    mut progress: impl FnMut(usize) + Send,
) -> Result<Rebuilt, StoreError> {
    let mut rebuilt = Rebuilt::default();
    let mut from = None;
    loop {
        let (items, next) = ledger.scan(from).await?;
        rebuilt.scanned += items.len();
        let mut good = Vec::with_capacity(items.len());
        for item in items {
            match projector.check(&item) {
                Ok(()) => good.push(item),
                Err(bad) => rebuilt.bad.push(format!("{}@{}: {bad}", item.key, item.version)),
            }
        }
        let applied = projector.apply(&good).await?;
        rebuilt.report.written += applied.written;
        rebuilt.report.unchanged += applied.unchanged;
        rebuilt.report.forks.extend(applied.forks);
        progress(rebuilt.scanned);
        match next {
            Some(next) => from = Some(next),
            None => return Ok(rebuilt),
        }
    }
}
