//! Rows of an import: as many of them from the first on as one transaction holds, written with the
//! outcome that accounts for them.
//!
//! A row that cannot be accepted costs only itself: it is noted as failed, and the others are decided
//! without it. Decided as if each row came after the one before it: where a row may have to see what an
//! earlier one leads to, the part ends before it.

mod fault;
mod part;
mod targets;

use std::collections::BTreeMap;

use ledgerline_import_file::{ChunkRow, RowMapper, Shape};
use ledgerline_kernel::ports::{CommitError, LedgerLookup, StoreError};
use ledgerline_kernel::{ClaimChange, Commit, DynDomain, ImportMode, ImportedRows, VersionItem};

use super::unit::Unit;
use super::{Caller, CommandError, Commands, RequestOrigin};
use fault::Fault;
use part::RowsPart;
use targets::Target;

/// How often rows are decided, the first time included, when others write in between.
const ATTEMPTS: u32 = 6;

/// Rows of a chunk that are to be written next.
pub(crate) struct RowsRequest<'a> {
    pub(crate) domain: &'a dyn DynDomain,
    pub(crate) mode: ImportMode,
    pub(crate) mapper: &'a RowMapper,
    /// At least one.
    pub(crate) rows: &'a [ChunkRow],
    pub(crate) caller: &'a Caller,
    pub(crate) origin: &'a RequestOrigin,
    /// The outcome to be, but for what becomes of the rows.
    pub(crate) outcome: ImportedRows,
}

/// What became of rows.
pub(crate) enum RowsDone {
    /// They, or the first of them, have this outcome now, and led to these versions.
    Ours { outcome: Box<ImportedRows>, items: Vec<VersionItem> },
    /// Somebody else has dealt with them.
    Theirs,
}

/// Whether what stands in the way of rows is looked for before they are written. A create needs no look
/// as long as nothing does.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    Blind,
    Ahead,
}

impl Commands {
    /// Writes as many of the rows as fit, with their outcome, all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError`] if no outcome could be written; also where others kept writing the same entities.
    pub(crate) async fn execute_rows(
        &self,
        lookup: &dyn LedgerLookup,
        request: &RowsRequest<'_>,
    ) -> Result<RowsDone, StoreError> {
        let unit = Unit::of_nothing(self.environment.as_ref());
        let (mut look, mut lost, mut most) = (Look::Blind, 0, request.rows.len());
        let mut refused = BTreeMap::new();
        loop {
            let part = self.decide_rows(lookup, request, &unit, (most, look), &refused).await?;
            let (taken, commit) = part.commit(request, &unit);
            let error = match self.ledger.commit(&commit, unit.now).await {
                Ok(()) => return Ok(done(commit)),
                Err(CommitError::Imported(_)) => return Ok(RowsDone::Theirs),
                Err(CommitError::Store(error @ StoreError::Unavailable { .. })) => return Err(error),
                Err(CommitError::Occupied(_) | CommitError::Claimed { .. }) if look == Look::Blind => {
                    look = Look::Ahead;
                    continue;
                }
                Err(CommitError::Occupied(_) | CommitError::Claimed { .. } | CommitError::Contended) => {
                    lost += 1;
                    if lost >= ATTEMPTS {
                        let reason = "others kept writing what the rows are about".to_owned();
                        return Err(StoreError::Unavailable { store: "the ledger", reason });
                    }
                    self.environment.back_off(lost).await;
                    continue;
                }
                Err(error) => error,
            };
            // Too large, or refused: half of the rows may do, and one that does not fails.
            match taken {
                2.. => most = taken / 2,
                _ if refused.is_empty() => drop(refused.insert(0, Fault::of(&refusal(error)))),
                _ => return Err(store_error(error)),
            }
        }
    }

    async fn decide_rows(
        &self,
        lookup: &dyn LedgerLookup,
        request: &RowsRequest<'_>,
        unit: &Unit<'_>,
        (most, look): (usize, Look),
        refused: &BTreeMap<usize, Fault>,
    ) -> Result<RowsPart, StoreError> {
        let rows = request.rows.get(..most).unwrap_or(request.rows);
        let read: Vec<_> = rows.iter().map(|row| request.mapper.map(&row.content, Shape::Create)).collect();
        let found = self.targets(lookup, request, &read, look).await?;
        let mut refused = refused.clone();
        loop {
            let mut part = RowsPart::default();
            for (index, (row, read)) in rows.iter().zip(&read).enumerate() {
                let decided = match (refused.get(&index), read) {
                    (Some(fault), _) => Err(fault.clone()),
                    (None, Err(problems)) => Err(Fault::of_row(&row.content, problems)),
                    (None, Ok(_)) if part.concerns(request, read, &found.of(index)) => break,
                    (None, Ok(read)) => self.decide_row(request, unit, (row, read), found.of(index)),
                };
                if !part.take(index, row, decided) {
                    break;
                }
            }
            let strangers = match look {
                Look::Blind => BTreeMap::new(),
                Look::Ahead => values_of_others(lookup, &part).await?,
            };
            if strangers.is_empty() {
                return Ok(part);
            }
            refused.extend(strangers);
        }
    }
}

/// The rows of a part whose values others have.
async fn values_of_others(lookup: &dyn LedgerLookup, part: &RowsPart) -> Result<BTreeMap<usize, Fault>, StoreError> {
    let takes: Vec<_> = part.claims().filter(|change| matches!(change, ClaimChange::Take(..))).collect();
    if takes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let claims: Vec<_> = takes.iter().map(|change| change.claim().clone()).collect();
    let holders = lookup.holders(&claims).await?;
    let stranger = |change: &&ClaimChange| {
        let holder = holders.get(change.claim()).filter(|holder| *holder != change.holder())?;
        let taken = CommandError::Taken { field: change.claim().field.clone(), holder: holder.clone() };
        Some((part.row_of(change.holder())?, Fault::of(&taken)))
    };
    Ok(takes.iter().filter_map(stranger).collect())
}

fn done(commit: Commit) -> RowsDone {
    match commit.imported {
        Some(outcome) => RowsDone::Ours { outcome: Box::new(outcome), items: commit.versions },
        // There always is one.
        None => RowsDone::Theirs,
    }
}

/// What a row is told that the ledger does not take.
fn refusal(error: CommitError) -> CommandError {
    match error {
        CommitError::TooLarge { bytes, limit } => CommandError::TooLarge { bytes, limit },
        CommitError::TooMany { operations, limit } => CommandError::TooManyWrites { operations, limit },
        error => CommandError::Store(store_error(error)),
    }
}

fn store_error(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        error => StoreError::Rejected { store: "the ledger", reason: error.to_string() },
    }
}
