//! The items of the ledger table.

use std::borrow::Cow;

use aws_sdk_dynamodb::types::AttributeValue;
use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{
    Claim, EntityKey, Hash, IdempotencyRecord, Produced, StoredEvent, StoredValue, TenantCode, Timestamp, VersionItem,
};
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};
use serde_json::Value;

use crate::errors::item_error;
use crate::ledger::{Item, STORE};

/// The sort key and the kind of every claim.
pub(crate) const CLAIM: &str = "claim";
/// The sort key and the kind of every idempotency record.
pub(crate) const IDEMPOTENCY: &str = "idempotency";

/// The item of a version: what `serde_dynamo` makes of it, in half of the time.
pub(crate) fn version_item(version: &VersionItem) -> Item {
    let mut item = Item::with_capacity(25);
    item.extend(version.fields().map(|(name, value)| (name.to_owned(), attribute(value))));
    item
}

fn attribute(value: StoredValue<'_>) -> AttributeValue {
    match value {
        StoredValue::Text(text) => AttributeValue::S(text.into_owned()),
        StoredValue::Number(number) => AttributeValue::N(number.to_string()),
        StoredValue::Flag(flag) => AttributeValue::Bool(flag),
        StoredValue::Events(events) => AttributeValue::L(events.iter().map(event).collect()),
        StoredValue::Json(value) => json(value),
    }
}

fn event(event: &StoredEvent) -> AttributeValue {
    AttributeValue::M(Item::from([
        ("type".to_owned(), AttributeValue::S(event.name.clone())),
        ("v".to_owned(), AttributeValue::N(event.v.to_string())),
        ("data".to_owned(), json(&event.data)),
    ]))
}

fn json(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(values) => AttributeValue::L(values.iter().map(json).collect()),
        Value::Object(fields) => {
            AttributeValue::M(fields.iter().map(|(name, value)| (name.clone(), json(value))).collect())
        }
    }
}

/// The item of a claim that `holder` has.
pub(crate) fn claim_item(claim: &Claim, holder: &EntityKey) -> Item {
    let text = |name: &str, text: String| (name.to_owned(), AttributeValue::S(text));
    Item::from([
        text("pk", claim.pk()),
        text("sk", CLAIM.to_owned()),
        text("kind", CLAIM.to_owned()),
        text("tenantCode", claim.tenant.to_string()),
        text("type", claim.entity_type.to_string()),
        text("field", claim.field.clone()),
        text("value", claim.value.clone()),
        text("holder", holder.sk.to_string()),
        text("holderId", holder.to_string()),
    ])
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

#[cfg(test)]
mod tests {
    use ledgerline_testkit::{note_key, version_items};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_is_the_item_that_serde_dynamo_would_make() {
        for mut version in version_items(&note_key("a@b"), 2) {
            assert_eq!(version_item(&version), to_item(&version).unwrap());
            version.ttl = Some(-1);
            version.traceparent = Some("00-1".to_owned());
            version.state = json!({"": null, "a": [true, -7, u64::MAX, "", {}, []], "attributes": {"b": {"c": "é"}}});
            assert_eq!(version_item(&version), to_item(&version).unwrap());
        }
    }
}
