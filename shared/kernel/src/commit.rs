//! What one accepted request writes to the ledger, all of it or nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key::{percent_decoded, percent_encoded};
use crate::{EntityKey, EntityType, Hash, ImportedRows, KeyError, TenantCode, Timestamp, Version, VersionItem};

/// The most operations that one transaction takes (`TransactWriteItems`, "Constraints in Amazon
/// DynamoDB").
pub const MAX_OPERATIONS: usize = 100;

/// One unit of writing.
///
/// A single version, record or outcome and nothing else is one conditional put; everything else one transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// The new versions, each of another entity.
    pub versions: Vec<VersionItem>,
    /// The unique values that they take and give up.
    pub claims: Vec<ClaimChange>,
    /// What remembers the request, if it carried a key.
    pub idempotency: Option<IdempotencyRecord>,
    /// Old versions that may be dropped from a time on.
    pub expiries: Vec<Expiry>,
    /// What became of rows of an import, if they led to this.
    pub imported: Option<ImportedRows>,
}

impl Commit {
    /// Just one version.
    #[must_use]
    pub fn of(version: VersionItem) -> Self {
        Self { versions: vec![version], ..Self::default() }
    }

    /// How many operations it takes.
    #[must_use]
    pub fn operations(&self) -> usize {
        let records = usize::from(self.idempotency.is_some()) + usize::from(self.imported.is_some());
        self.versions.len() + self.claims.len() + self.expiries.len() + records
    }
}

/// A unique value: at most one living entity of a type and tenant has it in that field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// Within which tenant.
    pub tenant: TenantCode,
    /// Among which entities.
    pub entity_type: EntityType,
    /// In which field, such as `code`.
    pub field: String,
    /// The value.
    pub value: String,
}

impl Claim {
    /// `UNIQUE#{tenant}#{TYPE}#{field}#{value}`, the value percent-encoded as a sort key is.
    #[must_use]
    pub fn pk(&self) -> String {
        format!("UNIQUE#{}#{}#{}#{}", self.tenant, self.entity_type, self.field, percent_encoded(&self.value))
    }

    /// Reads a stored key back.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for any text that [`Claim::pk`] would not have written.
    pub fn parse(pk: &str) -> Result<Self, KeyError> {
        let mut parts = pk.split('#');
        let claim = match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("UNIQUE"), Some(tenant), Some(entity_type), Some(field), Some(value), None) => Self {
                tenant: tenant.parse()?,
                entity_type: entity_type.parse()?,
                field: field.to_owned(),
                value: percent_decoded(value)?.into_owned(),
            },
            _ => return Err(KeyError::Malformed),
        };
        if claim.pk() == pk { Ok(claim) } else { Err(KeyError::Malformed) }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} of {}#{}", self.field, self.value, self.entity_type, self.tenant)
    }
}

/// A unique value taken or given up, by the entity that has it from then on, or had it till then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimChange {
    /// Taken; fails if another entity holds it.
    Take(Claim, EntityKey),
    /// Given up; fails if another entity holds it.
    Release(Claim, EntityKey),
    /// Given up by one and taken by another at once; fails if a third holds it.
    Transfer {
        /// The value.
        claim: Claim,
        /// Who gives it up.
        from: EntityKey,
        /// Who takes it.
        to: EntityKey,
    },
}

impl ClaimChange {
    /// The value that changes hands.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        match self {
            Self::Take(claim, _) | Self::Release(claim, _) | Self::Transfer { claim, .. } => claim,
        }
    }

    /// The entity that makes the change: who takes the value, or gives it up to nobody.
    #[must_use]
    pub fn holder(&self) -> &EntityKey {
        match self {
            Self::Take(_, key) | Self::Release(_, key) | Self::Transfer { to: key, .. } => key,
        }
    }
}

/// What remembers a request that carried an `Idempotency-Key`, in the same transaction as its
/// effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdempotencyRecord {
    /// Whose key.
    pub tenant: TenantCode,
    /// The key as the caller sent it, percent-encoded in storage as a sort key is.
    pub key: String,
    /// What tells the same request from another one with the same key.
    pub payload_hash: Hash,
    /// What the request led to, in the order of its parts.
    pub produced: Vec<Produced>,
    /// When the record stops to count. Checked by us, not left to DynamoDB's TTL.
    pub expires_at: Timestamp,
}

impl IdempotencyRecord {
    /// `IDEMPOTENCY#{tenant}#{key}`.
    #[must_use]
    pub fn pk(&self) -> String {
        Self::pk_of(&self.tenant, &self.key)
    }

    /// The stored key of a caller's key.
    #[must_use]
    pub fn pk_of(tenant: &TenantCode, key: &str) -> String {
        format!("IDEMPOTENCY#{tenant}#{}", percent_encoded(key))
    }
}

/// One outcome of a remembered request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Produced {
    /// The entity.
    pub id: EntityKey,
    /// Its version when the request was answered.
    pub version: Version,
    /// Whether the request wrote that version, or found nothing to do.
    pub changed: bool,
}

/// An old version that may be dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Of which entity.
    pub key: EntityKey,
    /// Which version; never the first, and never the newest.
    pub version: Version,
    /// From when on.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claims_key_reads_back_whatever_the_value() {
        for value in ["R-7", "a#b", "50%", "@", "\u{1}", "é", "a%23b"] {
            let claim = Claim {
                tenant: "acme".parse().unwrap(),
                entity_type: "PRODUCT".parse().unwrap(),
                field: "code".to_owned(),
                value: value.to_owned(),
            };
            assert_eq!(Claim::parse(&claim.pk()), Ok(claim), "{value}");
        }
        assert_eq!(Claim::parse("UNIQUE#acme#PRODUCT#code#a#b"), Err(KeyError::Malformed));
        assert_eq!(Claim::parse("UNIQUE#acme#PRODUCT#code#%61"), Err(KeyError::Malformed));
    }

    #[test]
    fn keys_are_spelled_as_documented() {
        let claim = Claim {
            tenant: "acme".parse().unwrap(),
            entity_type: "PRODUCT".parse().unwrap(),
            field: "code".to_owned(),
            value: "R#7".to_owned(),
        };
        assert_eq!(claim.pk(), "UNIQUE#acme#PRODUCT#code#R%237");
        assert_eq!(IdempotencyRecord::pk_of(&"acme".parse().unwrap(), "k 1"), "IDEMPOTENCY#acme#k 1");
    }
}
