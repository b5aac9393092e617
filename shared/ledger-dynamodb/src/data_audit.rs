//! What the data table has, for comparing it with the ledger.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use ledgerline_kernel::ports::{Digest, ReadModelAudit, StateSink, StoreError};
use ledgerline_kernel::{DynDomain, Entity, EntityKey, Hash, PartitionKey, SortKey, TenantCode, Version, VersionItem};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::data_table::{DynamoDataTable, STORE};
use crate::errors::{condition_failed, item_error, store_error};
use crate::index::field;
use crate::ledger::{Item, text};

/// What is sent of an item: all but its attributes.
const FIELDS: &str = "pk, sk, id, #type, tenantCode, code, #name, version, isDeleted, #hash, createdAt, createdBy, \
                      createdIp, updatedAt, updatedBy, updatedIp";

/// Those of these names that DynamoDB wants for itself.
const NAMES: [(&str, &str); 3] = [("#type", "type"), ("#name", "name"), ("#hash", "hash")];

/// DynamoDB's limit on a batch of reads.
const BATCH: usize = 100;

/// How often keys that DynamoDB did not get to are asked for again, each time after twice as long.
const ATTEMPTS: u32 = 8;

/// The first of these pauses.
const PAUSE: Duration = Duration::from_millis(20);

#[async_trait]
impl ReadModelAudit for DynamoDataTable {
    fn name(&self) -> &'static str {
        StateSink::name(self)
    }

    async fn held(
        &self,
        _: &dyn DynDomain,
        keys: &[EntityKey],
    ) -> Result<BTreeMap<EntityKey, (Version, Hash)>, StoreError> {
        let mut held = BTreeMap::new();
        for keys in keys.chunks(BATCH) {
            for item in self.batch(keys).await? {
                held.extend(read(item));
            }
        }
        Ok(held)
    }

    async fn digest(&self, domain: &dyn DynDomain, tenant: &TenantCode) -> Result<Digest, StoreError> {
        let (partition, mut digest, mut from) = (partition_of(domain, tenant), Digest::default(), None);
        loop {
            let (items, next) = self.rows(&partition, from, None).await?;
            for item in items {
                // A row that cannot be read is one too many, or one that is wrong: it must show.
                let hash = read(item).map_or_else(Hash::genesis, |(_, (_, hash))| hash);
                digest.add(&hash);
            }
            match next {
                Some(next) => from = Some(next),
                None => return Ok(digest),
            }
        }
    }

    async fn entities(
        &self,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        after: Option<&SortKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        let partition = partition_of(domain, tenant);
        let mut from = after.map(|sk| row_key(&EntityKey { partition: partition.clone(), sk: sk.clone() }));
        let mut keys = Vec::new();
        while keys.len() < limit {
            let (items, next) = self.rows(&partition, from, Some(limit - keys.len())).await?;
            let key = |item: &Item| Some(EntityKey { partition: partition.clone(), sk: sort_key(item)? });
            keys.extend(items.iter().filter_map(key));
            match next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        Ok(keys)
    }

    async fn replace(&self, _: &dyn DynDomain, item: &VersionItem, held: Version) -> Result<bool, StoreError> {
        let row = to_item(Entity::from(item)).map_err(|error| item_error(STORE, &error))?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(row))
            .condition_expression("version = :held")
            .expression_attribute_values(":held", AttributeValue::N(held.to_string()))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) => condition_failed(STORE, error).map(|_| false),
        }
    }
}

impl DynamoDataTable {
    /// The rows of these entities, strongly consistent, however often DynamoDB has to be asked.
    async fn batch(&self, keys: &[EntityKey]) -> Result<Vec<Item>, StoreError> {
        let mut asked = KeysAndAttributes::builder()
            .consistent_read(true)
            .projection_expression(FIELDS)
            .set_expression_attribute_names(Some(names()))
            .set_keys(Some(keys.iter().map(row_key).collect()))
            .build()
            .map_err(|error| StoreError::Rejected { store: STORE, reason: error.to_string() })?;
        let mut items = Vec::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
            }
            let request = self.client.batch_get_item().request_items(&self.table, asked);
            let answer = request.send().await.map_err(|error| store_error(STORE, &error))?;
            items.extend(answer.responses.unwrap_or_default().remove(&self.table).unwrap_or_default());
            match answer.unprocessed_keys.unwrap_or_default().remove(&self.table) {
                Some(left) if !left.keys().is_empty() => asked = left,
                _ => return Ok(items),
            }
        }
        let reason = format!("{} keys were still unprocessed after {ATTEMPTS} attempts", asked.keys().len());
        Err(StoreError::Unavailable { store: STORE, reason })
    }

    async fn rows(
        &self,
        partition: &PartitionKey,
        from: Option<Item>,
        limit: Option<usize>,
    ) -> Result<(Vec<Item>, Option<Item>), StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(partition))
            .projection_expression(FIELDS)
            .set_expression_attribute_names(Some(names()))
            .set_limit(limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX)))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }
}

fn partition_of(domain: &dyn DynDomain, tenant: &TenantCode) -> PartitionKey {
    PartitionKey { entity_type: domain.entity_type().clone(), tenant: tenant.clone() }
}

fn row_key(key: &EntityKey) -> Item {
    HashMap::from([("pk".to_owned(), text(&key.partition)), ("sk".to_owned(), AttributeValue::S(key.sk.encoded()))])
}

fn sort_key(item: &Item) -> Option<SortKey> {
    SortKey::decode(field(item, "sk")).ok()
}

fn names() -> HashMap<String, String> {
    NAMES.map(|(short, name)| (short.to_owned(), name.to_owned())).into()
}

/// None for a row that has no version that there can be. One that no reader could read counts as another
/// one, whatever it says.
fn read(mut item: Item) -> Option<(EntityKey, (Version, Hash))> {
    let key = EntityKey { partition: field(&item, "pk").parse().ok()?, sk: sort_key(&item)? };
    let version = item.get("version")?.as_n().ok()?.parse().ok()?;
    item.insert("attributes".to_owned(), AttributeValue::M(HashMap::new()));
    let hash = match from_item::<Entity>(item) {
        Ok(entity) => entity.hash,
        Err(error) => {
            tracing::error!(entity.id = %key, %error, "a row of the data table cannot be read");
            Hash::of(&error.to_string())
        }
    };
    Some((key, (version, hash)))
}
