//! The pure core of Ledgerline: what a key, a version, an aggregate and a version item are,
//! and the ports through which the rest of the system stores and reads them.
//!
//! Nothing here performs IO, reads a clock or draws a random number, and nothing here links an
//! async runtime, an AWS crate, HTTP or SQL. Adapters depend on this crate alone; use cases
//! (`ledgerline-app`) join the two.
//!
//! Start with [`Aggregate`] (what a domain author writes), then [`VersionItem`] (what the ledger
//! stores) and [`ports`] (what an adapter implements).

mod aggregate;
mod canonical;
mod commit;
mod decimal;
mod delta;
mod domain;
mod entity;
mod import;
pub mod input;
mod key;
pub mod ports;
pub mod search;
mod stored_form;
mod table;
mod timestamp;
mod version_item;

pub use aggregate::{Aggregate, DecisionContext, Refusal};
pub use canonical::{CanonicalError, canonical_json};
pub use commit::{Claim, ClaimChange, Commit, Expiry, IdempotencyRecord, MAX_OPERATIONS, Produced};
pub use decimal::{Decimal, DecimalError};
pub use delta::{DeltaChange, DeltaProjection, DeltaStep, DeltaTable, DynDelta, SummarySpec, delta};
pub use domain::{Action, Corrupt, Decision, Domain, DynDomain, Prepared, PreparedCommand, Undecided, erase};
pub use entity::Entity;
pub use import::{
    FailedRow, ImportCounts, ImportFailure, ImportFormat, ImportId, ImportJob, ImportKey, ImportMode, ImportState,
    ImportTotals, ImportedRows, RowContent, SplitProgress,
};
pub use key::{EntityKey, EntityType, KeyError, PartitionKey, SortKey, TenantCode, Version, VersionedKey};
pub use stored_form::StoredValue;
pub use table::{ColumnKind, ColumnSpec, TableSpec};
pub use timestamp::Timestamp;
pub use version_item::{Draft, Hash, Stamp, StoredEvent, VersionItem};
