use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    CanonicalError, EntityKey, EntityType, KeyError, PartitionKey, TenantCode, Timestamp, Version, VersionedKey,
    canonical_json,
};

/// An event as the ledger keeps it: its name, the version of its shape, and its data.
///
/// A stored shape is never edited; a changed event gets the next `v`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// The event's name, past tense, such as `PriceChanged`.
    #[serde(rename = "type")]
    pub name: String,
    /// The version of the event's stored shape, from 1.
    pub v: u32,
    /// What happened.
    pub data: Value,
}

/// Who did something, when, and from which address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// When.
    pub at: Timestamp,
    /// The verified subject.
    pub by: String,
    /// The caller's IP address, empty where there is none.
    pub ip: String,
}

/// A SHA-256 in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(String);

impl Hash {
    /// What the first version of an entity names as its predecessor's hash: 64 zeros.
    #[must_use]
    pub fn genesis() -> Self {
        Self("0".repeat(64))
    }

    /// The hash of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let mut hex = String::with_capacity(64);
        for byte in digest {
            for nibble in [byte >> 4, byte & 0xF] {
                hex.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        Self(hex)
    }

    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Hash {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(hex) { Ok(Self(text.to_owned())) } else { Err(KeyError::Malformed) }
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One row of the ledger: the events of one accepted command and the entity's whole state after
/// them. Immutable once stored.
///
/// `hash` covers every other field but `ttl`, `prev_hash` among them, so the versions of an entity
/// form a chain: nobody can change or drop one unseen, and two writers cannot fork it unseen.
///
/// Its serialised form is the flat item of the ledger table (camelCase names, `kind` = `version`,
/// `sk` = [`VersionedKey`]).
#[derive(Debug, Clone, PartialEq)]
pub struct VersionItem {
    /// Which entity.
    pub key: EntityKey,
    /// Which version of it.
    pub version: Version,
    /// The entity's business code after this version.
    pub code: String,
    /// The entity's name after this version.
    pub name: String,
    /// Whether the entity is deleted after this version.
    pub is_deleted: bool,
    /// What happened, in order; at least one.
    pub events: Vec<StoredEvent>,
    /// The whole state after the events, so that loading an entity is one read.
    pub state: Value,
    /// The command that wrote this: tells an ambiguous retry of our own write from somebody else's.
    pub command_id: String,
    /// The request that carried the command.
    pub request_id: String,
    /// Which entry point it came through, such as `command-api`.
    pub source: String,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
    /// Who made the first version.
    pub created: Stamp,
    /// Who made this version.
    pub updated: Stamp,
    /// The hash of the version before, [`Hash::genesis`] for the first.
    pub prev_hash: Hash,
    /// The hash of this version.
    pub hash: Hash,
    /// When DynamoDB may drop it, in seconds since 1970. Not covered by the hash.
    pub ttl: Option<i64>,
}

/// What a new version says, before it has its place in the chain.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The entity's business code after the events.
    pub code: String,
    /// The entity's name after the events.
    pub name: String,
    /// Whether the entity is deleted after the events.
    pub is_deleted: bool,
    /// What happened, in order.
    pub events: Vec<StoredEvent>,
    /// The whole state after the events.
    pub state: Value,
    /// See [`VersionItem::command_id`].
    pub command_id: String,
    /// See [`VersionItem::request_id`].
    pub request_id: String,
    /// See [`VersionItem::source`].
    pub source: String,
    /// See [`VersionItem::traceparent`].
    pub traceparent: Option<String>,
    /// Who makes this version.
    pub stamp: Stamp,
}

impl VersionItem {
    /// Chains `draft` behind `previous` (none for a create) and hashes it.
    ///
    /// # Errors
    /// [`CanonicalError`] if the state or an event holds a number that is not whole.
    pub fn chain(
        key: EntityKey,
        version: Version,
        previous: Option<&Self>,
        draft: Draft,
    ) -> Result<Self, CanonicalError> {
        let mut item = Self {
            key,
            version,
            code: draft.code,
            name: draft.name,
            is_deleted: draft.is_deleted,
            events: draft.events,
            state: draft.state,
            command_id: draft.command_id,
            request_id: draft.request_id,
            source: draft.source,
            traceparent: draft.traceparent,
            created: previous.map_or_else(|| draft.stamp.clone(), |previous| previous.created.clone()),
            updated: draft.stamp,
            prev_hash: previous.map_or_else(Hash::genesis, |previous| previous.hash.clone()),
            hash: Hash::genesis(),
            ttl: None,
        };
        item.hash = item.computed_hash()?;
        Ok(item)
    }

    /// The hash that this item should carry. Differs from `hash` when the item was altered.
    ///
    /// # Errors
    /// [`CanonicalError`] if the state or an event holds a number that is not whole.
    pub fn computed_hash(&self) -> Result<Hash, CanonicalError> {
        let mut content = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = content.as_object_mut() {
            fields.remove("hash");
            fields.remove("ttl");
        }
        Ok(Hash::of(&canonical_json(&content)?))
    }

    /// The domain's own attributes: the `attributes` object of the state.
    #[must_use]
    pub fn attributes(&self) -> Value {
        self.state.get("attributes").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    }
}

/// The stored form. Borrowed on the way in, owned on the way out, one definition for both.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    pk: Cow<'a, PartitionKey>,
    sk: VersionedKey,
    kind: Cow<'a, str>,
    id: Cow<'a, EntityKey>,
    r#type: Cow<'a, EntityType>,
    tenant_code: Cow<'a, TenantCode>,
    code: Cow<'a, str>,
    name: Cow<'a, str>,
    version: Version,
    is_deleted: bool,
    events: Cow<'a, [StoredEvent]>,
    state: Cow<'a, Value>,
    command_id: Cow<'a, str>,
    request_id: Cow<'a, str>,
    source: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
    created_at: Timestamp,
    created_by: Cow<'a, str>,
    created_ip: Cow<'a, str>,
    updated_at: Timestamp,
    updated_by: Cow<'a, str>,
    updated_ip: Cow<'a, str>,
    prev_hash: Cow<'a, Hash>,
    hash: Cow<'a, Hash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<i64>,
}

const KIND: &str = "version";

impl Serialize for VersionItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let partition = &self.key.partition;
        Record {
            pk: Cow::Borrowed(partition),
            sk: self.key.at(self.version),
            kind: KIND.into(),
            id: Cow::Borrowed(&self.key),
            r#type: Cow::Borrowed(&partition.entity_type),
            tenant_code: Cow::Borrowed(&partition.tenant),
            code: (&*self.code).into(),
            name: (&*self.name).into(),
            version: self.version,
            is_deleted: self.is_deleted,
            events: (&*self.events).into(),
            state: Cow::Borrowed(&self.state),
            command_id: (&*self.command_id).into(),
            request_id: (&*self.request_id).into(),
            source: (&*self.source).into(),
            traceparent: self.traceparent.as_deref().map(Cow::Borrowed),
            created_at: self.created.at,
            created_by: (&*self.created.by).into(),
            created_ip: (&*self.created.ip).into(),
            updated_at: self.updated.at,
            updated_by: (&*self.updated.by).into(),
            updated_ip: (&*self.updated.ip).into(),
            prev_hash: Cow::Borrowed(&self.prev_hash),
            hash: Cow::Borrowed(&self.hash),
            ttl: self.ttl,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for VersionItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = Record::deserialize(deserializer)?;
        let key = EntityKey { partition: record.pk.into_owned(), sk: record.sk.sk.clone() };
        let consistent = record.kind == KIND
            && *record.id == key
            && record.sk.version == record.version
            && *record.r#type == key.partition.entity_type
            && *record.tenant_code == key.partition.tenant;
        if !consistent {
            return Err(serde::de::Error::custom("the item's key and its fields disagree"));
        }
        Ok(Self {
            key,
            version: record.version,
            code: record.code.into_owned(),
            name: record.name.into_owned(),
            is_deleted: record.is_deleted,
            events: record.events.into_owned(),
            state: record.state.into_owned(),
            command_id: record.command_id.into_owned(),
            request_id: record.request_id.into_owned(),
            source: record.source.into_owned(),
            traceparent: record.traceparent.map(Cow::into_owned),
            created: Stamp {
                at: record.created_at,
                by: record.created_by.into_owned(),
                ip: record.created_ip.into_owned(),
            },
            updated: Stamp {
                at: record.updated_at,
                by: record.updated_by.into_owned(),
                ip: record.updated_ip.into_owned(),
            },
            prev_hash: record.prev_hash.into_owned(),
            hash: record.hash.into_owned(),
            ttl: record.ttl,
        })
    }
}

#[cfg(test)]
#[path = "version_item_tests.rs"]
mod tests;
