use async_trait::async_trait;

use super::StoreError;
use crate::{EntityKey, TenantCode, Timestamp, Version};

/// What a projection cannot take: an entity's version, or a record of the ledger's stream that
/// cannot even be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Poison {
    /// Tells it from everything else that the projection cannot take: the entity's id, or what names
    /// the record in its stream.
    pub record: String,
    /// The version that is missing from the read model because of it, as far as that is known.
    pub version: Option<(EntityKey, Version)>,
    /// What is wrong with it.
    pub error: String,
    /// What was to be projected, to be looked at later; null where the ledger has it.
    pub image: serde_json::Value,
}

/// What is to become of something that a projection cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// It is to be delivered again: what was wrong may not have been the record.
    Again,
    /// It was tried often enough and is kept aside; the stream goes on without it.
    Quarantined,
}

/// How often something is tried before it is quarantined.
pub const STRIKES: u32 = 3;

/// Something that is quarantined.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantined {
    /// In which projection.
    pub projection: String,
    /// See [`Poison::record`].
    pub record: String,
    /// The entity, and the newest version of it that is missing in the read model.
    pub version: Option<(EntityKey, Version)>,
    /// What is wrong, as it was said last.
    pub error: String,
    /// How often it was tried before it was quarantined.
    pub attempts: u32,
    /// When it failed first.
    pub since: Timestamp,
}

/// Which quarantined things are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineQuery {
    /// Those of one tenant; of all, and those that name no entity, if none.
    pub tenant: Option<TenantCode>,
    /// Those of one entity.
    pub entity: Option<EntityKey>,
    /// Projection and record of the last one before; from the beginning if none.
    pub after: Option<(String, String)>,
    /// At most so many.
    pub limit: usize,
}

/// An entity that a projection has taken in up to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Which projection.
    pub projection: String,
    /// Which entity.
    pub key: EntityKey,
    /// Up to which version.
    pub version: Version,
}

/// Keeps what projections cannot take, so that it holds up nothing else.
#[async_trait]
pub trait Quarantine: Send + Sync {
    /// Counts one more failure in this projection. The [`STRIKES`]th quarantines it; what is
    /// quarantined already stays so, with the newest version that it is missing, and is not counted
    /// any further.
    async fn strike(&self, projection: &str, poison: &Poison) -> Result<Strike, StoreError>;

    /// Forgets everything that was noted against these entities in these projections for versions up
    /// to these: it has been taken after all. Answers with how many were quarantined.
    async fn release(&self, taken: &[Taken]) -> Result<usize, StoreError>;

    /// What is quarantined, ordered by projection and record (code points).
    async fn list(&self, query: &QuarantineQuery) -> Result<Vec<Quarantined>, StoreError>;
}
