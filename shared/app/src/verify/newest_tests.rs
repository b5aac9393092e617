//! Newest versions that are gone show beside a read model that has them.

use async_trait::async_trait;
use ledgerline_kernel::ports::{Digest, StateSink as _};
use ledgerline_kernel::{DynDomain, Hash, SortKey, VersionItem};
use ledgerline_testkit::note::Note;
use ledgerline_testkit::{MemoryEntities, MemoryLedger, note_key, version_items};

use super::*;

fn registry() -> Registry {
    Registry::default().with::<Note>().unwrap()
}

async fn projected(items: &[VersionItem]) -> MemoryEntities {
    let (rows, registry) = (MemoryEntities::default(), registry());
    let domain = registry.by_resource("notes").unwrap();
    for item in items {
        rows.apply(domain.as_ref(), &[item]).await.unwrap();
    }
    rows
}

/// What is missing, by what is said of it.
async fn missing(ledger: &MemoryLedger, tenant: Option<&TenantCode>, witness: &dyn ReadModelAudit) -> Vec<String> {
    let report = verify(ledger, &registry(), tenant, Some(witness), |_, _| {}).await.unwrap();
    let missing = report.defects.iter().filter(|defect| defect.kind == DefectKind::NewestMissing);
    missing.map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_later_version_than_the_ledgers_is_found_over_all_pages_of_a_read_model() {
    let ledger = MemoryLedger::default();
    let mut items: Vec<_> = (0..450).flat_map(|number| version_items(&note_key(&format!("{number:03}")), 2)).collect();
    items.extend(version_items(&note_key("gone"), 1));
    let rows = projected(&items).await;
    let is_gone = |item: &VersionItem| {
        item.key == note_key("gone") || (item.key == note_key("449") && item.version != Version::FIRST)
    };
    items.into_iter().filter(|item| !is_gone(item)).for_each(|item| ledger.insert(item));
    let expected = [
        "NOTE#acme#449@2 NEWEST_MISSING: memory has version 2, the ledger version 1",
        "NOTE#acme#gone@1 NEWEST_MISSING: memory has version 1, the ledger nothing",
    ];
    assert_eq!(missing(&ledger, None, &rows).await, expected);
    assert_eq!(missing(&ledger, Some(&"acme".parse().unwrap()), &rows).await, expected);
    assert_eq!(missing(&ledger, Some(&"other".parse().unwrap()), &rows).await, [""; 0]);
}

#[tokio::test]
async fn all_of_a_tenant_that_is_gone_is_found_where_the_tenant_is_named() {
    let rows = projected(&version_items(&note_key("gone"), 1)).await;
    assert_eq!(missing(&MemoryLedger::default(), Some(&"acme".parse().unwrap()), &rows).await.len(), 1);
}

#[tokio::test]
async fn a_read_model_that_is_behind_or_even_is_no_defect() {
    let ledger = MemoryLedger::default();
    let items = [version_items(&note_key("even"), 2), version_items(&note_key("behind"), 2)].concat();
    items.iter().for_each(|item| ledger.insert(item.clone()));
    assert_eq!(missing(&ledger, None, &projected(&items[..3]).await).await, [""; 0]);
}

/// A read model that takes in what somebody writes while it is being read.
struct Busy(MemoryEntities, MemoryLedger);

#[async_trait]
impl ReadModelAudit for Busy {
    fn name(&self) -> &'static str {
        "busy"
    }

    async fn held(
        &self,
        domain: &dyn DynDomain,
        keys: &[EntityKey],
    ) -> Result<BTreeMap<EntityKey, (Version, Hash)>, StoreError> {
        self.0.held(domain, keys).await
    }

    async fn digest(&self, domain: &dyn DynDomain, tenant: &TenantCode) -> Result<Digest, StoreError> {
        self.0.digest(domain, tenant).await
    }

    async fn entities(
        &self,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        after: Option<&SortKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        if after.is_none() {
            let items =
                [version_items(&note_key("changed"), 2).remove(1), version_items(&note_key("new"), 1).remove(0)];
            for item in items {
                self.1.insert(item.clone());
                self.0.apply(domain, &[&item]).await?;
            }
        }
        self.0.entities(domain, tenant, after, limit).await
    }

    async fn replace(&self, _: &dyn DynDomain, _: &VersionItem, _: Version) -> Result<bool, StoreError> {
        Ok(false)
    }
}

#[tokio::test]
async fn what_is_written_meanwhile_is_not_missing() {
    let ledger = MemoryLedger::default();
    let items = version_items(&note_key("changed"), 1);
    items.iter().for_each(|item| ledger.insert(item.clone()));
    let busy = Busy(projected(&items).await, ledger.clone());
    assert_eq!(missing(&ledger, None, &busy).await, [""; 0]);
    assert_eq!(busy.0.all().len(), 2, "it did change");
}
