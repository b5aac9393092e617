use async_trait::async_trait;
use ledgerline_kernel::ports::{Applied, EntityList, EntityRead, KeyPage, KeyQuery, StateSink, StoreError};
use ledgerline_kernel::{DynDomain, Entity, EntityKey, VersionItem};
use ledgerline_stores::TestDatabase;

use super::{all_of, notes, with_notes};
use crate::PostgresViews;

ledgerline_testkit::list_contract!(with_notes);
ledgerline_testkit::audit_contract!(with_notes);
ledgerline_testkit::resyncs_contract!(with_notes);

/// Views that are read by key, which in production the data table is for: so that they can be held
/// to the contract of a read model.
struct Readable(PostgresViews);

async fn readable() -> (Readable, TestDatabase) {
    let (views, database) = with_notes().await;
    (Readable(views), database)
}

#[async_trait]
impl StateSink for Readable {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn apply(&self, domain: &dyn DynDomain, items: &[&VersionItem]) -> Result<Applied, StoreError> {
        self.0.apply(domain, items).await
    }
}

#[async_trait]
impl EntityRead for Readable {
    async fn get(&self, key: &EntityKey) -> Result<Option<Entity>, StoreError> {
        let page = self.0.list(notes().as_ref(), &all_of(key.partition.tenant.as_str())).await?;
        Ok(page.entities.into_iter().find(|entity| entity.key == *key))
    }

    async fn range(&self, _: &KeyQuery) -> Result<KeyPage, StoreError> {
        Err(StoreError::Rejected { store: "postgres", reason: "its lists are in another order".to_owned() })
    }
}

mod by_key {
    use super::readable;

    ledgerline_testkit::entities_contract!(readable);
}
