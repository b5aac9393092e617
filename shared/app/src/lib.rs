//! The use cases, over ports: [`Commands`] execute, [`Projector`] projects, [`Queries`] read.
//!
//! This crate decides in which order things happen and what counts as success; the rules of a
//! domain live in `ledgerline-domain`, the stores behind the ports of `ledgerline-kernel`. A new
//! domain is one line in [`Registry::shipped`].

mod commands;
mod environment;
mod projector;
mod queries;
mod rebuild;
mod registry;
mod verify;

pub use commands::{
    Accepted, Caller, CommandError, CommandRequest, Commands, FailedEntry, IfMatch, Ledger, RequestOrigin,
    VersionSource,
};
pub use environment::Environment;
pub use projector::{BadRecord, ProjectionReport, Projector};
pub use queries::{ListRequest, Listed, ParameterProblem, Queries, QueryError};
pub use rebuild::{Rebuilt, rebuild};
pub use registry::Registry;
pub use verify::{Defect, DefectKind, VerifiableLedger, VerifyReport, verify};
