//! One entity: its versions from the newest down, each checked by itself and against the one before.

use std::collections::BTreeSet;

use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{Corrupt, DynDomain, EntityKey, Hash, Version, VersionItem};

use super::report::{Defect, DefectKind};
use super::{UniqueValues, VerifiableLedger};

/// Versions read at once: an entity takes so many in memory, of up to 400 KB each. Of a domain with
/// large states, one at a time.
const PAGE: usize = 25;

/// What is known of an entity after its versions have been read.
pub(super) struct Checked {
    pub(super) versions: usize,
    /// By version.
    pub(super) defects: Vec<Defect>,
    /// The unique values it has now; none if that cannot be told.
    pub(super) unique: UniqueValues,
}

/// Reads and checks all versions of an entity. `newest` is one that was seen, for when the history
/// cannot be read as a whole.
pub(super) async fn check(
    ledger: &dyn VerifiableLedger,
    domain: Option<&dyn DynDomain>,
    key: &EntityKey,
    newest: Version,
) -> Result<Checked, StoreError> {
    let limit = if domain.is_some_and(DynDomain::has_large_states) { 1 } else { PAGE };
    let mut chain = Chain { domain, key, ..Chain::empty(key) };
    let mut before = None;
    loop {
        let page = match ledger.history(key, before, limit).await {
            Err(StoreError::Rejected { .. }) => None,
            page => Some(page?),
        };
        before = match page {
            Some(page) if page.is_empty() => break,
            Some(page) => {
                page.into_iter().for_each(|item| chain.step(item));
                chain.newer.as_ref().map(|oldest| oldest.version)
            }
            // One of them is unreadable; the others may not be.
            None => {
                let top = before.map_or(newest.number(), |before| before.number() - 1);
                let bottom = top.saturating_sub(limit as u64) + 1;
                for version in (bottom..=top).rev().filter_map(|number| Version::new(number).ok()) {
                    match ledger.at(key, version).await {
                        Ok(item) => item.into_iter().for_each(|item| chain.step(item)),
                        Err(StoreError::Rejected { reason, .. }) => chain.unreadable(version, reason),
                        Err(error) => return Err(error),
                    }
                }
                Version::new(bottom).ok()
            }
        };
        if before.is_none_or(|before| before == Version::FIRST) {
            break;
        }
    }
    Ok(chain.end())
}

struct Chain<'a> {
    domain: Option<&'a dyn DynDomain>,
    key: &'a EntityKey,
    /// The version above the next one, once there is one.
    newer: Option<VersionItem>,
    unreadable: BTreeSet<Version>,
    unique: UniqueValues,
    versions: usize,
    defects: Vec<Defect>,
}

impl<'a> Chain<'a> {
    fn empty(key: &'a EntityKey) -> Self {
        let (newer, unreadable, unique) = (None, BTreeSet::new(), None);
        Self { domain: None, key, newer, unreadable, unique, versions: 0, defects: Vec::new() }
    }

    /// Takes in the next older version.
    fn step(&mut self, item: VersionItem) {
        self.versions += 1;
        let newest = self.newer.is_none() && self.unreadable.is_empty();
        self.check_alone(&item, newest);
        if newest {
            self.unique = self.domain.and_then(|domain| domain.unique(&item).ok());
        }
        if let Some(newer) = self.newer.take() {
            self.check_link(&item, &newer);
        }
        self.newer = Some(item);
    }

    fn unreadable(&mut self, version: Version, reason: String) {
        self.versions += 1;
        self.unreadable.insert(version);
        self.found(version, DefectKind::Unreadable, reason);
    }

