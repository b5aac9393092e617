//! Sums stay right whatever becomes of positions.

use std::time::Duration;

use ledgerline_domain::Product;
use ledgerline_kernel::ports::{Digest, LedgerRead as _, SumsFound};
use ledgerline_kernel::{Domain as _, EntityKey, Hash, SortKey, Version, VersionItem};
use ledgerline_testkit::MemoryDeltas;

use super::*;
use crate::environment::still::Still;
use crate::projector::tests::troubled::{Step, World, history};

const MADE: [Step<'_>; 3] = [Step::Made("Ideal", "5"), Step::Priced("7"), Step::Priced("9")];

/// Three products in the ledger, and in the sums.
async fn world() -> World {
    let world = World::new();
    for items in world.written(&[("a", &MADE), ("b", &MADE), ("c", &MADE)]) {
        world.projector.apply(&items).await.unwrap();
    }
    assert_eq!(world.summary().await, [RIGHT]);
    world
}

const RIGHT: &str = r#""Ideal" 3 3 27 9 9"#;

fn key(sk: &str) -> EntityKey {
    format!("PRODUCT#acme#{sk}").parse().unwrap()
}

fn lose(world: &World, sk: &str) {
    world.deltas.store.lose(Product::deltas()[0].as_ref(), &key(sk));
}

fn reconciler_of(world: &World, model: Arc<dyn ReadModelAudit>) -> Reconciler {
    let (index, ledger) = (Arc::new(world.ledger.store.clone()), Arc::new(world.ledger.store.clone()));
    let (registry, projector) = (Registry::shipped().unwrap(), world.projector.clone());
    Reconciler::new(registry, index, ledger, projector, vec![model], Arc::new(Still::default()))
}

fn reconciler(world: &World) -> Reconciler {
    reconciler_of(world, Arc::new(world.deltas.store.audit(Product::deltas().remove(0))))
}

async fn run(world: &World, repair: Repair) -> ReconcileReport {
    reconciler(world).run(Scope::All, repair, Duration::ZERO, |_| {}).await.unwrap()
}

#[tokio::test]
async fn a_lost_position_is_put_back_and_nothing_counts_twice_at_any_moment() {
    let world = world().await;
    lose(&world, "b");
    let reconciler = reconciler(&world);
    let mut walk = reconciler.begin(Scope::All, Repair::Differences, Duration::ZERO);
    while !reconciler.step(&mut walk).await.unwrap() {
        assert_eq!(world.summary().await, [RIGHT]);
    }
    let counts = walk.report().counts;
    assert_eq!((counts.missing, counts.repaired, counts.left(), counts.proven), (1, 1, 0, 1), "{counts:?}");
    assert_eq!(run(&world, Repair::No).await.counts, Counts { proven: 1, ..Counts::default() });
}

#[tokio::test]
async fn a_resync_of_one_entity_whose_position_was_lost_counts_it_once() {
    let world = world().await;
    lose(&world, "b");
    let report = reconciler(&world).one(&key("b"), Repair::Everything).await.unwrap().unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!(world.summary().await, [RIGHT]);
}

#[tokio::test]
async fn what_was_never_delivered_is_taken_in_also_beside_a_lost_position() {
    for is_one_lost in [false, true] {
        let world = world().await;
        world.written(&[("d", &[Step::Made("Good", "4")])]);
        if is_one_lost {
            lose(&world, "c");
        }
        let counts = run(&world, Repair::Differences).await.counts;
        assert_eq!((counts.missing, counts.left()), (1 + u64::from(is_one_lost), 0), "{counts:?}");
        assert_eq!(world.summary().await, [r#""Good" 1 1 4 4 4"#, RIGHT]);
        assert_eq!(run(&world, Repair::No).await.counts, Counts { proven: 1, ..Counts::default() });
    }
}

#[tokio::test]
async fn what_counted_twice_since_its_position_was_lost_is_found_and_put_right() {
    let world = world().await;
    lose(&world, "a");
    // Delivered again: nobody can tell it from a new one.
    world.projector.apply(&history("a", &MADE)).await.unwrap();
    let doubled = [r#""Ideal" 4 4 36 9 9"#];
    assert_eq!(world.summary().await, doubled);

    let dry = run(&world, Repair::No).await;
    assert_eq!((dry.counts.wrong_sums, dry.counts.unequal, dry.is_good()), (2, 1, false), "{dry:?}");
    assert_eq!(world.summary().await, doubled, "it was not asked to repair");
    let report = run(&world, Repair::Differences).await;
    assert_eq!((report.counts.wrong_sums, report.counts.repaired, report.is_good()), (2, 2, true), "{report:?}");
    assert_eq!(world.summary().await, [RIGHT]);
}

/// Sums that are too much to be added up.
struct TooMuch(MemoryDeltas);

impl TooMuch {
    fn audit(&self) -> impl ReadModelAudit {
        self.0.audit(Product::deltas().remove(0))
    }
}

#[async_trait::async_trait]
impl ReadModelAudit for TooMuch {
    fn name(&self) -> &'static str {
        "product-category-totals"
    }

    async fn held(
        &self,
        domain: &dyn DynDomain,
        keys: &[EntityKey],
    ) -> Result<std::collections::BTreeMap<EntityKey, (Version, Hash)>, StoreError> {
        self.audit().held(domain, keys).await
    }

    async fn digest(&self, domain: &dyn DynDomain, tenant: &TenantCode) -> Result<Digest, StoreError> {
        self.audit().digest(domain, tenant).await
    }

    async fn entities(
        &self,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        after: Option<&SortKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        self.audit().entities(domain, tenant, after, limit).await
    }

    async fn replace(&self, _: &dyn DynDomain, _: &VersionItem, _: Version) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn sums(&self, _: &dyn DynDomain, _: &TenantCode, _: bool) -> Result<SumsFound, StoreError> {
        Ok(SumsFound::Unknown)
    }
}

#[tokio::test]
async fn where_nobody_can_tell_what_the_sums_hold_nothing_new_is_taken_in_and_the_report_says_so() {
    let world = world().await;
    lose(&world, "b");
    let reconciler = reconciler_of(&world, Arc::new(TooMuch(world.deltas.store.clone())));
    let report = reconciler.run(Scope::All, Repair::Differences, Duration::ZERO, |_| {}).await.unwrap();
    assert_eq!((report.counts.left(), report.is_good()), (1, false));
    assert!(report.read_models[0].drift[0].reason.as_ref().unwrap().contains("rebuild"), "{report:?}");
    assert_eq!(world.summary().await, [RIGHT]);
    assert!(world.ledger.store.newest(&key("b")).await.unwrap().is_some());
}
