//! What a blue/green rebuild of a domain's read models needs: the ledger read in several parts at once,
//! and a second set of tables that is filled beside the live one and then takes its place.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{DeltaSink, StateSink, StoreError};
use crate::{EntityType, Hash, Version, VersionItem};

/// A part of the ledger: the one with this number, from 0, of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Which.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

/// A page of a segment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SegmentPage {
    /// The versions of one type of entity; those of an entity one after the other, oldest first, here
    /// and from page to page.
    pub items: Vec<VersionItem>,
    /// The rows that ought to be such versions and cannot be read, each with what is wrong.
    pub unreadable: Vec<String>,
    /// The rows looked at, of whatever kind.
    pub examined: u64,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// Reads the ledger in several parts at once.
#[async_trait]
pub trait LedgerSegments: Send + Sync {
    /// A page of a segment, of `limit` rows of the ledger at most; begin with `None`. An entity is in
    /// one segment, and the segments of one number together are the whole ledger.
    async fn segment(
        &self,
        entity_type: &EntityType,
        segment: Segment,
        from: Option<String>,
        limit: u32,
    ) -> Result<SegmentPage, StoreError>;

    /// About how many rows the ledger has, of whatever kind; none where nobody knows.
    async fn row_estimate(&self) -> Option<u64>;
}

/// How far a rebuild is with one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentProgress {
    /// Where its next page begins; none at its beginning, and at its end.
    pub cursor: Option<String>,
    /// Whether all of it has been taken in.
    pub is_done: bool,
    /// The rows looked at.
    pub examined: u64,
    /// The versions taken in.
    pub versions: u64,
    /// The entities whose first version was among them.
    pub entities: u64,
}

/// An entity of which the tables under construction do not have what the live ones have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The entity's id, as the tables have it.
    pub id: String,
    /// What it is about: the states' table, or a delta projection.
    pub of: String,
    /// What the live table has.
    pub live: Option<(Version, Hash)>,
    /// What the table under construction has.
    pub rebuilt: Option<(Version, Hash)>,
}

/// What a switch put in place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switched {
    /// Rows of the states' table.
    pub rows: u64,
    /// How many of them differ from the live one that was replaced, or were not in it.
    pub corrected: u64,
}

/// Why a rebuild did not go on.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// One at a time.
    #[error("{0} are being rebuilt already, by another process")]
    Running(String),
    /// Somebody else finished it or gave it up.
    #[error("this rebuild was finished or given up by somebody else")]
    Ended,
    /// The live tables are of another release than those that this one makes.
    #[error("the tables in use have other migrations than this release; apply its migrations first: {0}")]
    OtherMigrations(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A rebuild under way: tables under construction, beside the live ones. Whatever is projected into
/// the live ones from when it exists is projected into these as well.
#[async_trait]
pub trait ViewRebuild: Send + Sync {
    /// How far it is with each segment of the ledger, as last [noted](Self::note).
    fn segments(&self) -> &[SegmentProgress];

    /// Writes states into the tables under construction only.
    fn states(&self) -> Arc<dyn StateSink>;

    /// Writes deltas into the tables under construction only.
    fn deltas(&self) -> Arc<dyn DeltaSink>;

    /// Notes how far it is with a segment, so that it goes on from there after an interruption.
    async fn note(&self, segment: u32, progress: &SegmentProgress) -> Result<(), RebuildError>;

    /// To be called once the tables are full: prepares them for being read.
    async fn filled(&self) -> Result<(), RebuildError>;

    /// How many entities the states' table under construction has.
    async fn rows(&self) -> Result<u64, RebuildError>;

    /// Up to `limit` [differences](Difference), without those [confirmed](Self::confirm). Of a state,
    /// any difference counts; of a delta projection, that the one under construction is behind.
    async fn differences(&self, limit: u32) -> Result<Vec<Difference>, RebuildError>;

    /// Keeps in mind that in these the tables under construction are right. Good for exactly the
    /// versions that they have there.
    async fn confirm(&self, right: &[Difference]) -> Result<(), RebuildError>;

    /// Puts the tables in the place of the live ones, in one transaction, unless there are
    /// differences at that moment: then it changes nothing and answers with `None`.
    async fn switch(&self) -> Result<Option<Switched>, RebuildError>;
}
