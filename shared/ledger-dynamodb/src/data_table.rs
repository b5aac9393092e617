use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use futures::{StreamExt, TryStreamExt};
use ledgerline_kernel::ports::{Applied, EntityRead, KeyPage, KeyQuery, KeyRange, StateSink, StoreError};
use ledgerline_kernel::{DynDomain, Entity, EntityKey, SortKey, VersionItem};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::errors::{condition_failed, item_error, store_error};
use crate::index::field;

pub(crate) const STORE: &str = "the data table";

/// Writes under way at once. DynamoDB has no conditional batch write; this bounds what one batch
/// asks of the table and of the client's connections.
const CONCURRENCY: usize = 16;

/// The newest state of each entity, in a DynamoDB table with the text keys `pk` and `sk`.
#[derive(Debug, Clone)]
pub struct DynamoDataTable {
    pub(crate) client: Client,
    pub(crate) table: String,
}

impl DynamoDataTable {
    /// The data table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    async fn put(&self, item: &VersionItem) -> Result<Outcome, StoreError> {
        let row = to_item(Entity::from(item)).map_err(|error| item_error(STORE, &error))?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(row))
            // A row without a version says nothing that has to be kept.
            .condition_expression(
                "attribute_not_exists(pk) OR version < :version OR NOT attribute_type(version, :number)",
            )
            .expression_attribute_values(":version", AttributeValue::N(item.version.to_string()))
            .expression_attribute_values(":number", AttributeValue::S("N".to_owned()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Outcome::Written),
            Err(error) => match condition_failed(STORE, error)? {
                Some(held) if is_fork(&held, item) => Ok(Outcome::Fork(item.key.clone())),
                _ => Ok(Outcome::Unchanged),
            },
        }
    }
}

enum Outcome {
    Written,
    Unchanged,
    Fork(EntityKey),
}

fn is_fork(held: &HashMap<String, AttributeValue>, item: &VersionItem) -> bool {
    let version = held.get("version").and_then(|value| value.as_n().ok());
    let hash = held.get("hash").and_then(|value| value.as_s().ok());
    version == Some(&item.version.to_string()) && hash.map(String::as_str) != Some(item.hash.as_str())
}

#[async_trait]
impl StateSink for DynamoDataTable {
    fn name(&self) -> &'static str {
        "data-table"
    }

    async fn apply(&self, _: &dyn DynDomain, items: &[&VersionItem]) -> Result<Applied, StoreError> {
        // Collected first: mapped lazily, the closure's lifetimes are more than the compiler can prove
        // within an async trait.
        let puts: Vec<_> = items.iter().map(|item| self.put(item)).collect();
        futures::stream::iter(puts)
            .buffer_unordered(CONCURRENCY)
            .try_fold(Applied::default(), async |mut applied, outcome| {
                match outcome {
                    Outcome::Written => applied.written += 1,
                    Outcome::Unchanged => applied.unchanged += 1,
                    Outcome::Fork(key) => applied.forks.push(key),
                }
                Ok(applied)
            })
            .await
    }
}

#[async_trait]
impl EntityRead for DynamoDataTable {
    /// Strongly consistent: half the price is not worth an entity that steps back in time between
    /// two reads.
    async fn get(&self, key: &EntityKey) -> Result<Option<Entity>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .consistent_read(true)
            .key("pk", AttributeValue::S(key.partition.to_string()))
            .key("sk", AttributeValue::S(key.sk.encoded()))
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        answer.item.map(read).transpose()
    }

    /// As many requests as it takes to fill the page, up to ten: DynamoDB ends a page at
    /// 1 MB, and leaves out what is deleted only after it has counted it. A row that cannot be read is
    /// no reason to keep the others from their reader: it is counted, and named in the log.
    async fn range(&self, query: &KeyQuery) -> Result<KeyPage, StoreError> {
        if let KeyRange::Between(Some(from), Some(end)) = &query.keys
            && from.encoded() >= end.encoded()
        {
            // DynamoDB takes that for a mistake.
            return Ok(KeyPage::default());
        }
        let partition = query.partition.to_string();
        let mut page = KeyPage { next: query.after.clone(), ..KeyPage::default() };
        let mut last = query.after.clone();
        for request in 0..REQUESTS {
            // One more than fits, to know whether there is a next page; what is deleted is not known
            // beforehand, so that after the first request more is looked at.
            let missing = query.limit.saturating_add(1).saturating_sub(page.entities.len());
            let examined = if request == 0 { missing } else { missing.max(EXAMINED) };
            let answer = self
                .in_range(&partition, query)
                .limit(i32::try_from(examined).unwrap_or(i32::MAX))
                .set_exclusive_start_key(page.next.as_ref().map(|sk| key(&partition, sk)))
                .send()
                .await
                .map_err(|error| store_error(STORE, &error))?;
            for item in answer.items.unwrap_or_default() {
                let sk = field(&item, "sk").to_owned();
                // The end of a range counts as within it for DynamoDB. It comes last.
                if matches!(&query.keys, KeyRange::Between(_, Some(end)) if sk == end.encoded()) {
                    continue;
                }
                match read(item) {
                    Ok(_) if page.entities.len() >= query.limit => return Ok(KeyPage { next: last, ..page }),
                    Ok(entity) => page.entities.push(entity),
                    Err(error) => {
                        tracing::error!(pk = partition, sk, %error, "a list leaves out a row that cannot be read");
                        page.unreadable += 1;
                    }
                }
                last = Some(sk);
            }
            page.next = answer.last_evaluated_key.and_then(|key| key.get("sk")?.as_s().ok().cloned());
            if page.next.is_none() {
                return Ok(page);
            }
        }
        Ok(page)
    }
}

/// Requests for one page of a range. One that has not been filled by then is handed out as it is.
const REQUESTS: usize = 10;

/// Items that a request looks at once it is known that some of them are deleted.
const EXAMINED: usize = 200;

impl DynamoDataTable {
    fn in_range(&self, partition: &str, query: &KeyQuery) -> QueryFluentBuilder {
        let text = |key: &SortKey| AttributeValue::S(key.encoded());
        let (condition, values) = match &query.keys {
            KeyRange::Prefix(prefix) => ("pk = :pk AND begins_with(sk, :from)", [Some((":from", text(prefix))), None]),
            KeyRange::Between(None, None) => ("pk = :pk", [None, None]),
            KeyRange::Between(Some(from), None) => ("pk = :pk AND sk >= :from", [Some((":from", text(from))), None]),
            KeyRange::Between(None, Some(end)) => ("pk = :pk AND sk < :end", [None, Some((":end", text(end)))]),
            KeyRange::Between(Some(from), Some(end)) => {
                ("pk = :pk AND sk BETWEEN :from AND :end", [Some((":from", text(from))), Some((":end", text(end)))])
            }
        };
        let mut request = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression(condition)
            .expression_attribute_values(":pk", AttributeValue::S(partition.to_owned()));
        for (name, value) in values.into_iter().flatten() {
            request = request.expression_attribute_values(name, value);
        }
        if !query.include_deleted {
            // A row that does not say so is one that cannot be read: to be counted, not to be lost.
            request = request
                .filter_expression("attribute_not_exists(isDeleted) OR isDeleted <> :yes")
                .expression_attribute_values(":yes", AttributeValue::Bool(true));
        }
        request
    }
}

fn key(partition: &str, sk: &str) -> HashMap<String, AttributeValue> {
    [("pk", partition), ("sk", sk)].map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned()))).into()
}

fn read(item: HashMap<String, AttributeValue>) -> Result<Entity, StoreError> {
    from_item(item).map_err(|error| item_error(STORE, &error))
}
