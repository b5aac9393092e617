//! The keys of all rows, for an audit.

use async_trait::async_trait;
use ledgerline_kernel::ports::{LedgerAudit, LedgerRow, StoreError};
use ledgerline_kernel::{Claim, EntityKey, KeyError, VersionedKey};

use crate::errors::store_error;
use crate::import_records::{IMPORT, is_import};
use crate::ledger::{DynamoLedger, Item, STORE, read_cursor, write_cursor};
use crate::records::{CLAIM, IDEMPOTENCY};

#[async_trait]
impl LedgerAudit for DynamoLedger {
    /// One request for each page. DynamoDB reads whole items for it, but sends their keys alone.
    async fn rows(&self, from: Option<String>) -> Result<(Vec<LedgerRow>, Option<String>), StoreError> {
        let answer = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .projection_expression("pk, sk, kind, holderId")
            .set_exclusive_start_key(from.as_deref().map(read_cursor).transpose()?)
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        let next = answer.last_evaluated_key.as_ref().map(write_cursor).transpose()?;
        Ok((answer.items.unwrap_or_default().iter().filter_map(row).collect(), next))
    }
}

/// None for an idempotency record, and for what is kept of an import.
fn row(item: &Item) -> Option<LedgerRow> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
    let (pk, sk) = (text("pk"), text("sk"));
    let unreadable = |reason| LedgerRow::Unreadable { pk: pk.to_owned(), sk: sk.to_owned(), reason };
    let read = match text("kind") {
        // A version that merely says so must not hide.
        IDEMPOTENCY if pk.starts_with("IDEMPOTENCY#") && sk == IDEMPOTENCY => return None,
        IMPORT if is_import(pk, sk) => return None,
        "version" => version(pk, sk),
        CLAIM if sk == CLAIM => claim(pk, text("holderId")),
        kind => return Some(unreadable(format!("no row of the kind {kind:?} has this key"))),
    };
    Some(read.unwrap_or_else(|error| unreadable(error.to_string())))
}

fn version(pk: &str, sk: &str) -> Result<LedgerRow, KeyError> {
    let VersionedKey { sk, version } = sk.parse()?;
    Ok(LedgerRow::Version(EntityKey { partition: pk.parse()?, sk }, version))
}

fn claim(pk: &str, holder: &str) -> Result<LedgerRow, KeyError> {
    Ok(LedgerRow::Claim(Claim::parse(pk)?, holder.parse()?))
}
