//! A domain's read models made anew from the ledger, beside those in use, and put in their place.
//!
//! 1. The ledger is read in several segments at once, and projected into tables under construction. Those
//!    get whatever is written to the live ones meanwhile, too: see [`ViewRebuild`].
//! 2. What differs from the live tables is looked up in the ledger, one entity at a time, until each
//!    difference is one in which the new tables are right.
//! 3. If there is no other difference at that moment, the new tables take the place of the live ones, in
//!    one transaction. Else 2. again.

mod settle;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use futures::{StreamExt as _, TryStreamExt as _};
use ledgerline_kernel::ports::{
    LedgerRead, LedgerSegments, RebuildError, Segment, SegmentPage, SegmentProgress, StoreError, ViewRebuild,
};
use ledgerline_kernel::{DynDomain, Version};

use crate::{Projector, Registry};

/// How often the switch is tried before it is given up. Each attempt but the last is followed by
/// another look at what differs.
const SWITCHES: usize = 20;

/// The most that a report names of what could not be taken.
const NAMED: usize = 100;

/// The ledger as a rebuild uses it: it writes nothing.
pub trait RebuildLedger: LedgerSegments + LedgerRead {}
impl<T: LedgerSegments + LedgerRead> RebuildLedger for T {}

/// What to rebuild, and how hard to work on it.
#[derive(Debug, Clone)]
pub struct RebuildOptions {
    /// Rows of the ledger read at a time, and so the most that one transaction writes.
    pub page_rows: u32,
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self { page_rows: 1000 }
    }
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildStep {
    /// It is reading the ledger.
    Filling {
        /// The rows looked at, in earlier attempts too.
        examined: u64,
        /// About how many there are.
        of: Option<u64>,
        /// The versions taken in.
        versions: u64,
    },
    /// It is comparing the new tables with the live ones, and looking up in the ledger what differs.
    Comparing {
        /// So many entities so far.
        looked_up: u64,
    },
}

/// What a rebuild did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// The versions taken in, in earlier attempts too.
    pub versions: u64,
    /// The entities in the tables that are in use now.
    pub entities: u64,
    /// How many of them differ from what the tables before had, or were not in those.
    pub corrected: u64,
    /// What could not be taken in, and why; no more than some.
    pub refused: Vec<String>,
}

/// Why a rebuild did not get to its end. The live tables are as they were.
#[derive(Debug, thiserror::Error)]
pub enum RebuildStopped {
    /// A store failed, or the rebuild is not ours (any more). Started again, it goes on.
    #[error(transparent)]
    Store(#[from] RebuildError),
    /// The new tables hold what the ledger does not: somebody has written to them.
    #[error("the new tables do not say what the ledger says, so they were not put in place: {}", .0.join("; "))]
    Wrong(Vec<String>),
    /// Entities of the ledger are missing in the new tables.
    #[error("the new tables have {rows} entities, {expected} are in the ledger; they were not put in place")]
    Incomplete {
        /// In the new tables.
        rows: u64,
        /// In the ledger.
        expected: u64,
    },
    /// Each time, something differed.
    #[error("the new tables and those in use never came to agree; they were not put in place")]
    Unsettled,
}

impl From<StoreError> for RebuildStopped {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

/// Rebuilds a domain's read models, or goes on with it. `views` are the tables under construction.
/// Dropped at any point, it has done no harm and goes on from there the next time.
///
/// # Errors
/// [`RebuildStopped`].
pub async fn rebuild<L: RebuildLedger + 'static>(
    ledger: &Arc<L>,
    registry: &Registry,
    domain: &dyn DynDomain,
    views: &dyn ViewRebuild,
    options: &RebuildOptions,
    progress: &(dyn Fn(RebuildStep) + Send + Sync),
) -> Result<Rebuilt, RebuildStopped> {
    let mut projector = Projector::new(registry.clone(), vec![views.states()]);
    if !domain.deltas().is_empty() {
        projector = projector.with_deltas(Arc::<L>::clone(ledger), views.deltas());
    }
    let work = Work {
        ledger: ledger.as_ref(),
        domain,
        views,
        options,
        progress,
        projector,
        of: ledger.row_estimate().await,
        filled: Mutex::new(views.segments().to_vec()),
        refused: Mutex::default(),
    };
    work.fill().await?;
    let mut rebuilt = work.put_in_place().await?;
    rebuilt.versions = work.sum(|segment| segment.versions);
    rebuilt.refused = work.refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(rebuilt)
}

struct Work<'a> {
    ledger: &'a dyn RebuildLedger,
    domain: &'a dyn DynDomain,
    views: &'a dyn ViewRebuild,
    options: &'a RebuildOptions,
    progress: &'a (dyn Fn(RebuildStep) + Send + Sync),
    /// Into the tables under construction.
    projector: Projector,
    /// About how many rows the ledger has.
    of: Option<u64>,
    filled: Mutex<Vec<SegmentProgress>>,
    refused: Mutex<Vec<String>>,
}

