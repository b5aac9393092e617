use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{EntityKey, EntityType, Hash, PartitionKey, SortKey, Stamp, TenantCode, Timestamp, Version, VersionItem};

/// An entity as it stands at one version: what reads answer with, whichever store they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// Which entity.
    pub key: EntityKey,
    /// At which version.
    pub version: Version,
    /// The hash of the version item that this was taken from.
    pub hash: Hash,
    /// Its business code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Whether it is (softly) deleted.
    pub is_deleted: bool,
    /// The domain's own attributes, a JSON object.
    pub attributes: Value,
    /// Who made the first version, when, from where.
    pub created: Stamp,
    /// Who made this version, when, from where.
    pub updated: Stamp,
}

impl From<&VersionItem> for Entity {
    fn from(item: &VersionItem) -> Self {
        Self {
            key: item.key.clone(),
            version: item.version,
            hash: item.hash.clone(),
            code: item.code.clone(),
            name: item.name.clone(),
            is_deleted: item.is_deleted,
            attributes: item.attributes(),
            created: item.created.clone(),
            updated: item.updated.clone(),
        }
    }
}

/// The stored form in the data table: flat, with the encoded sort key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    pk: PartitionKey,
    sk: String,
    id: EntityKey,
    r#type: EntityType,
    tenant_code: TenantCode,
    code: String,
    name: String,
    version: Version,
    is_deleted: bool,
    attributes: Value,
    hash: Hash,
    created_at: Timestamp,
    created_by: String,
    created_ip: String,
    updated_at: Timestamp,
    updated_by: String,
    updated_ip: String,
}

impl Serialize for Entity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Record {
            pk: self.key.partition.clone(),
            sk: self.key.sk.encoded(),
            id: self.key.clone(),
            r#type: self.key.partition.entity_type.clone(),
            tenant_code: self.key.partition.tenant.clone(),
            code: self.code.clone(),
            name: self.name.clone(),
            version: self.version,
            is_deleted: self.is_deleted,
            attributes: self.attributes.clone(),
            hash: self.hash.clone(),
            created_at: self.created.at,
            created_by: self.created.by.clone(),
            created_ip: self.created.ip.clone(),
            updated_at: self.updated.at,
            updated_by: self.updated.by.clone(),
            updated_ip: self.updated.ip.clone(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = Record::deserialize(deserializer)?;
        let sk = SortKey::decode(&record.sk).map_err(serde::de::Error::custom)?;
        Ok(Self {
            key: EntityKey { partition: record.pk, sk },
            version: record.version,
            hash: record.hash,
            code: record.code,
            name: record.name,
            is_deleted: record.is_deleted,
            attributes: record.attributes,
            created: Stamp { at: record.created_at, by: record.created_by, ip: record.created_ip },
            updated: Stamp { at: record.updated_at, by: record.updated_by, ip: record.updated_ip },
        })
    }
}
