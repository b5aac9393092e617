//! The versions of entities without their content, for comparing read models with the ledger.

use std::collections::HashMap;

use async_trait::async_trait;
use ledgerline_kernel::ports::{LedgerIndex, StoreError, VersionRef};
use ledgerline_kernel::{EntityKey, KeyError, PartitionKey, VersionedKey};

use crate::errors::store_error;
use crate::ledger::{DynamoLedger, Item, STORE, read_cursor, text, write_cursor};

/// What is sent of an item. DynamoDB reads, and charges for, all of it.
const FIELDS: &str = "pk, sk, #hash, updatedAt";

#[async_trait]
impl LedgerIndex for DynamoLedger {
    /// One request for each page: a `Query` of one partition, a `Scan` of all of them. A version item
    /// that names no version is left out, with an error in the log.
    async fn versions(
        &self,
        partition: Option<&PartitionKey>,
        from: Option<String>,
    ) -> Result<(Vec<VersionRef>, Option<String>), StoreError> {
        let from = from.as_deref().map(read_cursor).transpose()?;
        let (items, last) = match partition {
            Some(partition) => self.query_versions(partition, from).await?,
            None => self.scan_versions(from).await?,
        };
        let next = last.as_ref().map(write_cursor).transpose()?;
        Ok((items.iter().filter_map(read_or_log).collect(), next))
    }
}

type Page = (Vec<Item>, Option<Item>);

impl DynamoLedger {
    async fn query_versions(&self, partition: &PartitionKey, from: Option<Item>) -> Result<Page, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(partition))
            .projection_expression(FIELDS)
            .expression_attribute_names("#hash", "hash")
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }

    async fn scan_versions(&self, from: Option<Item>) -> Result<Page, StoreError> {
        let answer = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression("kind = :version")
            .expression_attribute_values(":version", text(&"version"))
            .projection_expression(FIELDS)
            .expression_attribute_names("#hash", "hash")
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }
}

fn read_or_log(item: &Item) -> Option<VersionRef> {
    let named = read(item);
    if let Err(reason) = &named {
        let (pk, sk) = (field(item, "pk"), field(item, "sk"));
        tracing::error!(pk, sk, %reason, "a version item of the ledger cannot be compared with read models");
    }
    named.ok()
}

fn read(item: &Item) -> Result<VersionRef, KeyError> {
    let VersionedKey { sk, version } = field(item, "sk").parse()?;
    let key = EntityKey { partition: field(item, "pk").parse()?, sk };
    let at = field(item, "updatedAt").parse().map_err(|_| KeyError::Malformed)?;
    Ok(VersionRef { key, version, hash: field(item, "hash").parse()?, at })
}

pub(crate) fn field<'a>(item: &'a HashMap<String, aws_sdk_dynamodb::types::AttributeValue>, name: &str) -> &'a str {
    item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}
