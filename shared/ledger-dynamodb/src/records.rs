//! The items of the ledger table that are not versions.

use std::borrow::Cow;

use aws_sdk_dynamodb::types::AttributeValue;
use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{
    Claim, EntityKey, EntityType, Hash, IdempotencyRecord, Produced, SortKey, TenantCode, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::errors::item_error;
use crate::ledger::{Item, STORE};

/// The sort key and the kind of every claim.
pub(crate) const CLAIM: &str = "claim";
/// The sort key and the kind of every idempotency record.
pub(crate) const IDEMPOTENCY: &str = "idempotency";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClaimRecord<'a> {
    pk: String,
    sk: &'static str,
    kind: &'static str,
    tenant_code: &'a TenantCode,
    r#type: &'a EntityType,
    field: &'a str,
    value: &'a str,
    holder: &'a SortKey,
    holder_id: &'a EntityKey,
}

/// The item of a claim that `holder` has.
pub(crate) fn claim_item(claim: &Claim, holder: &EntityKey) -> Result<Item, StoreError> {
    to_item(ClaimRecord {
        pk: claim.pk(),
        sk: CLAIM,
        kind: CLAIM,
        tenant_code: &claim.tenant,
        r#type: &claim.entity_type,
        field: &claim.field,
        value: &claim.value,
        holder: &holder.sk,
        holder_id: holder,
    })
    .map_err(|error| item_error(STORE, &error))
}

/// Who has the claim that this item is.
pub(crate) fn claim_holder(item: Item) -> Result<EntityKey, StoreError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Held {
        holder_id: EntityKey,
    }
    from_item(item).map(|held: Held| held.holder_id).map_err(|error| item_error(STORE, &error))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredIdempotency<'a> {
    pk: String,
    sk: Cow<'a, str>,
    kind: Cow<'a, str>,
    payload_hash: Cow<'a, Hash>,
    produced: Cow<'a, [Produced]>,
    expires_at: Timestamp,
    ttl: i64,
}

/// The item of an idempotency record.
pub(crate) fn idempotency_item(record: &IdempotencyRecord) -> Result<Item, StoreError> {
    to_item(StoredIdempotency {
        pk: record.pk(),
        sk: IDEMPOTENCY.into(),
        kind: IDEMPOTENCY.into(),
        payload_hash: Cow::Borrowed(&record.payload_hash),
        produced: (&*record.produced).into(),
        expires_at: record.expires_at,
        ttl: ttl(record.expires_at),
    })
    .map_err(|error| item_error(STORE, &error))
}

/// The record that is stored under this key of this tenant.
pub(crate) fn idempotency_record(tenant: &TenantCode, key: &str, item: Item) -> Result<IdempotencyRecord, StoreError> {
    let stored: StoredIdempotency<'_> = from_item(item).map_err(|error| item_error(STORE, &error))?;
    Ok(IdempotencyRecord {
        tenant: tenant.clone(),
        key: key.to_owned(),
        payload_hash: stored.payload_hash.into_owned(),
        produced: stored.produced.into_owned(),
        expires_at: stored.expires_at,
    })
}

/// DynamoDB's idea of a moment: whole seconds, rounded up so that nothing goes before its time.
pub(crate) fn ttl(at: Timestamp) -> i64 {
    let moment = at.as_datetime();
    moment.timestamp() + i64::from(moment.timestamp_subsec_nanos() > 0)
}

/// The key of an item, as `Update` and `Delete` take it.
pub(crate) fn item_key(pk: String, sk: String) -> Item {
    Item::from([("pk".to_owned(), AttributeValue::S(pk)), ("sk".to_owned(), AttributeValue::S(sk))])
}
