//! Keys: per tenant, injective, and parsed back by the exact inverse of how they are built.
//!
//! | type | looks like | is |
//! |---|---|---|
//! | [`PartitionKey`] | `PRODUCT#acme` | type and tenant |
//! | [`SortKey`] | `ring 7` | the caller's own code, as typed |
//! | [`EntityKey`] | `PRODUCT#acme#ring 7` | both: one entity |
//! | [`VersionedKey`] | `ring/7@0000000003` | one version of an entity |

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::is_nfc;

/// Why a key, or a part of one, was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `[A-Z][A-Z0-9_]{0,31}`.
    #[error("an entity type is a capital letter and up to 31 of A-Z, 0-9 and _")]
    EntityType,
    /// Not `[a-z0-9][a-z0-9-]{0,62}`.
    #[error("a tenant code is 1 to 63 of a-z, 0-9 and -, not beginning with -")]
    TenantCode,
    /// Empty, or longer than 128 characters.
    #[error("a sort key is 1 to 128 characters long")]
    SortKeyLength,
    /// Not in Unicode normalisation form C, so two spellings of one text could be two entities.
    #[error("a sort key is in Unicode normalisation form C")]
    SortKeyNotNfc,
    /// Contains U+0000, which Postgres cannot store.
    #[error("a sort key holds no NUL character")]
    SortKeyNul,
    /// Zero, or more than ten digits.
    #[error("a version is a whole number from 1 to 9999999999")]
    Version,
    /// A stored key that this crate would not have built.
    #[error("not a stored key of this ledger")]
    Malformed,
}

/// The kind of an entity, such as `PRODUCT`: `[A-Z][A-Z0-9_]{0,31}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityType(String);

impl FromStr for EntityType {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = text.bytes();
        let first_is_letter = bytes.next().is_some_and(|b| b.is_ascii_uppercase());
        let rest_fits = bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        if first_is_letter && rest_fits && text.len() <= 32 {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyError::EntityType)
        }
    }
}

/// The customer organisation that a request acts for: `[a-z0-9][a-z0-9-]{0,62}`.
///
/// Always taken from a verified claim, never from a body or a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantCode(String);

impl FromStr for TenantCode {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=63).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyError::TenantCode)
        }
    }
}

/// An entity's own code within its type and tenant, as the caller typed it: 1 to 128 characters in
/// Unicode normalisation form C, without NUL.
///
/// In storage `%`, `@`, `#` and control characters are percent-encoded ([`SortKey::encoded`]), so
/// that no two entities share a key or a key range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortKey(String);

impl FromStr for SortKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let characters = text.chars().take(129).count();
        if !(1..=128).contains(&characters) {
            return Err(KeyError::SortKeyLength);
        }
        if text.contains('\0') {
            return Err(KeyError::SortKeyNul);
        }
        if !is_nfc(text) {
            return Err(KeyError::SortKeyNotNfc);
        }
        Ok(Self(text.to_owned()))
    }
}

impl SortKey {
    /// The form in which the sort key is stored.
    #[must_use]
    pub fn encoded(&self) -> String {
        percent_encoded(&self.0).into_owned()
    }

    /// Reads a stored sort key back.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for any text that [`SortKey::encoded`] would not have written.
    pub fn decode(encoded: &str) -> Result<Self, KeyError> {
        let decoded: Self = percent_decoded(encoded)?.parse()?;
        // One entity, one spelling: an encoding of something that needed none is not ours.
        if percent_encoded(&decoded.0) == encoded { Ok(decoded) } else { Err(KeyError::Malformed) }
    }
}

/// A text as it stands within a stored key: `%`, `@`, `#` and control characters percent-encoded.
pub(crate) fn percent_encoded(text: &str) -> Cow<'_, str> {
    if !text.chars().any(needs_encoding) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        if needs_encoding(character) {
            let mut utf8 = [0; 4];
            for byte in character.encode_utf8(&mut utf8).bytes() {
                encoded.push('%');
                encoded.push(hex_digit(byte >> 4));
                encoded.push(hex_digit(byte & 0xF));
            }
        } else {
            encoded.push(character);
        }
    }
    Cow::Owned(encoded)
}

/// The text that [`percent_encoded`] was given; also of some texts that it would not have written.
pub(crate) fn percent_decoded(encoded: &str) -> Result<Cow<'_, str>, KeyError> {
    if !encoded.contains('%') {
        return Ok(Cow::Borrowed(encoded));
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = rest.next().and_then(hex_value).ok_or(KeyError::Malformed)?;
            let low = rest.next().and_then(hex_value).ok_or(KeyError::Malformed)?;
            bytes.push(high << 4 | low);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| KeyError::Malformed)
}

