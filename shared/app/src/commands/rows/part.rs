//! The rows that go into one transaction.

use std::collections::{BTreeMap, BTreeSet};

use ledgerline_import_file::{ChunkRow, MappedRow, RowContent, Shape};
use ledgerline_kernel::input::Problem;
use ledgerline_kernel::{
    Action, Claim, ClaimChange, Commit, EntityKey, FailedRow, ImportCounts, ImportedRows, MAX_OPERATIONS, VersionItem,
    VersionedKey,
};

use super::targets::{code_of, named};
use super::{Fault, RowsRequest, Target};
use crate::commands::parts::Part;
use crate::commands::unit::{Draft, Unit};
use crate::commands::{CommandError, CommandRequest, Commands, IfMatch};

/// How many bytes of failed rows an outcome holds: an item takes 400 KB, and a row may be as large as a
/// message. Their messages are short.
const FAILED_BYTES: usize = 240 * 1024;

/// What a row leads to.
pub(super) struct Decided {
    commit: Commit,
    creates: bool,
}

/// Rows from the first on, decided.
#[derive(Default)]
pub(super) struct RowsPart {
    taken: usize,
    commit: Commit,
    counts: ImportCounts,
    failures: Vec<FailedRow>,
    failed_bytes: usize,
    /// The entities that are written, and by which row.
    keys: BTreeMap<EntityKey, usize>,
    /// The values that change hands.
    values: BTreeSet<Claim>,
}

impl RowsPart {
    /// Whether a row may have to see what an earlier one leads to.
    pub(super) fn concerns(
        &self,
        request: &RowsRequest<'_>,
        read: &Result<MappedRow, Vec<Problem>>,
        target: &Target<'_>,
    ) -> bool {
        let Ok(read) = read else { return false };
        let is_written = |key: EntityKey| self.keys.contains_key(&key);
        matches!(target, Target::There(item) if self.keys.contains_key(&item.key))
            || named(request, read).is_some_and(is_written)
            || code_of(request, read).is_some_and(|claim| self.values.contains(&claim))
    }

    /// Takes in the next row, if it fits.
    pub(super) fn take(&mut self, index: usize, row: &ChunkRow, decided: Result<Decided, Fault>) -> bool {
        match decided {
            Err(fault) => self.fail(fault.at(row.row, &row.content)),
            Ok(decided) if self.commit.operations() + decided.commit.operations() >= MAX_OPERATIONS => {
                let too_many =
                    CommandError::TooManyWrites { operations: decided.commit.operations() + 1, limit: MAX_OPERATIONS };
                self.taken == 0 && self.fail(Fault::of(&too_many).at(row.row, &row.content))
            }
            Ok(decided) => self.add(index, decided),
        }
    }

    fn fail(&mut self, failed: FailedRow) -> bool {
        let bytes = failed.content.bytes();
        if self.taken > 0 && self.failed_bytes + bytes > FAILED_BYTES {
            return false;
        }
        self.failed_bytes += bytes;
        self.counts.failed += 1;
        self.failures.push(failed);
        self.taken += 1;
        true
    }

    /// What a row leads to may concern more than it named: another unique value than its code.
    fn add(&mut self, index: usize, Decided { commit, creates }: Decided) -> bool {
        let is_written = commit.versions.iter().any(|item| self.keys.contains_key(&item.key));
        if is_written || commit.claims.iter().any(|change| self.values.contains(change.claim())) {
            return false;
        }
        let counter = match (commit.versions.is_empty(), creates) {
            (true, _) => &mut self.counts.unchanged,
            (false, true) => &mut self.counts.created,
            (false, false) => &mut self.counts.updated,
        };
        *counter += 1;
        self.keys.extend(commit.versions.iter().map(|item| (item.key.clone(), index)));
        self.values.extend(commit.claims.iter().map(|change| change.claim().clone()));
        self.commit.versions.extend(commit.versions);
        self.commit.claims.extend(commit.claims);
        self.commit.expiries.extend(commit.expiries);
        self.taken += 1;
        true
    }

