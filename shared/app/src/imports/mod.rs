//! Bulk import: a file of rows, every one of which ends with an outcome.
//!
//! [`Imports`] takes them in and tells how far they are, [`Splitter`] makes messages of a file's rows, and
//! [`ImportWorker`] writes the rows of a message and accounts for them in the same transactions.
//! `infra/adr/0016-imports-account-for-every-row.md` has the reasons.

mod ask;
mod change;
mod error_page;
mod file;
mod once;
mod request;
mod show;
mod splitter;
#[cfg(test)]
mod tests;
mod worker;

use ledgerline_import_file::Mapping;
use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{ImportJob, ImportKey, TenantCode};

pub use ask::{FailedRows, ImportError, ImportStatus, Imports, NewImport, RowErrors};
pub use error_page::{ErrorPage, ErrorPlace};
pub use file::{FileChunks, FileReplaced};
pub use request::{ImportRequest, ImportSource};
pub use splitter::{ChunkSource, SourceError, Split, Splitter};
pub use worker::{ChunkWorked, ImportWorker};

/// The key of the object that holds an import's rows.
#[must_use]
pub fn source_key(import: &ImportKey) -> String {
    format!("{}{}/source", sources_of(&import.tenant), import.id)
}

/// The import whose rows the object under this key holds; none for any other object.
#[must_use]
pub fn import_of(key: &str) -> Option<ImportKey> {
    let (tenant, rest) = key.strip_prefix("imports/")?.split_once('/')?;
    let id = rest.strip_suffix("/source")?;
    Some(ImportKey { tenant: tenant.parse().ok()?, id: id.parse().ok()? })
}

/// With what the keys of a tenant's objects begin.
fn sources_of(tenant: &TenantCode) -> String {
    format!("imports/{tenant}/")
}

/// The mapping that a job was asked for with.
fn mapping_of(job: &ImportJob) -> Result<Mapping, StoreError> {
    if job.mapping.is_null() {
        return Ok(Mapping::identity());
    }
    serde_json::from_value(job.mapping.clone())
        .map_err(|error| rejected(format!("the mapping of {}: {error}", job.key)))
}

const STORE: &str = "the imports";

fn rejected(reason: String) -> StoreError {
    StoreError::Rejected { store: STORE, reason }
}

fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { store: STORE, reason: reason.into() }
}
