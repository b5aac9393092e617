use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ledgerline_kernel::ports::{
    Digest, IndexPage, LedgerIndex, ReadModelAudit, Resync, Resyncs, Round, Rounds, StateSink, StoreError, VersionRef,
};
use ledgerline_kernel::{
    DynDomain, Entity, EntityKey, Hash, PartitionKey, SortKey, TenantCode, Version, VersionItem, VersionedKey,
};

use crate::{MemoryEntities, MemoryLedger};

/// How many versions one page of the index holds; few, so that small tests have several.
const PAGE: usize = 7;

#[async_trait]
impl LedgerIndex for MemoryLedger {
    async fn versions(&self, partition: Option<&PartitionKey>, from: Option<String>) -> Result<IndexPage, StoreError> {
        let from = from.as_deref().map(read_cursor).transpose()?;
        let refs = |item: VersionItem| VersionRef {
            key: item.key,
            version: item.version,
            hash: item.hash,
            at: item.updated.at,
        };
        let wanted = |item: &VersionItem| {
            partition.is_none_or(|partition| item.key.partition == *partition)
                && from.as_ref().is_none_or(|(key, version)| (&item.key, item.version) > (key, *version))
        };
        let mut page: Vec<_> = self.all().into_iter().filter(wanted).take(PAGE + 1).map(refs).collect();
        let has_more = page.len() > PAGE;
        page.truncate(PAGE);
        let next = page
            .last()
            .filter(|_| has_more)
            .map(|last| format!("{}#{}", last.key.partition, last.key.at(last.version)));
        Ok(IndexPage { versions: page, unreadable: Vec::new(), next })
    }
}

fn read_cursor(cursor: &str) -> Result<(EntityKey, Version), StoreError> {
    let read = || {
        let (partition, sk) = cursor.rsplit_once('#')?;
        let VersionedKey { sk, version } = sk.parse().ok()?;
        Some((EntityKey { partition: partition.parse().ok()?, sk }, version))
    };
    read().ok_or(StoreError::Rejected { store: "the memory ledger", reason: "not a cursor of this index".to_owned() })
}

impl MemoryEntities {
    /// Loses an entity, as no projection would.
    pub fn lose(&self, key: &EntityKey) {
        self.rows().remove(key);
    }

    /// Puts an entity there, whatever was there before, as no projection would.
    pub fn put(&self, entity: Entity) {
        self.rows().insert(entity.key.clone(), entity);
    }

    fn of<'a>(
        rows: &'a BTreeMap<EntityKey, Entity>,
        domain: &'a dyn DynDomain,
        tenant: &'a TenantCode,
    ) -> impl Iterator<Item = &'a Entity> {
        rows.values().filter(move |entity| {
            entity.key.partition.entity_type == *domain.entity_type() && entity.key.partition.tenant == *tenant
        })
    }
}

#[async_trait]
impl ReadModelAudit for MemoryEntities {
    fn name(&self) -> &'static str {
        StateSink::name(self)
    }

    async fn held(
        &self,
        _: &dyn DynDomain,
        keys: &[EntityKey],
    ) -> Result<BTreeMap<EntityKey, (Version, Hash)>, StoreError> {
        let rows = self.rows();
        let held = |key: &EntityKey| rows.get(key).map(|held| (key.clone(), (held.version, held.hash.clone())));
        Ok(keys.iter().filter_map(held).collect())
    }

    async fn digest(&self, domain: &dyn DynDomain, tenant: &TenantCode) -> Result<Digest, StoreError> {
        let mut digest = Digest::default();
        for entity in Self::of(&self.rows(), domain, tenant) {
            digest.add(&entity.hash);
        }
        Ok(digest)
    }

    async fn entities(
        &self,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        after: Option<&SortKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        let rows = self.rows();
        let keys = Self::of(&rows, domain, tenant).map(|entity| &entity.key);
        Ok(keys.filter(|key| after.is_none_or(|after| key.sk > *after)).take(limit).cloned().collect())
    }

    async fn replace(&self, _: &dyn DynDomain, item: &VersionItem, held: Version) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        match rows.get_mut(&item.key).filter(|row| row.version == held) {
            Some(row) => *row = Entity::from(item),
            None => return Ok(false),
        }
        Ok(true)
    }
}

/// What was asked to be projected again, and the rounds, in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryResyncs {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    resyncs: BTreeMap<String, Resync>,
    rounds: BTreeMap<String, Round>,
}

impl MemoryResyncs {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Resyncs for MemoryResyncs {
    async fn ask(&self, resync: &Resync) -> Result<Option<Resync>, StoreError> {
        let mut kept = self.kept();
        let target = |one: &Resync| (one.tenant.clone(), one.resource.clone(), one.sk.clone());
        let same = |one: &&Resync| !one.state.is_final() && target(one) == target(resync);
        if let Some(same) = kept.resyncs.values().find(same) {
            return Ok(Some(same.clone()));
        }
        kept.resyncs.insert(resync.id.clone(), resync.clone());
        Ok(None)
    }

    async fn save(&self, resync: &Resync) -> Result<(), StoreError> {
        self.kept().resyncs.insert(resync.id.clone(), resync.clone());
        Ok(())
    }

    async fn get(&self, tenant: &TenantCode, id: &str) -> Result<Option<Resync>, StoreError> {
        Ok(self.kept().resyncs.get(id).filter(|resync| resync.tenant == *tenant).cloned())
    }

    async fn next(&self) -> Result<Option<Resync>, StoreError> {
        let kept = self.kept();
        let unfinished = kept.resyncs.values().filter(|resync| !resync.state.is_final());
        Ok(unfinished.min_by_key(|resync| (resync.asked_at, resync.id.clone())).cloned())
    }
}

#[async_trait]
impl Rounds for MemoryResyncs {
    async fn save_round(&self, round: &Round) -> Result<(), StoreError> {
        self.kept().rounds.insert(round.id.clone(), round.clone());
        Ok(())
    }

    async fn newest_round(&self) -> Result<Option<Round>, StoreError> {
        let kept = self.kept();
        Ok(kept.rounds.values().max_by_key(|round| (round.started_at, round.id.clone())).cloned())
    }
}