impl Work<'_> {
    async fn fill(&self) -> Result<(), RebuildStopped> {
        let segments = self.views.segments();
        let of = u32::try_from(segments.len()).unwrap_or(u32::MAX);
        let open = segments.iter().zip(0..).filter(|(progress, _)| !progress.is_done);
        let work = open.map(|(progress, number)| self.fill_segment(Segment { number, of }, progress.clone()));
        let work: Vec<_> = work.collect();
        let at_once = work.len().max(1);
        futures::stream::iter(work).map(Ok).try_for_each_concurrent(at_once, |segment| segment).await?;
        self.views.filled().await?;
        let (rows, expected) = (self.views.rows().await?, self.sum(|segment| segment.entities));
        if rows < expected {
            return Err(RebuildStopped::Incomplete { rows, expected });
        }
        Ok(())
    }

    /// Takes a page in while the next one is on its way.
    async fn fill_segment(&self, segment: Segment, mut progress: SegmentProgress) -> Result<(), RebuildStopped> {
        let mut page = self.page(segment, progress.cursor.clone()).await?;
        loop {
            let next = async {
                match &page.next {
                    Some(cursor) => self.page(segment, Some(cursor.clone())).await.map(Some),
                    None => Ok(None),
                }
            };
            let (next, ()) = futures::try_join!(next, self.take_in(segment, &page, &mut progress))?;
            match next {
                Some(next) => page = next,
                None => return Ok(()),
            }
        }
    }

    async fn page(&self, segment: Segment, from: Option<String>) -> Result<SegmentPage, RebuildStopped> {
        Ok(self.ledger.segment(self.domain.entity_type(), segment, from, self.options.page_rows).await?)
    }

    /// Projects a page, and notes that it is done: in this order, as a page may be taken in again but
    /// not left out.
    async fn take_in(
        &self,
        segment: Segment,
        page: &SegmentPage,
        progress: &mut SegmentProgress,
    ) -> Result<(), RebuildStopped> {
        let mut refused: Vec<String> = page.unreadable.clone();
        let mut good = Vec::with_capacity(page.items.len());
        for item in &page.items {
            match self.projector.check(item) {
                Ok(()) => good.push(item.clone()),
                Err(bad) => refused.push(format!("{}@{}: {bad}", item.key, item.version)),
            }
        }
        let mut entities = good.iter().filter(|item| item.version == Version::FIRST).count();
        for read_model in self.projector.project(&good, &|| true).await.read_models {
            if let Some(error) = read_model.unavailable {
                return Err(error.into());
            }
            for entity in read_model.refused {
                entities -= usize::from(entity.version == Version::FIRST && entities > 0);
                refused.push(format!(
                    "{}@{}, by {}: {}",
                    entity.key, entity.version, read_model.read_model, entity.reason
                ));
            }
        }
        progress.cursor.clone_from(&page.next);
        progress.is_done = page.next.is_none();
        progress.examined += page.examined;
        progress.versions += u64::try_from(good.len()).unwrap_or(u64::MAX);
        progress.entities += u64::try_from(entities).unwrap_or(u64::MAX);
        self.views.note(segment.number, progress).await?;
        self.tell(segment, progress, refused);
        Ok(())
    }

    fn tell(&self, segment: Segment, progress: &SegmentProgress, refused: Vec<String>) {
        for reason in &refused {
            tracing::error!("a rebuild cannot take in {reason}");
        }
        self.refuse(refused);
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = usize::try_from(segment.number).ok().and_then(|number| filled.get_mut(number)) {
            known.clone_from(progress);
        }
        drop(filled);
        let (examined, versions) = (self.sum(|segment| segment.examined), self.sum(|segment| segment.versions));
        (self.progress)(RebuildStep::Filling { examined, of: self.of, versions });
    }

    fn refuse(&self, reasons: Vec<String>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let room = NAMED.saturating_sub(refused.len());
        refused.extend(reasons.into_iter().take(room));
    }

    fn sum(&self, of: impl Fn(&SegmentProgress) -> u64) -> u64 {
        self.filled.lock().unwrap_or_else(PoisonError::into_inner).iter().map(of).sum()
    }

    async fn put_in_place(&self) -> Result<Rebuilt, RebuildStopped> {
        let mut looked_up = 0;
        for _ in 0..SWITCHES {
            self.settle(&mut looked_up).await?;
            if let Some(switched) = self.views.switch().await? {
                return Ok(Rebuilt { entities: switched.rows, corrected: switched.corrected, ..Rebuilt::default() });
            }
        }
        Err(RebuildStopped::Unsettled)
    }
}

#[cfg(test)]
#[path = "rebuild/tests.rs"]
mod tests;
