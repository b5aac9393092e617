//! Many keys in one request.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use ledgerline_kernel::ports::{LedgerLookup, StoreError};
use ledgerline_kernel::{Claim, EntityKey, KeyError, Version, VersionedKey};

use crate::commit::{ATTEMPTS, wait};
use crate::errors::store_error;
use crate::index::field;
use crate::ledger::{DynamoLedger, Item, STORE, rejected};
use crate::records::{CLAIM, item_key};

/// The most keys that one `BatchGetItem` takes.
const KEYS: usize = 100;

/// What is sent of an item. DynamoDB reads, and charges for, all of it.
const FIELDS: &str = "pk, sk, holderId";

#[async_trait]
impl LedgerLookup for DynamoLedger {
    async fn holders(&self, claims: &[Claim]) -> Result<BTreeMap<Claim, EntityKey>, StoreError> {
        let keys: BTreeSet<_> = claims.iter().map(|claim| (claim.pk(), CLAIM.to_owned())).collect();
        let held = |item: &Item| Ok((Claim::parse(field(item, "pk"))?, field(item, "holderId").parse()?));
        self.find(keys).await?.iter().map(held).collect::<Result<_, KeyError>>().map_err(|error| malformed(&error))
    }

    /// By their first versions, which no retention ever removes.
    async fn existing(&self, keys: &[EntityKey]) -> Result<BTreeSet<EntityKey>, StoreError> {
        let place = |key: &EntityKey| (key.partition.to_string(), key.at(Version::FIRST).to_string());
        let keys: BTreeSet<_> = keys.iter().map(place).collect();
        let entity = |item: &Item| {
            let VersionedKey { sk, .. } = field(item, "sk").parse()?;
            Ok(EntityKey { partition: field(item, "pk").parse()?, sk })
        };
        self.find(keys).await?.iter().map(entity).collect::<Result<_, KeyError>>().map_err(|error| malformed(&error))
    }
}

impl DynamoLedger {
    /// The items that there are under these keys, in no particular order.
    async fn find(&self, keys: BTreeSet<(String, String)>) -> Result<Vec<Item>, StoreError> {
        let keys: Vec<_> = keys.into_iter().map(|(pk, sk)| item_key(pk, sk)).collect();
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS) {
            self.find_some(keys.to_vec(), &mut found).await?;
        }
        Ok(found)
    }

    /// Asks for what DynamoDB left out again, for as long as each answer brings something, and a few
    /// times more.
    async fn find_some(&self, mut keys: Vec<Item>, found: &mut Vec<Item>) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            let asked = keys.len();
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .projection_expression(FIELDS)
                .build()
                .map_err(|error| rejected(&error.to_string()))?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, wanted)
                .send()
                .await
                .map_err(|error| store_error(STORE, &error))?;
            let tables: HashMap<_, _> = answer.responses.unwrap_or_default();
            found.extend(tables.into_values().flatten());
            let left = answer.unprocessed_keys.unwrap_or_default();
            keys = left.into_values().flat_map(|left| left.keys).collect();
            if keys.is_empty() {
                return Ok(());
            }
            attempt = if keys.len() < asked { 1 } else { attempt + 1 };
            if attempt > ATTEMPTS {
                let reason = format!("{} keys were left unprocessed", keys.len());
                return Err(StoreError::Unavailable { store: STORE, reason });
            }
            tokio::time::sleep(wait(attempt)).await;
        }
    }
}

fn malformed(error: &KeyError) -> StoreError {
    rejected(&format!("an item that was asked for by its key: {error}"))
}