fn needs_encoding(character: char) -> bool {
    matches!(character, '%' | '@' | '#') || character.is_control()
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A version of an entity: 1 for the first, then one more for each accepted command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version that a create writes.
    pub const FIRST: Self = Self(1);
    /// The highest version that a ten-digit key can hold.
    pub const MAX: Self = Self(9_999_999_999);

    /// # Errors
    /// [`KeyError::Version`] outside 1 to [`Version::MAX`].
    pub fn new(number: u64) -> Result<Self, KeyError> {
        if (Self::FIRST.0..=Self::MAX.0).contains(&number) { Ok(Self(number)) } else { Err(KeyError::Version) }
    }

    /// The version after this one.
    ///
    /// # Errors
    /// [`KeyError::Version`] after [`Version::MAX`].
    pub fn next(self) -> Result<Self, KeyError> {
        Self::new(self.0 + 1)
    }

    /// The version as a number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// Ten digits, so that text order is version order.
    #[must_use]
    pub fn padded(self) -> String {
        format!("{:010}", self.0)
    }
}

impl FromStr for Version {
    type Err = KeyError;

    /// Plain decimal digits only: no sign, no leading zero, no blanks.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') && text.len() <= 10 {
            text.parse().map_err(|_| KeyError::Version).and_then(Self::new)
        } else {
            Err(KeyError::Version)
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `{TYPE}#{tenant}`: where the entities of one type and tenant live.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    /// The kind of entity.
    pub entity_type: EntityType,
    /// Whose entities they are.
    pub tenant: TenantCode,
}

impl FromStr for PartitionKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (entity_type, tenant) = text.split_once('#').ok_or(KeyError::Malformed)?;
        Ok(Self { entity_type: entity_type.parse()?, tenant: tenant.parse()? })
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.entity_type, self.tenant)
    }
}

/// One entity. Its text form is the entity's `id`, `{pk}#{encoded sk}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityKey {
    /// Type and tenant.
    pub partition: PartitionKey,
    /// The entity's code within them.
    pub sk: SortKey,
}

impl EntityKey {
    /// The key of the entity `sk` of this type and tenant.
    #[must_use]
    pub fn new(entity_type: EntityType, tenant: TenantCode, sk: SortKey) -> Self {
        Self { partition: PartitionKey { entity_type, tenant }, sk }
    }

    /// The stored sort key of one version.
    #[must_use]
    pub fn at(&self, version: Version) -> VersionedKey {
        VersionedKey { sk: self.sk.clone(), version }
    }

    /// Its text, put together without formatting: this is done with every item read and written.
    pub(crate) fn text(&self) -> String {
        let PartitionKey { entity_type, tenant } = &self.partition;
        [entity_type.as_str(), "#", tenant.as_str(), "#", &percent_encoded(&self.sk.0)].concat()
    }

    /// The text with which the stored sort key of every version of this entity begins, and that of
    /// no version of any other (`@` is encoded within a sort key).
    #[must_use]
    pub fn version_prefix(&self) -> String {
        format!("{}@", percent_encoded(&self.sk.0))
    }
}

impl FromStr for EntityKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (partition, sk) = text.rsplit_once('#').ok_or(KeyError::Malformed)?;
        Ok(Self { partition: partition.parse()?, sk: SortKey::decode(sk)? })
    }
}

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The sort key of one version item, `{encoded sk}@{ten-digit version}`: a different type from
/// [`SortKey`], so that the two cannot be confused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionedKey {
    /// The entity's code.
    pub sk: SortKey,
    /// Which version of it.
    pub version: Version,
}

impl FromStr for VersionedKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (sk, digits) = text.split_once('@').ok_or(KeyError::Malformed)?;
        if digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(KeyError::Malformed);
        }
        let number = digits.parse().map_err(|_| KeyError::Malformed)?;
        Ok(Self { sk: SortKey::decode(sk)?, version: Version::new(number)? })
    }
}

impl fmt::Display for VersionedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", percent_encoded(&self.sk.0), self.version.padded())
    }
}

macro_rules! text_newtype {
    ($($name:ident),*) => {$(
        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
text_newtype!(EntityType, TenantCode, SortKey);

macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(EntityType, TenantCode, SortKey, PartitionKey, EntityKey, VersionedKey);

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
