//! The use cases, over ports: [`Commands`] execute, [`Projector`] projects, [`Queries`] read.
//!
//! This crate decides in which order things happen and what counts as success; the rules of a
//! domain live in `ledgerline-domain`, the stores behind the ports of `ledgerline-kernel`. A new
//! domain is one line in [`Registry::shipped`].

mod commands;
mod environment;
mod imports;
mod large_states;
mod projector;
mod queries;
mod rebuild;
mod reconcile;
mod redrive;
mod registry;
mod relay;
mod reproject;
mod verify;

pub use commands::{
    Accepted, Caller, CommandError, CommandRequest, Commands, FailedEntry, IfMatch, Ledger, RequestOrigin,
    VersionSource,
};
pub use environment::Environment;
pub use imports::{
    ChunkSource, ChunkWorked, ErrorPage, ErrorPlace, FailedRows, FileChunks, FileReplaced, ImportError, ImportRequest,
    ImportSource, ImportStatus, ImportWorker, Imports, NewImport, RowErrors, SourceError, Split, Splitter, import_of,
    source_key,
};
pub use large_states::{LARGE_STATE_LIMIT, LARGE_STATES_AT_ONCE, LargeStates, WithLargeStates};
pub use projector::{BadRecord, InTime, Projection, ProjectionReport, Projector, ReadModelReport, Refused};
pub use queries::{KeyListRequest, ListRequest, MinVersions, ParameterProblem, Queries, QueryError};
pub use rebuild::{RebuildLedger, RebuildOptions, RebuildStep, RebuildStopped, Rebuilt, rebuild};
pub use reconcile::{
    Counts, Drift, DriftKind, Maintenance, ReadModelDigest, ReadModelDrift, ReconcileReport, Reconciler, Repair,
    ResyncTarget, Scope, Verdict, Walk, Worked,
};
pub use redrive::{Redrive, Redriven, UNREADABLE};
pub use registry::{Registry, RegistryError};
pub use relay::{Relay, Relayed};
pub use reproject::{Reprojected, reproject};
pub use verify::{Defect, DefectKind, VerifiableLedger, VerifyReport, verify};
