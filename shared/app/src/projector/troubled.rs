//! Read models with weaknesses, and histories of products to project into them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ledgerline_domain::Product;
use ledgerline_kernel::ports::{
    Applied, DeltaMove, DeltaPosition, DeltaSink, LedgerRead, StateSink, StoreError, SummaryRead, SummaryRow,
};
use ledgerline_kernel::{Action, Domain, DynDelta, DynDomain, EntityKey, Version, VersionItem};
use ledgerline_testkit::{MemoryDeltas, MemoryEntities, MemoryLedger, next_version};
use serde_json::{Value, json};

use crate::{Projector, Registry};

/// What a store does to calls that concern entities of these sort keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble {
    pub(crate) refuses: BTreeSet<&'static str>,
    pub(crate) panics: BTreeSet<&'static str>,
    pub(crate) is_away: bool,
}

impl Trouble {
    pub(crate) fn refusing(sks: &[&'static str]) -> Self {
        Self { refuses: sks.iter().copied().collect(), ..Self::default() }
    }

    fn meet<'a>(&self, keys: impl Iterator<Item = &'a EntityKey>) -> Result<(), StoreError> {
        if self.is_away {
            return Err(StoreError::Unavailable { store: "troubled", reason: "it is away".to_owned() });
        }
        for key in keys {
            assert!(!self.panics.contains(key.sk.as_str()), "{key} is too much");
            if self.refuses.contains(key.sk.as_str()) {
                return Err(StoreError::Rejected { store: "troubled", reason: "it does not fit".to_owned() });
            }
        }
        Ok(())
    }
}

/// A store, its troubles, and how often it was called.
#[derive(Clone, Default)]
pub(crate) struct Troubled<S> {
    pub(crate) store: S,
    name: &'static str,
    trouble: Arc<Mutex<Trouble>>,
    calls: Arc<Mutex<usize>>,
}

impl<S: Default> Troubled<S> {
    pub(crate) fn named(name: &'static str) -> Self {
        Self { name, store: S::default(), trouble: Arc::default(), calls: Arc::default() }
    }
}

impl<S> Troubled<S> {
    pub(crate) fn set(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap() = trouble;
    }

    pub(crate) fn calls(&self) -> usize {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn meet<'a>(&self, keys: impl Iterator<Item = &'a EntityKey>) -> Result<(), StoreError> {
        *self.calls.lock().unwrap() += 1;
        let trouble = self.trouble.lock().unwrap().clone();
        trouble.meet(keys)
    }
}

#[async_trait]
impl StateSink for Troubled<MemoryEntities> {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn apply(&self, domain: &dyn DynDomain, items: &[&VersionItem]) -> Result<Applied, StoreError> {
        self.meet(items.iter().map(|item| &item.key))?;
        self.store.apply(domain, items).await
    }
}

#[async_trait]
impl DeltaSink for Troubled<MemoryDeltas> {
    async fn positions(
        &self,
        projection: &dyn DynDelta,
        keys: &[EntityKey],
    ) -> Result<BTreeMap<EntityKey, DeltaPosition>, StoreError> {
        self.store.positions(projection, keys).await
    }

    async fn advance(&self, projection: &dyn DynDelta, moves: &[DeltaMove]) -> Result<Vec<EntityKey>, StoreError> {
        self.meet(moves.iter().map(|moving| &moving.key))?;
        self.store.advance(projection, moves).await
    }
}

#[async_trait]
impl LedgerRead for Troubled<MemoryLedger> {
    async fn newest(&self, key: &EntityKey) -> Result<Option<VersionItem>, StoreError> {
        self.meet(std::iter::once(key))?;
        self.store.newest(key).await
    }

    async fn at(&self, key: &EntityKey, version: Version) -> Result<Option<VersionItem>, StoreError> {
        self.meet(std::iter::once(key))?;
        self.store.at(key, version).await
    }

