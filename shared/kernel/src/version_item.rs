use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::canonical::push_string;
use crate::{CanonicalError, EntityKey, KeyError, Timestamp, Version};

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
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Hash {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(hex) { Ok(Self(text)) } else { Err(KeyError::Malformed) }
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

/// One row of the ledger: the events of one accepted command and the entity's whole state after
/// them. Immutable once stored.
///
/// `hash` covers every other field but `ttl`, `prev_hash` among them, so the versions of an entity
/// form a chain: nobody can change or drop one unseen, and two writers cannot fork it unseen.
///
/// Its serialised form is the flat item of the ledger table: [`VersionItem::fields`].
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
        let mut text = String::with_capacity(2048);
        text.push('{');
        for (name, value) in self.fields().filter(|(name, _)| !matches!(*name, "hash" | "ttl")) {
            if text.len() > 1 {
                text.push(',');
            }
            push_string(name, &mut text);
            text.push(':');
            value.push_canonical(&mut text)?;
        }
        text.push('}');
        Ok(Hash::of(&text))
    }

    /// The domain's own attributes: the `attributes` object of the state.
    #[must_use]
    pub fn attributes(&self) -> Value {
        self.state.get("attributes").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    }
}

#[cfg(test)]
#[path = "version_item_tests.rs"]
mod tests;
