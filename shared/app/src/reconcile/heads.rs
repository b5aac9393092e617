use ledgerline_kernel::ports::VersionRef;
use ledgerline_kernel::{EntityKey, Hash, Timestamp, Version};
use serde::{Deserialize, Serialize};

/// An entity as the ledger's list of versions has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    pub(super) key: EntityKey,
    /// When its first version was made.
    pub(super) since: Timestamp,
    /// The newest version that every read model ought to have by now.
    pub(super) settled: Option<(Version, Hash)>,
    /// The versions after that one, oldest first.
    pub(super) later: Vec<(Version, Hash)>,
}

/// How what a read model has of an entity looks beside the list of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// As it should.
    Same,
    /// It lacks what may be on its way to it.
    InFlight,
    /// Not as it should, unless somebody wrote meanwhile.
    Suspicious,
}

impl Head {
    pub(super) fn new(first: VersionRef, settled: Timestamp) -> Self {
        let mut head = Self { key: first.key.clone(), since: first.at, settled: None, later: Vec::new() };
        head.add(first, settled);
        head
    }

    /// Takes in the next version of the same entity.
    pub(super) fn add(&mut self, next: VersionRef, settled: Timestamp) {
        // Behind one that is on its way, every one is: they go in order.
        if next.at <= settled && self.later.is_empty() {
            self.settled = Some((next.version, next.hash));
        } else {
            self.later.push((next.version, next.hash));
        }
    }

    /// The newest version and its hash.
    pub(super) fn newest(&self) -> Option<&(Version, Hash)> {
        self.later.last().or(self.settled.as_ref())
    }

    fn hash_of(&self, version: Version) -> Option<&Hash> {
        let mut known = self.settled.iter().chain(&self.later);
        known.find(|(number, _)| *number == version).map(|(_, hash)| hash)
    }

    /// Judges what a read model has.
    pub(super) fn look(&self, held: Option<&(Version, Hash)>) -> Look {
        let Some((version, hash)) = held else {
            return if self.settled.is_some() { Look::Suspicious } else { Look::InFlight };
        };
        match self.hash_of(*version) {
            Some(own) if own == hash => match self.newest() {
                Some((newest, _)) if newest == version => Look::Same,
                _ => Look::InFlight,
            },
            _ => Look::Suspicious,
        }
    }
}
