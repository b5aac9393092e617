//! A version item as it is stored: flat, its fields by name.

use std::borrow::Cow;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::canonical::{push_string, write};
use crate::key::percent_encoded;
use crate::{
    CanonicalError, EntityKey, Hash, PartitionKey, Stamp, StoredEvent, Timestamp, Version, VersionItem, VersionedKey,
};

const KIND: &str = "version";

/// The value of one stored field.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum StoredValue<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// What happened.
    Events(&'a [StoredEvent]),
    /// The state.
    Json(&'a Value),
}

impl StoredValue<'_> {
    /// See [`crate::canonical_json`].
    pub(crate) fn push_canonical(&self, text: &mut String) -> Result<(), CanonicalError> {
        match self {
            Self::Text(value) => push_string(value, text),
            Self::Number(number) => text.push_str(&number.to_string()),
            Self::Flag(flag) => text.push_str(if *flag { "true" } else { "false" }),
            Self::Json(value) => write(value, text)?,
            Self::Events(events) => {
                text.push('[');
                for (index, event) in events.iter().enumerate() {
                    text.push_str(if index > 0 { ",{\"data\":" } else { "{\"data\":" });
                    write(&event.data, text)?;
                    text.push_str(",\"type\":");
                    push_string(&event.name, text);
                    text.push_str(&format!(",\"v\":{}}}", event.v));
                }
                text.push(']');
            }
        }
        Ok(())
    }
}

impl VersionItem {
    /// The stored form: every field that there is, in byte order of the names.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, StoredValue<'_>)> {
        use StoredValue::{Events, Flag, Json, Number};
        let PartitionKey { entity_type, tenant } = &self.key.partition;
        let sk = percent_encoded(self.key.sk.as_str());
        [
            ("code", text(&self.code)),
            ("commandId", text(&self.command_id)),
            ("createdAt", owned(self.created.at.text())),
            ("createdBy", text(&self.created.by)),
            ("createdIp", text(&self.created.ip)),
            ("events", Some(Events(&self.events))),
            ("hash", text(self.hash.as_str())),
            ("id", owned(self.key.text())),
            ("isDeleted", Some(Flag(self.is_deleted))),
            ("kind", text(KIND)),
            ("name", text(&self.name)),
            ("pk", owned([entity_type.as_str(), "#", tenant.as_str()].concat())),
            ("prevHash", text(self.prev_hash.as_str())),
            ("requestId", text(&self.request_id)),
            ("sk", owned([&sk, "@", &self.version.padded()].concat())),
            ("source", text(&self.source)),
            ("state", Some(Json(&self.state))),
            ("tenantCode", text(tenant.as_str())),
            ("traceparent", self.traceparent.as_deref().and_then(text)),
            ("ttl", self.ttl.map(Number)),
            ("type", text(entity_type.as_str())),
            ("updatedAt", owned(self.updated.at.text())),
            ("updatedBy", text(&self.updated.by)),
            ("updatedIp", text(&self.updated.ip)),
            // Ten digits at most.
            ("version", i64::try_from(self.version.number()).ok().map(Number)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

fn text(text: &str) -> Option<StoredValue<'_>> {
    Some(StoredValue::Text(Cow::Borrowed(text)))
}

fn owned(text: String) -> Option<StoredValue<'static>> {
    Some(StoredValue::Text(Cow::Owned(text)))
}

impl Serialize for VersionItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.fields() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    pk: PartitionKey,
    sk: VersionedKey,
    kind: String,
    id: String,
    r#type: String,
    tenant_code: String,
    code: String,
    name: String,
    version: Version,
    is_deleted: bool,
    events: Vec<StoredEvent>,
    state: Value,
    command_id: String,
    request_id: String,
    source: String,
    #[serde(default)]
    traceparent: Option<String>,
    created_at: Timestamp,
    created_by: String,
    created_ip: String,
    updated_at: Timestamp,
    updated_by: String,
    updated_ip: String,
    prev_hash: Hash,
    hash: Hash,
    #[serde(default)]
    ttl: Option<i64>,
}

impl<'de> Deserialize<'de> for VersionItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = Record::deserialize(deserializer)?;
        let key = EntityKey { partition: record.pk, sk: record.sk.sk };
        let consistent = record.kind == KIND
            && record.id == key.text()
            && record.sk.version == record.version
            && record.r#type == key.partition.entity_type.as_str()
            && record.tenant_code == key.partition.tenant.as_str();
        if !consistent {
            return Err(serde::de::Error::custom("the item's key and its fields disagree"));
        }
        Ok(Self {
            key,
            version: record.version,
            code: record.code,
            name: record.name,
            is_deleted: record.is_deleted,
            events: record.events,
            state: record.state,
            command_id: record.command_id,
            request_id: record.request_id,
            source: record.source,
            traceparent: record.traceparent,
            created: Stamp { at: record.created_at, by: record.created_by, ip: record.created_ip },
            updated: Stamp { at: record.updated_at, by: record.updated_by, ip: record.updated_ip },
            prev_hash: record.prev_hash,
            hash: record.hash,
            ttl: record.ttl,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Draft, canonical_json};

    #[test]
    fn the_hash_is_that_of_the_stored_form_in_canonical_json() {
        let event =
            |name: &str, v| StoredEvent { name: name.to_owned(), v, data: json!({"b": [1, null], "a": "\"\n"}) };
        let stamp = Stamp { at: "2026-11-20T08:00:00Z".parse().unwrap(), by: "\u{1}".into(), ip: String::new() };
        let draft = Draft {
            code: "R\"7".into(),
            name: "Ring\n".into(),
            is_deleted: true,
            events: vec![event("Created", 1), event("Dreamt", 12)],
            state: json!({"z": {"b": -1, "a": true}, "attributes": {}}),
            command_id: "c".into(),
            request_id: "r".into(),
            source: "s".into(),
            traceparent: Some("00-1".into()),
            stamp,
        };
        let key = "PRODUCT#acme#a%40b".parse().unwrap();
        let item = VersionItem::chain(key, Version::FIRST, None, draft).unwrap();
        let mut stored = serde_json::to_value(VersionItem { ttl: Some(7), ..item.clone() }).unwrap();
        assert_eq!(stored.as_object_mut().unwrap().remove("ttl"), Some(json!(7)));
        stored.as_object_mut().unwrap().remove("hash");
        assert_eq!(item.computed_hash(), Ok(Hash::of(&canonical_json(&stored).unwrap())));
    }

    #[test]
    fn the_fields_are_in_the_order_that_a_hash_takes_them_in() {
        let stamp = Stamp { at: "2026-11-20T08:00:00Z".parse().unwrap(), by: "ann".into(), ip: String::new() };
        let draft = Draft {
            code: "c".into(),
            name: "n".into(),
            is_deleted: false,
            events: vec![],
            state: json!({}),
            command_id: "c".into(),
            request_id: "r".into(),
            source: "s".into(),
            traceparent: Some("t".into()),
            stamp,
        };
        let mut item = VersionItem::chain("PRODUCT#acme#a".parse().unwrap(), Version::FIRST, None, draft).unwrap();
        item.ttl = Some(1);
        let names: Vec<_> = item.fields().map(|(name, _)| name).collect();
        assert!(names.is_sorted() && names.len() == 25, "{names:?}");
    }
}
