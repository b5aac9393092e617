use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use futures::{StreamExt, TryStreamExt};
use ledgerline_kernel::ports::{Applied, EntityRead, StateSink, StoreError};
use ledgerline_kernel::{DynDomain, Entity, EntityKey, VersionItem};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::errors::{condition_failed, item_error, store_error};

const STORE: &str = "the data table";

/// Writes under way at once. DynamoDB has no conditional batch write; this bounds what one batch
/// asks of the table and of the client's connections.
const CONCURRENCY: usize = 16;

/// The newest state of each entity, in a DynamoDB table with the text keys `pk` and `sk`.
#[derive(Debug, Clone)]
pub struct DynamoDataTable {
    client: Client,
    table: String,
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
            .condition_expression("attribute_not_exists(pk) OR version < :version")
            .expression_attribute_values(":version", AttributeValue::N(item.version.to_string()))
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
        "data table"
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
        answer.item.map(|item| from_item(item).map_err(|error| item_error(STORE, &error))).transpose()
    }
}
