use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use ledgerline_kernel::ports::{LedgerRead, LedgerScan, StoreError};
use ledgerline_kernel::{EntityKey, Version, VersionItem};

use crate::errors::store_error;
use crate::read_item::read_item;

pub(crate) const STORE: &str = "the ledger";

pub(crate) type Item = HashMap<String, AttributeValue>;

/// The ledger in a DynamoDB table with the text keys `pk` and `sk`.
///
/// Retries of throttled and broken requests are the SDK's, those of cancelled transactions ours; a
/// condition that fails is an answer and never retried.
#[derive(Debug, Clone)]
pub struct DynamoLedger {
    pub(crate) client: Client,
    pub(crate) table: String,
}

impl DynamoLedger {
    /// The ledger in this table.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Up to `limit` items of one partition, the last by sort key first. Strongly consistent.
    pub(crate) async fn backwards<const N: usize>(
        &self,
        condition: &str,
        values: [(&str, AttributeValue); N],
        limit: usize,
    ) -> Result<Vec<Item>, StoreError> {
        let values = HashMap::from(values.map(|(name, value)| (name.to_owned(), value)));
        let (mut items, mut page_start) = (Vec::new(), None);
        // DynamoDB ends a page at 1 MB, however many items were asked for.
        while items.len() < limit {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .scan_index_forward(false)
                .limit(i32::try_from(limit - items.len()).unwrap_or(i32::MAX))
                .key_condition_expression(condition)
                .set_expression_attribute_values(Some(values.clone()))
                .set_exclusive_start_key(page_start)
                .send()
                .await
                .map_err(|error| store_error(STORE, &error))?;
            items.extend(answer.items.unwrap_or_default());
            page_start = answer.last_evaluated_key;
            if page_start.is_none() {
                break;
            }
        }
        Ok(items)
    }
}

#[async_trait]
impl LedgerRead for DynamoLedger {
    async fn newest(&self, key: &EntityKey) -> Result<Option<VersionItem>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(1)
            .key_condition_expression("pk = :pk AND begins_with(sk, :versions)")
            .expression_attribute_values(":pk", text(&key.partition))
            .expression_attribute_values(":versions", AttributeValue::S(key.version_prefix()))
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        answer.items.unwrap_or_default().pop().map(read).transpose()
    }

    async fn at(&self, key: &EntityKey, version: Version) -> Result<Option<VersionItem>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .consistent_read(true)
            .key("pk", text(&key.partition))
            .key("sk", text(&key.at(version)))
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        answer.item.map(read).transpose()
    }

    async fn history(
        &self,
        key: &EntityKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionItem>, StoreError> {
        let newest = match before.map(|before| Version::new(before.number() - 1)) {
            None => Version::MAX,
            Some(Ok(below)) => below,
            // There is nothing before the first.
            Some(Err(_)) => return Ok(Vec::new()),
        };
        let values = [
            (":pk", text(&key.partition)),
            (":oldest", text(&key.at(Version::FIRST))),
            (":newest", text(&key.at(newest))),
        ];
        let items = self.backwards("pk = :pk AND sk BETWEEN :oldest AND :newest", values, limit).await?;
        items.into_iter().map(read).collect()
    }
}

#[async_trait]
impl LedgerScan for DynamoLedger {
    /// One request for each page. Items of other kinds are left out; so is a damaged version item,
    /// with an error in the log that names it, since nobody could rebuild anything otherwise.
    async fn scan(&self, from: Option<String>) -> Result<(Vec<VersionItem>, Option<String>), StoreError> {
        let answer = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression("kind = :version")
            .expression_attribute_values(":version", AttributeValue::S("version".to_owned()))
            .set_exclusive_start_key(from.as_deref().map(read_cursor).transpose()?)
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        let next = answer.last_evaluated_key.as_ref().map(write_cursor).transpose()?;
        let items = answer.items.unwrap_or_default().into_iter().filter_map(read_or_log).collect();
        Ok((items, next))
    }
}

pub(crate) fn read(item: Item) -> Result<VersionItem, StoreError> {
    read_item(item).map_err(|error| rejected(&error.to_string()))
}

fn read_or_log(item: Item) -> Option<VersionItem> {
    let key_part = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    let (pk, sk) = (key_part("pk"), key_part("sk"));
    read(item).inspect_err(|error| tracing::error!(pk, sk, %error, "a version item of the ledger is unreadable")).ok()
}

pub(crate) fn write_cursor(last: &Item) -> Result<String, StoreError> {
    match (last.get("pk"), last.get("sk")) {
        (Some(AttributeValue::S(pk)), Some(AttributeValue::S(sk))) => Ok(serde_json::json!([pk, sk]).to_string()),
        _ => Err(rejected("the table's keys are not the texts pk and sk")),
    }
}

pub(crate) fn read_cursor(cursor: &str) -> Result<Item, StoreError> {
    let (pk, sk) = serde_json::from_str(cursor).map_err(|_| rejected("not a cursor of this scan"))?;
    Ok(HashMap::from([("pk".to_owned(), AttributeValue::S(pk)), ("sk".to_owned(), AttributeValue::S(sk))]))
}

pub(crate) fn rejected(reason: &str) -> StoreError {
    StoreError::Rejected { store: STORE, reason: reason.to_owned() }
}

pub(crate) fn text(value: &impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}
