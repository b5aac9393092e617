use std::fmt;

use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{Hash, VersionItem};
use serde_json::Value;

use super::rejected;

const MARK: &str = "kept:sha256:";

/// Stands for content that is kept elsewhere: `kept:sha256:{hash}:{bytes}`.
///
/// A text, because every state and every `attributes` of a domain is an object: nothing that a domain
/// or a caller comes up with can be mistaken for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) hash: Hash,
    pub(super) bytes: usize,
}

impl Reference {
    pub(super) fn to(content: &str) -> Self {
        Self { hash: Hash::of(content), bytes: content.len() }
    }

    pub(super) fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }

    /// The reference in the place of a version's events and state; none in an item that has both.
    pub(super) fn of_item(item: &VersionItem) -> Result<Option<Self>, StoreError> {
        match Self::of_value(&item.state)? {
            Some(_) if !item.events.is_empty() => {
                Err(rejected(format!("{}@{} has events beside a reference to them", item.key, item.version)))
            }
            reference => Ok(reference),
        }
    }

    /// The reference in the place of an object.
    pub(super) fn of_value(value: &Value) -> Result<Option<Self>, StoreError> {
        match value {
            Value::String(text) => match Self::parse(text) {
                Some(reference) => Ok(Some(reference)),
                None => Err(rejected("a text that is no reference stands in the place of a state".to_owned())),
            },
            _ => Ok(None),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (hash, bytes) = text.strip_prefix(MARK)?.split_once(':')?;
        Some(Self { hash: hash.parse().ok()?, bytes: bytes.parse().ok()? })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{}:{}", self.hash, self.bytes)
    }
}
