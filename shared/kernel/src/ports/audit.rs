use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::{DynDomain, EntityKey, Hash, PartitionKey, SortKey, TenantCode, Timestamp, Version, VersionItem};

/// A version of an entity, known without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRef {
    /// Which entity.
    pub key: EntityKey,
    /// Which version of it.
    pub version: Version,
    /// That version's hash.
    pub hash: Hash,
    /// When that version was made.
    pub at: Timestamp,
}

/// A page of the ledger's versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexPage {
    /// Those that can be named.
    pub versions: Vec<VersionRef>,
    /// Rows that ought to be versions and cannot be named: the key of each, and what is wrong.
    pub unreadable: Vec<String>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// Lists what versions the ledger has, without their content, for comparing read models with it.
#[async_trait]
pub trait LedgerIndex: Send + Sync {
    /// A page of versions; begin with `None`. Of one partition: all versions of an entity one after
    /// the other, oldest first. Of all partitions (`None`): the same within each partition, the
    /// partitions in no particular order.
    async fn versions(&self, partition: Option<&PartitionKey>, from: Option<String>) -> Result<IndexPage, StoreError>;
}

/// How many entities a read model has, and the sum of their hashes: the same for the same versions
/// of the same entities, in whatever order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub entities: u64,
    /// The first 16 hexadecimal digits of each entity's newest hash, added up modulo 2^64. A hash
    /// covers its version's key, number and content.
    pub sum: u64,
}

impl Digest {
    /// Takes in one more entity.
    pub fn add(&mut self, hash: &Hash) {
        let leading = hash.as_str().get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        self.entities += 1;
        self.sum = self.sum.wrapping_add(leading.unwrap_or(0));
    }
}

/// How a read model's sums are beside its entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SumsFound {
    /// They are what its entities add, at the versions that it has of them. So they are where there
    /// are none.
    Right,
    /// So many rows are not, or say what nobody can read.
    Wrong(u64),
    /// So many rows were not, and are now.
    Corrected(u64),
    /// There was too much to add up.
    Unknown,
}

/// Says what a read model has, for comparing it with the ledger.
#[async_trait]
pub trait ReadModelAudit: Send + Sync {
    /// The read model's or projection's name, as in reports and in the quarantine.
    fn name(&self) -> &'static str;

    /// Whether it has entities of `domain` at all. Nothing else is asked of it for another domain.
    fn concerns(&self, domain: &dyn DynDomain) -> bool {
        let _ = domain;
        true
    }

    /// The versions that it has of these entities of `domain`; those that it lacks are not in the
    /// answer, nor are those of which it has no version that there can be. A hash that is none
    /// counts as another one.
    async fn held(
        &self,
        domain: &dyn DynDomain,
        keys: &[EntityKey],
    ) -> Result<BTreeMap<EntityKey, (Version, Hash)>, StoreError>;

    /// The digest of all that it has of `domain` and `tenant`.
    async fn digest(&self, domain: &dyn DynDomain, tenant: &TenantCode) -> Result<Digest, StoreError>;

    /// Up to `limit` entities that it has of `domain` and `tenant`, in an order of its own, beginning
    /// after `after`.
    async fn entities(
        &self,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        after: Option<&SortKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError>;

    /// Writes `item` over whatever it has of that entity, if that is still `held`, which may be newer
    /// than `item` or another version of the same number: for when it has what the ledger does not.
    /// `false` if it has something else by now, or cannot do this for one entity.
    async fn replace(&self, domain: &dyn DynDomain, item: &VersionItem, held: Version) -> Result<bool, StoreError>;

    /// Adds up what the entities of `domain` and `tenant` add that it has, and compares its sums with
    /// that; with `correct`, makes them say the same, in one transaction and whatever is written
    /// meanwhile. The digest proves only which versions it has taken in, not that it did so once.
    async fn sums(&self, domain: &dyn DynDomain, tenant: &TenantCode, correct: bool) -> Result<SumsFound, StoreError> {
        let _ = (domain, tenant, correct);
        Ok(SumsFound::Right)
    }
}
