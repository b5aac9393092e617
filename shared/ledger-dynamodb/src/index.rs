//! The versions of entities without their content, for comparing read models with the ledger.

use std::collections::HashMap;

use async_trait::async_trait;
use ledgerline_kernel::ports::{IndexPage, LedgerIndex, StoreError, VersionRef};
use ledgerline_kernel::{EntityKey, PartitionKey, VersionedKey};

use crate::errors::store_error;
use crate::import_records::IMPORT;
use crate::ledger::{DynamoLedger, Item, STORE, read_cursor, text, write_cursor};
use crate::records::{CLAIM, IDEMPOTENCY};

/// What is sent of an item. DynamoDB reads, and charges for, all of it.
const FIELDS: &str = "pk, sk, kind, #hash, updatedAt";

#[async_trait]
impl LedgerIndex for DynamoLedger {
    /// One request for each page: a `Query` of one partition, a `Scan` of all of them.
    async fn versions(&self, partition: Option<&PartitionKey>, from: Option<String>) -> Result<IndexPage, StoreError> {
        let from = from.as_deref().map(read_cursor).transpose()?;
        let (items, last) = match partition {
            Some(partition) => self.query_versions(partition, from).await?,
            None => self.scan_versions(from).await?,
        };
        let next = last.as_ref().map(write_cursor).transpose()?;
        let mut page = IndexPage { next, ..IndexPage::default() };
        for item in &items {
            match read(item) {
                Ok(version) => page.versions.push(version),
                Err(reason) => page.unreadable.push(format!("{}#{}: {reason}", field(item, "pk"), field(item, "sk"))),
            }
        }
        Ok(page)
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

    /// By the key and not by what a row says that it is: one that is damaged must not hide.
    async fn scan_versions(&self, from: Option<Item>) -> Result<Page, StoreError> {
        let answer = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression(
                "sk <> :claim AND sk <> :idempotency AND NOT (begins_with(pk, :imports) AND kind = :import)",
            )
            .expression_attribute_values(":imports", text(&"IMPORT#"))
            .expression_attribute_values(":import", text(&IMPORT))
            .expression_attribute_values(":claim", text(&CLAIM))
            .expression_attribute_values(":idempotency", text(&IDEMPOTENCY))
            .projection_expression(FIELDS)
            .expression_attribute_names("#hash", "hash")
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }
}

fn read(item: &Item) -> Result<VersionRef, &'static str> {
    let VersionedKey { sk, version } = field(item, "sk").parse().map_err(|_| "its sort key is none of a version")?;
    let partition = field(item, "pk").parse().map_err(|_| "its partition key is none of an entity")?;
    if field(item, "kind") != "version" {
        return Err("it does not say that it is a version");
    }
    let at = field(item, "updatedAt").parse().map_err(|_| "it does not say when it was made")?;
    let hash = field(item, "hash").parse().map_err(|_| "its hash is none")?;
    Ok(VersionRef { key: EntityKey { partition, sk }, version, hash, at })
}

pub(crate) fn field<'a>(item: &'a HashMap<String, aws_sdk_dynamodb::types::AttributeValue>, name: &str) -> &'a str {
    item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}
