//! What tests are written with: [`given()`]/when/then for decisions, [`laws`] that every aggregate
//! keeps, in-memory ports ([`MemoryLedger`], [`MemoryEntities`]) and the [`contract`] suites that
//! these and the real adapters pass alike.
//!
//! Everything in here fails a test by panicking; nothing in here belongs in production code.
//!
//! ```
//! use ledgerline_testkit::note::{Note, NoteCommand, NoteEvent, NoteRefusal};
//! use ledgerline_testkit::given;
//!
//! let written = NoteEvent::Written { code: "N-1".into(), name: "Milk".into(), body: "2 litres".into() };
//! given::<Note>([written.clone()])
//!     .when(NoteCommand::Rewrite { body: "1 litre".into() })
//!     .then([NoteEvent::Rewritten { body: "1 litre".into() }]);
//! given::<Note>([written, NoteEvent::Erased])
//!     .when(NoteCommand::Rewrite { body: "1 litre".into() })
//!     .then_refused(NoteRefusal::Erased);
//! ```

pub mod contract;
pub mod diary;
mod fixture;
mod given;
pub mod laws;
mod like_a_note;
mod memory_audit;
mod memory_blobs;
mod memory_bus;
mod memory_deltas;
mod memory_entities;
mod memory_imports;
mod memory_ledger;
mod memory_objects;
mod memory_quarantine;
mod memory_queue;
pub mod note;
mod note_totals;
#[cfg(test)]
mod tests;
pub mod tome;

pub use fixture::{append, fork_of, large_version_items, next_version, noon, note_key, version_items};
pub use given::{Given, When, given, state_after};
pub use memory_audit::MemoryResyncs;
pub use memory_blobs::MemoryBlobs;
pub use memory_bus::{Delivered, MemoryBus};
pub use memory_deltas::{MemoryDeltas, MemoryPositions};
pub use memory_entities::MemoryEntities;
pub use memory_ledger::MemoryLedger;
pub use memory_objects::MemoryObjects;
pub use memory_quarantine::MemoryQuarantine;
pub use memory_queue::MemoryQueue;
pub use note_totals::NoteTotals;
