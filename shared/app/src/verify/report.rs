use std::fmt;

use ledgerline_kernel::{EntityKey, TenantCode, Version};
use serde::{Serialize, Serializer};

/// How many defects a report lists. A damaged table may have one for each row.
const LISTED: usize = 1_000;

/// What a walk over the ledger found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// Entities checked.
    pub entities: usize,
    /// Versions checked, over all of them.
    pub versions: usize,
    /// Claims on unique values that were compared with what the entities have.
    pub claims: usize,
    /// How many defects there are.
    pub defect_count: usize,
    /// The first 1,000 of them: rows that belong nowhere, then by entity and version, then what a read
    /// model has seen and the ledger has not, then claims.
    pub defects: Vec<Defect>,
    /// If there is nothing at all of the tenant that was asked for: the first of those that there are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_tenants: Vec<TenantCode>,
}

impl VerifyReport {
    pub(super) fn add(&mut self, defects: Vec<Defect>) {
        self.defect_count += defects.len();
        let room = LISTED - self.defects.len();
        self.defects.extend(defects.into_iter().take(room));
    }
}

/// Something in the ledger that the write path would not have left there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Defect {
    /// The entity, or the key of a row that belongs to none.
    pub id: String,
    /// The version, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// What kind of defect.
    pub kind: DefectKind,
    /// What is wrong, for people.
    pub detail: String,
}

impl Defect {
    pub(super) fn of(key: &EntityKey, version: Option<Version>, kind: DefectKind, detail: String) -> Self {
        Self { id: key.to_string(), version, kind, detail }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version} {}: {}", self.id, self.kind.code(), self.detail),
            None => write!(f, "{} {}: {}", self.id, self.kind.code(), self.detail),
        }
    }
}

/// The kinds of defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefectKind {
    /// A row that is no version, claim or idempotency record, or a version that cannot be read.
    Unreadable,
    /// An entity of a type that this deployment has no domain for. Only its chain was checked.
    UnknownType,
    /// Versions are gone that no retention removes.
    VersionsMissing,
    /// A read model has taken in a later version of an entity than the ledger has.
    NewestMissing,
    /// The content of a version is not what its hash was taken over.
    HashDiffers,
    /// A version does not follow the one before it.
    ChainBroken,
    /// A version has an event that this code does not know.
    UnknownEvent,
    /// The state, code, name or deletion mark of a version is not what its events make of the version
    /// before it. One wrong state in the middle shows twice: where it is, and in the version after it.
    StateDiffers,
    /// A version was created by somebody else, or at another time, than its entity.
    CreatedChanged,
    /// A version that has to stay is marked to be dropped.
    WillExpire,
    /// A living entity has a unique value that nobody claims, so another one can take it too.
    ClaimMissing,
    /// A unique value is claimed for an entity that does not have it, so no other can take it.
    ClaimOrphaned,
    /// A living entity has a unique value that another one has too.
    ValueTakenTwice,
}

impl DefectKind {
    /// A stable code for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "UNREADABLE",
            Self::UnknownType => "UNKNOWN_TYPE",
            Self::VersionsMissing => "VERSIONS_MISSING",
            Self::NewestMissing => "NEWEST_MISSING",
            Self::HashDiffers => "HASH_DIFFERS",
            Self::ChainBroken => "CHAIN_BROKEN",
            Self::UnknownEvent => "UNKNOWN_EVENT",
            Self::StateDiffers => "STATE_DIFFERS",
            Self::CreatedChanged => "CREATED_CHANGED",
            Self::WillExpire => "WILL_EXPIRE",
            Self::ClaimMissing => "CLAIM_MISSING",
            Self::ClaimOrphaned => "CLAIM_ORPHANED",
            Self::ValueTakenTwice => "VALUE_TAKEN_TWICE",
        }
    }

    /// What to do about it, in one line.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unreadable => "compare the row with a backup; restore it, or delete it if it was never ours",
            Self::UnknownType => "verify with the code that has this domain",
            Self::VersionsMissing => "restore the missing versions from a backup",
            Self::NewestMissing => {
                "restore the version from a backup before somebody writes another one in its place; if the ledger never \
                 had it, `ledgerline reconcile` corrects the read model"
            }
            Self::HashDiffers | Self::CreatedChanged => {
                "the row was changed after it was written: restore it from a backup, and see who may write to the table"
            }
            Self::ChainBroken => {
                "this version or the one before it was replaced: compare both with a backup, restore the right one"
            }
            Self::UnknownEvent => "verify with the code that wrote it, or teach the domain's from_stored to read it",
            Self::StateDiffers => {
                "if many entities have it, evolve has changed: make it lead to what it led to; else compare the row \
                 with a backup"
            }
            Self::WillExpire => "remove the attribute ttl from the row before DynamoDB drops it",
            Self::ClaimMissing => "put the missing claim row, naming this entity",
            Self::ClaimOrphaned => "delete the claim row",
            Self::ValueTakenTwice => "change the value of one of the two",
        }
    }
}

impl Serialize for DefectKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