    async fn history(
        &self,
        key: &EntityKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionItem>, StoreError> {
        self.meet(std::iter::once(key))?;
        self.store.history(key, before, limit).await
    }
}

/// A projector of products into two tables of states and their delta projection.
pub(crate) struct World {
    pub(crate) ledger: Troubled<MemoryLedger>,
    pub(crate) table: Troubled<MemoryEntities>,
    pub(crate) views: Troubled<MemoryEntities>,
    pub(crate) deltas: Troubled<MemoryDeltas>,
    pub(crate) projector: Projector,
}

pub(crate) const DELTA: &str = "product-category-totals";

impl World {
    pub(crate) fn new() -> Self {
        let (ledger, deltas) = (Troubled::named("ledger"), Troubled::<MemoryDeltas>::named("deltas"));
        let (table, views) = (Troubled::<MemoryEntities>::named("table"), Troubled::<MemoryEntities>::named("views"));
        let projector =
            Projector::new(Registry::shipped().unwrap(), vec![Arc::new(table.clone()), Arc::new(views.clone())])
                .with_deltas(Arc::new(ledger.clone()), Arc::new(deltas.clone()));
        Self { ledger, table, views, deltas, projector }
    }

    /// Puts the histories of these products into the ledger and gives them.
    pub(crate) fn written(&self, histories: &[(&str, &[Step<'_>])]) -> Vec<Vec<VersionItem>> {
        let histories: Vec<Vec<VersionItem>> = histories.iter().map(|(sk, steps)| history(sk, steps)).collect();
        histories.iter().flatten().for_each(|item| self.ledger.store.insert(item.clone()));
        histories
    }

    /// What the delta projection says: category, products, priced, sum, least and greatest.
    pub(crate) async fn summary(&self) -> Vec<String> {
        summary(&self.deltas.store).await
    }

    /// The versions that a table of states has, by sort key.
    pub(crate) fn versions(&self, table: &Troubled<MemoryEntities>) -> Vec<(String, u64)> {
        let rows = table.store.all().into_iter();
        rows.map(|row| (row.key.sk.as_str().to_owned(), row.version.number())).collect()
    }
}

pub(crate) async fn summary(deltas: &impl SummaryRead) -> Vec<String> {
    let spec = Product::deltas()[0].summary().unwrap();
    let rows = deltas.summary(&spec, &"acme".parse().unwrap(), None, 100).await.unwrap();
    let line = |row: SummaryRow| {
        let (least, greatest) = row.extremes.unwrap_or_default();
        format!("{:?} {} {least} {greatest}", row.key[0], row.sums.join(" "))
    };
    rows.into_iter().map(line).collect()
}

/// What happens to a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    /// Made, in a category, at a price.
    Made(&'a str, &'a str),
    Priced(&'a str),
    Moved(&'a str),
    Deleted,
    Restored,
}

/// The chained versions of a product of tenant `acme`.
pub(crate) fn history(sk: &str, steps: &[Step<'_>]) -> Vec<VersionItem> {
    let key: EntityKey = format!("PRODUCT#acme#{sk}").parse().unwrap();
    let registry = Registry::shipped().unwrap();
    let domain = registry.by_resource("products").unwrap();
    let mut items: Vec<VersionItem> = Vec::new();
    for step in steps {
        let (action, body) = match step {
            Step::Made(category, price) => {
                let attributes = json!({"category": category, "price": price});
                let code: String = sk.chars().take(64).collect();
                (Action::Create, json!({"code": code, "name": "指輪", "attributes": attributes}))
            }
            Step::Priced(price) => (Action::Named("change-price"), json!({"price": price})),
            Step::Moved(category) => (Action::Update, json!({"attributes": {"category": category}})),
            Step::Deleted => (Action::Delete, Value::Null),
            Step::Restored => (Action::Restore, Value::Null),
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let at = "2026-11-20T08:00:00Z".parse().unwrap();
        items.push(next_version(domain.as_ref(), &key, items.last(), (action, &body), at).unwrap());
    }
    items
}
