//! The items of imports in the ledger table.

use std::borrow::Cow;

use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{
    FailedRow, ImportCounts, ImportFailure, ImportFormat, ImportId, ImportJob, ImportKey, ImportMode, ImportState,
    ImportedRows, KeyError, SplitProgress, Stamp, TenantCode, Timestamp, VersionedKey,
};
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};
use serde_json::Value;

use crate::errors::item_error;
use crate::ledger::{Item, STORE, rejected};
use crate::records::ttl;

/// The kind of all of them.
pub(crate) const IMPORT: &str = "import";

/// Whether an item of an import can have this key.
pub(crate) fn is_import(pk: &str, sk: &str) -> bool {
    let is_outcome = || ImportKey::of_outcomes_pk(pk).is_ok() && ImportedRows::parse_sk(sk).is_ok();
    let tenant = || pk.strip_prefix("IMPORT#").map(str::parse::<TenantCode>);
    let is_job = || matches!(tenant(), Some(Ok(_))) && sk.parse::<ImportId>().is_ok();
    is_job() || is_outcome()
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredJob<'a> {
    pk: Cow<'a, str>,
    sk: ImportId,
    kind: Cow<'a, str>,
    tenant_code: TenantCode,
    resource: Cow<'a, str>,
    format: ImportFormat,
    mode: ImportMode,
    /// As text: a mapping may hold what is no number of the ledger.
    mapping: Cow<'a, str>,
    state: ImportState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_etag: Option<Cow<'a, str>>,
    created_at: Timestamp,
    created_by: Cow<'a, str>,
    created_ip: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    updated_at: Timestamp,
    revision: u64,
    split: SplitProgress,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<Cow<'a, ImportFailure>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counts: Option<ImportCounts>,
    expires_at: Timestamp,
    ttl: i64,
}

/// The item of a job.
pub(crate) fn job_item(job: &ImportJob) -> Result<Item, StoreError> {
    to_item(StoredJob {
        pk: ImportKey::jobs_pk(&job.key.tenant).into(),
        sk: job.key.id.clone(),
        kind: IMPORT.into(),
        tenant_code: job.key.tenant.clone(),
        resource: Cow::Borrowed(&job.resource),
        format: job.format,
        mode: job.mode,
        mapping: job.mapping.to_string().into(),
        state: job.state,
        source_etag: job.source_etag.as_deref().map(Cow::Borrowed),
        created_at: job.created.at,
        created_by: Cow::Borrowed(&job.created.by),
        created_ip: Cow::Borrowed(&job.created.ip),
        started_at: job.started_at,
        updated_at: job.updated_at,
        revision: job.revision,
        split: job.split,
        failure: job.failure.as_ref().map(Cow::Borrowed),
        counts: job.counts,
        expires_at: job.expires_at,
        ttl: ttl(job.expires_at),
    })
    .map_err(|error| item_error(STORE, &error))
}

/// The job that this item is.
pub(crate) fn job(item: Item) -> Result<ImportJob, StoreError> {
    let stored: StoredJob<'_> = from_item(item).map_err(|error| item_error(STORE, &error))?;
    let mapping: Value = serde_json::from_str(&stored.mapping).map_err(|error| rejected(&error.to_string()))?;
    Ok(ImportJob {
        key: ImportKey { tenant: stored.tenant_code, id: stored.sk },
        resource: stored.resource.into_owned(),
        format: stored.format,
        mode: stored.mode,
        mapping,
        state: stored.state,
        source_etag: stored.source_etag.map(Cow::into_owned),
        created: Stamp {
            at: stored.created_at,
            by: stored.created_by.into_owned(),
            ip: stored.created_ip.into_owned(),
        },
        started_at: stored.started_at,
        updated_at: stored.updated_at,
        revision: stored.revision,
        split: stored.split,
        failure: stored.failure.map(Cow::into_owned),
        counts: stored.counts,
        expires_at: stored.expires_at,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredRows<'a> {
    pk: String,
    sk: String,
    kind: Cow<'a, str>,
    rows: u32,
    #[serde(flatten)]
    counts: ImportCounts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    columns: Cow<'a, [String]>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    failures: Cow<'a, [FailedRow]>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    written: Cow<'a, [VersionedKey]>,
    shown: bool,
    command_id: Cow<'a, str>,
    at: Timestamp,
    expires_at: Timestamp,
    ttl: i64,
}

/// The item of an outcome.
pub(crate) fn rows_item(rows: &ImportedRows) -> Result<Item, StoreError> {
    to_item(StoredRows {
        pk: rows.import.outcomes_pk(),
        sk: rows.sk(),
        kind: IMPORT.into(),
        rows: rows.rows,
        counts: rows.counts,
        file: rows.file.as_deref().map(Cow::Borrowed),
        columns: Cow::Borrowed(&rows.columns),
        failures: Cow::Borrowed(&rows.failures),
        written: Cow::Borrowed(&rows.written),
        shown: rows.shown,
        command_id: Cow::Borrowed(&rows.command_id),
        at: rows.at,
        expires_at: rows.expires_at,
        ttl: ttl(rows.expires_at),
    })
    .map_err(|error| item_error(STORE, &error))
}

/// The outcome that this item is.
pub(crate) fn rows(item: Item) -> Result<ImportedRows, StoreError> {
    let stored: StoredRows<'_> = from_item(item).map_err(|error| item_error(STORE, &error))?;
    let malformed = |error: KeyError| rejected(&format!("{} {}: {error}", stored.pk, stored.sk));
    let (chunk, first) = ImportedRows::parse_sk(&stored.sk).map_err(malformed)?;
    Ok(ImportedRows {
        import: ImportKey::of_outcomes_pk(&stored.pk).map_err(malformed)?,
        chunk,
        first,
        rows: stored.rows,
        counts: stored.counts,
        file: stored.file.map(Cow::into_owned),
        columns: stored.columns.into_owned(),
        failures: stored.failures.into_owned(),
        written: stored.written.into_owned(),
        shown: stored.shown,
        command_id: stored.command_id.into_owned(),
        at: stored.at,
        expires_at: stored.expires_at,
    })
}

/// What an outcome adds to the sum of all.
#[derive(Deserialize)]
pub(crate) struct Addend {
    #[serde(flatten)]
    pub(crate) counts: ImportCounts,
    pub(crate) shown: bool,
}

/// The fields of an [`Addend`].
pub(crate) const ADDEND: [&str; 5] = ["created", "updated", "unchanged", "failed", "shown"];

/// What this outcome adds.
pub(crate) fn addend(item: Item) -> Result<Addend, StoreError> {
    from_item(item).map_err(|error| item_error(STORE, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_spelled_as_an_imports_key_is_one() {
        let id = "01KAGZ6Q3V8X4T5N7M9P0R2S1W";
        let outcomes = format!("IMPORT#acme#{id}");
        assert!(is_import("IMPORT#acme", id));
        assert!(is_import(&outcomes, "0000000001.0000000000"));
        let others = [("IMPORT#acme", "ring@0000000001"), ("IMPORT#", id), ("PRODUCT#acme", id), (&outcomes, id)];
        for (pk, sk) in others {
            assert!(!is_import(pk, sk), "{pk} {sk}");
        }
    }
}
