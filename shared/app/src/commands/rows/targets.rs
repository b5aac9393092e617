//! Which entity a row is about.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use futures::future::try_join;
use ledgerline_import_file::MappedRow;
use ledgerline_kernel::input::Problem;
use ledgerline_kernel::ports::{LedgerLookup, StoreError};
use ledgerline_kernel::{Claim, EntityKey, ImportMode, VersionItem};

use super::{Look, RowsRequest};
use crate::CommandError;
use crate::commands::{Commands, IN_FLIGHT};

/// What a row's command meets.
pub(super) enum Target<'a> {
    /// No entity, as far as is known.
    New,
    There(&'a VersionItem),
    /// An entity that there must not be, or that cannot be read.
    Fails(CommandError),
}

/// What the rows of a part are about.
#[derive(Default)]
pub(super) struct Targets {
    /// The entity of each row that has one already, by the row's index.
    keys: BTreeMap<usize, EntityKey>,
    /// Whether they are in nobody's way.
    creates_only: bool,
    loaded: BTreeMap<EntityKey, Result<Option<VersionItem>, StoreError>>,
}

impl Targets {
    pub(super) fn of(&self, index: usize) -> Target<'_> {
        let Some(key) = self.keys.get(&index) else { return Target::New };
        if self.creates_only {
            return Target::Fails(CommandError::AlreadyExists(key.clone()));
        }
        match self.loaded.get(key) {
            Some(Ok(Some(item))) => Target::There(item),
            Some(Err(error)) => Target::Fails(error.clone().into()),
            // A value whose holder is not there: nothing but a create can put that right.
            Some(Ok(None)) | None => Target::New,
        }
    }
}

/// The key that a row names, if it can be one.
pub(super) fn named(request: &RowsRequest<'_>, read: &MappedRow) -> Option<EntityKey> {
    let sk = read.sk.as_ref()?.parse().ok()?;
    Some(EntityKey::new(request.domain.entity_type().clone(), request.caller.tenant.clone(), sk))
}

/// The unique value by which a row's entity is found.
pub(super) fn code_of(request: &RowsRequest<'_>, read: &MappedRow) -> Option<Claim> {
    Some(Claim {
        tenant: request.caller.tenant.clone(),
        entity_type: request.domain.entity_type().clone(),
        field: "code".to_owned(),
        value: read.code.clone()?,
    })
}

impl Commands {
    /// Finds the entities of rows: by their `sk` and, unless they are to be new anyway, by their codes.
    pub(super) async fn targets(
        &self,
        lookup: &dyn LedgerLookup,
        request: &RowsRequest<'_>,
        read: &[Result<MappedRow, Vec<Problem>>],
        look: Look,
    ) -> Result<Targets, StoreError> {
        let creates_only = request.mode == ImportMode::Create;
        if creates_only && look == Look::Blind {
            return Ok(Targets::default());
        }
        let (mut by_sk, mut by_code) = (BTreeMap::new(), BTreeMap::new());
        for (index, read) in read.iter().enumerate() {
            let Ok(read) = read else { continue };
            if read.sk.is_some() {
                by_sk.extend(named(request, read).map(|key| (index, key)));
            } else if !creates_only {
                by_code.extend(code_of(request, read).map(|claim| (index, claim)));
            }
        }
        let sks: Vec<_> = by_sk.values().cloned().collect();
        let codes: Vec<_> = by_code.values().cloned().collect();
        let existing = async { if sks.is_empty() { Ok(BTreeSet::new()) } else { lookup.existing(&sks).await } };
        let holders = async { if codes.is_empty() { Ok(BTreeMap::new()) } else { lookup.holders(&codes).await } };
        let (existing, holders) = try_join(existing, holders).await?;
        let held = by_code.into_iter().filter_map(|(index, claim)| Some((index, holders.get(&claim)?.clone())));
        let keys: BTreeMap<_, _> = by_sk.into_iter().filter(|(_, key)| existing.contains(key)).chain(held).collect();
        let loaded = if creates_only { BTreeMap::new() } else { self.newest_of(keys.values()).await? };
        Ok(Targets { keys, creates_only, loaded })
    }

    /// The newest versions of entities, each by itself: one that cannot be read is no other's trouble.
    async fn newest_of(
        &self,
        keys: impl Iterator<Item = &EntityKey>,
    ) -> Result<BTreeMap<EntityKey, Result<Option<VersionItem>, StoreError>>, StoreError> {
        let keys: BTreeSet<_> = keys.cloned().collect();
        // Collected first: a stream over the closure itself would make a future that is not `Send`.
        let loads: Vec<_> = keys
            .into_iter()
            .map(|key| async {
                match self.ledger.newest(&key).await {
                    Err(error @ StoreError::Unavailable { .. }) => Err(error),
                    found => Ok((key, found)),
                }
            })
            .collect();
        let loaded: Vec<_> = futures::stream::iter(loads).buffered(IN_FLIGHT).collect().await;
        loaded.into_iter().collect()
    }
}
