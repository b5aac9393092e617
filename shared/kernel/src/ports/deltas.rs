use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::StoreError;
use crate::{DeltaChange, DynDelta, EntityKey, Hash, Version};

/// How far a delta projection is with one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct DeltaPosition {
    /// The version that its rows have taken in.
    pub version: Version,
    /// The hash of that version.
    pub hash: Hash,
    /// What the projection remembers of the entity.
    pub memory: Value,
}

/// One entity's move from a position to a later one.
#[derive(Debug, Clone, PartialEq)]
pub struct DeltaMove {
    /// Which entity.
    pub key: EntityKey,
    /// Where it must stand, to what is remembered of it: what the move adds was worked out from that.
    /// None if it was never taken in.
    pub from: Option<DeltaPosition>,
    /// Where it stands then.
    pub to: DeltaPosition,
    /// What all versions in between add.
    pub changes: Vec<DeltaChange>,
}

/// The rows and positions of delta projections.
#[async_trait]
pub trait DeltaSink: Send + Sync {
    /// How far `projection` is with these entities; those that it has never taken in are not in the
    /// answer.
    async fn positions(
        &self,
        projection: &dyn DynDelta,
        keys: &[EntityKey],
    ) -> Result<BTreeMap<EntityKey, DeltaPosition>, StoreError>;

    /// In one transaction: each entity that still stands where its move begins moves on, and the
    /// changes of those moves are added to the rows. Answers with the entities that stood elsewhere;
    /// nothing of their moves was written. No entity occurs twice in `moves`.
    async fn advance(&self, projection: &dyn DynDelta, moves: &[DeltaMove]) -> Result<Vec<EntityKey>, StoreError>;

    /// The tables that are being built to replace these, while `resource` is rebuilt. To be moved on
    /// before these, and as far as they can be: who replaces them sees to the rest.
    fn under_construction(&self, resource: &str) -> Option<Arc<dyn DeltaSink>> {
        let _ = resource;
        None
    }
}