    /// The values that change hands.
    pub(super) fn claims(&self) -> impl Iterator<Item = &ClaimChange> {
        self.commit.claims.iter()
    }

    /// Which row writes this entity.
    pub(super) fn row_of(&self, key: &EntityKey) -> Option<usize> {
        self.keys.get(key).copied()
    }

    /// How many rows it has, and what is to be written: their effects, and the outcome that accounts for
    /// them.
    pub(super) fn commit(self, request: &RowsRequest<'_>, unit: &Unit<'_>) -> (usize, Commit) {
        let written = |item: &VersionItem| VersionedKey { sk: item.key.sk.clone(), version: item.version };
        let written: Vec<_> = self.commit.versions.iter().map(written).collect();
        let template = request.outcome.clone();
        let outcome = ImportedRows {
            rows: u32::try_from(self.taken).unwrap_or(u32::MAX),
            counts: self.counts,
            file: template.file.filter(|_| !self.failures.is_empty()),
            columns: if self.failures.is_empty() { Vec::new() } else { template.columns },
            failures: self.failures,
            shown: written.is_empty(),
            written,
            command_id: unit.command_id.clone(),
            at: unit.now,
            ..template
        };
        (self.taken, Commit { imported: Some(outcome), ..self.commit })
    }
}

impl Commands {
    /// What a row leads to, by itself.
    pub(super) fn decide_row(
        &self,
        request: &RowsRequest<'_>,
        unit: &Unit<'_>,
        (row, read): (&ChunkRow, &MappedRow),
        target: Target<'_>,
    ) -> Result<Decided, Fault> {
        let newest = match target {
            Target::New => None,
            Target::There(item) => Some(item),
            Target::Fails(error) => return Err(Fault::of(&error)),
        };
        let patch = newest.map(|_| patch_of(request, &row.content)).transpose()?;
        let command = CommandRequest {
            domain: request.domain,
            action: if newest.is_some() { Action::Update } else { Action::Create },
            sk: newest.map(|item| item.key.sk.clone()),
            if_match: newest.map(|_| IfMatch::Any),
            idempotency_key: None,
            body: patch.as_ref().map_or(&read.body, |patch| &patch.body),
            caller: request.caller.clone(),
            origin: request.origin.clone(),
        };
        let decide = || {
            let part = Part::take_in(&command, self.environment.as_ref())?;
            if let (Some((expected, given_in)), Some(item)) = (part.expected, newest)
                && expected != item.version
            {
                return Err(CommandError::VersionConflict { expected, current: item.version, given_in });
            }
            if part.keys.len() > 1 {
                let detail = "concerns other entities as well, which an import does not".to_owned();
                return Err(CommandError::Refused { code: "SEVERAL_ENTITIES", detail });
            }
            let mut draft = Draft::default();
            draft.decide(unit, &part, vec![newest.cloned()])?;
            if !draft.commit.versions.is_empty() && newest.is_some_and(|item| is_of_another_chunk(request, item)) {
                return Err(CommandError::Refused { code: "REPEATED_IN_FILE", detail: REPEATED.to_owned() });
            }
            Ok(draft.commit)
        };
        let commit = decide().map_err(|error: CommandError| Fault::of(&error))?;
        Ok(Decided { commit, creates: newest.is_none() })
    }
}

/// What a row is told that would.
const REPEATED: &str = "changes what another row of the same file has written, and rows that lie far apart are not taken \
                        in their order: import this one by itself";

/// Whether another chunk of the same import wrote this version. Chunks are worked on at once, so which of two rows
/// comes last would be left to chance.
fn is_of_another_chunk(request: &RowsRequest<'_>, item: &VersionItem) -> bool {
    let ours = request.origin.request_id.rsplit_once('.');
    ours.zip(item.request_id.rsplit_once('.')).is_some_and(|(ours, theirs)| ours.0 == theirs.0 && ours.1 != theirs.1)
}

fn patch_of(request: &RowsRequest<'_>, content: &RowContent) -> Result<MappedRow, Fault> {
    request.mapper.map(content, Shape::Patch).map_err(|problems| Fault::of_row(content, &problems))
}