    /// The oldest version has been taken in.
    fn end(mut self) -> Checked {
        if let Some(first) = self.newer.take() {
            if first.version == Version::FIRST {
                self.check_prev_hash(&Hash::genesis(), &first);
                if first.created != first.updated {
                    let detail = "the first version was not made when the entity was".to_owned();
                    self.found(first.version, DefectKind::CreatedChanged, detail);
                }
                self.replay(None, &first);
            } else {
                // The first version is never removed, so no retention explains this.
                self.check_gap(0, &first, false);
            }
        }
        if self.domain.is_none() {
            let detail = format!("no domain has the type {}", self.key.partition.entity_type);
            self.defects.push(Defect::of(self.key, None, DefectKind::UnknownType, detail));
        }
        self.defects.sort_by_key(|defect| (defect.version, defect.kind));
        Checked { versions: self.versions, defects: self.defects, unique: self.unique }
    }

    fn check_alone(&mut self, item: &VersionItem, newest: bool) {
        match item.computed_hash() {
            Ok(hash) if hash == item.hash => {}
            Ok(hash) => {
                let detail = format!("the content hashes to {hash}, the row says {}", item.hash);
                self.found(item.version, DefectKind::HashDiffers, detail);
            }
            Err(error) => self.found(item.version, DefectKind::HashDiffers, error.to_string()),
        }
        if let Some(Err(Corrupt { reason, .. })) = self.domain.map(|domain| domain.check_events(item)) {
            self.found(item.version, DefectKind::UnknownEvent, reason);
        }
        let stays = match (newest, item.version == Version::FIRST) {
            (true, _) => Some("the newest version"),
            (_, true) => Some("the first version"),
            _ => None,
        };
        if let (Some(which), Some(ttl)) = (stays, item.ttl) {
            self.found(item.version, DefectKind::WillExpire, format!("{which} has the ttl {ttl}"));
        }
    }

    fn check_link(&mut self, older: &VersionItem, newer: &VersionItem) {
        if older.version.number() + 1 == newer.version.number() {
            self.check_prev_hash(&older.hash, newer);
            self.replay(Some(older), newer);
        } else {
            self.check_gap(
                older.version.number(),
                newer,
                self.domain.is_some_and(|domain| domain.retention_days().is_some()),
            );
        }
        if older.created != newer.created {
            let detail = format!("created {}, the version before {}", stamp(newer), stamp(older));
            self.found(newer.version, DefectKind::CreatedChanged, detail);
        }
    }

    fn check_prev_hash(&mut self, expected: &Hash, item: &VersionItem) {
        if item.prev_hash != *expected {
            let detail = format!("it follows {}, but {expected} comes before it", item.prev_hash);
            self.found(item.version, DefectKind::ChainBroken, detail);
        }
    }

    /// `newer` comes after version number `older` (0 before the first), with nothing in between, which
    /// retention explains or not.
    fn check_gap(&mut self, older: u64, newer: &VersionItem, explained: bool) {
        let absent = newer.version.number() - older - 1;
        let unreadable =
            self.unreadable.iter().filter(|version| (older..newer.version.number()).contains(&version.number()));
        let missing = absent - unreadable.count() as u64;
        if missing > 0 && !explained {
            let detail = format!("{missing} of the versions {} to {} are missing", older + 1, older + absent);
            self.found(newer.version, DefectKind::VersionsMissing, detail);
        }
        if let Some(Err(Corrupt { reason, .. })) = self.domain.map(|domain| domain.unique(newer)) {
            self.found(newer.version, DefectKind::StateDiffers, reason);
        }
    }

    fn replay(&mut self, older: Option<&VersionItem>, item: &VersionItem) {
        let Some(domain) = self.domain else { return };
        // What is wrong with the older version, or with an event, is found where it is.
        match (domain.check_events(item), domain.replay(older, item)) {
            (Ok(()), Err(Corrupt { version, reason, .. })) if version == item.version => {
                self.found(item.version, DefectKind::StateDiffers, reason);
            }
            _ => {}
        }
    }

    fn found(&mut self, version: Version, kind: DefectKind, detail: String) {
        self.defects.push(Defect::of(self.key, Some(version), kind, detail));
    }
}

fn stamp(item: &VersionItem) -> String {
    format!("{} by {} from {:?}", item.created.at, item.created.by, item.created.ip)
}
