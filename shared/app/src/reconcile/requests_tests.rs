//! What is asked for is done once, and soon.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use ledgerline_kernel::ports::{IndexPage, Resync, ResyncState, Resyncs as _, Rounds as _};
use ledgerline_testkit::note::Note;
use ledgerline_testkit::{MemoryEntities, MemoryLedger, MemoryResyncs, note_key, version_items};

use super::*;
use crate::environment::still::Still;

/// An index in which something happens before each page, and some of whose rows cannot be read.
struct Watched {
    ledger: MemoryLedger,
    pages: Mutex<usize>,
    before_page: Box<dyn Fn(usize) -> Option<Resync> + Send + Sync>,
    asks: MemoryResyncs,
    unreadable: Vec<String>,
}

#[async_trait]
impl LedgerIndex for Watched {
    async fn versions(&self, partition: Option<&PartitionKey>, from: Option<String>) -> Result<IndexPage, StoreError> {
        let number = {
            let mut pages = self.pages.lock().unwrap();
            *pages += 1;
            *pages
        };
        if let Some(resync) = (self.before_page)(number) {
            self.asks.save(&resync).await?;
        }
        let unreadable = if from.is_none() { self.unreadable.clone() } else { Vec::new() };
        Ok(IndexPage { unreadable, ..self.ledger.versions(partition, from).await? })
    }
}

struct World {
    ledger: MemoryLedger,
    rows: MemoryEntities,
    asks: MemoryResyncs,
}

impl World {
    /// Twenty notes that no read model has: three pages of the index.
    fn new() -> Self {
        let world =
            Self { ledger: MemoryLedger::default(), rows: MemoryEntities::default(), asks: MemoryResyncs::default() };
        for number in 0..20 {
            version_items(&note_key(&format!("{number:02}")), 1).into_iter().for_each(|item| world.ledger.insert(item));
        }
        world
    }

    fn reconciler(
        &self,
        unreadable: &[&str],
        before_page: impl Fn(usize) -> Option<Resync> + Send + Sync + 'static,
    ) -> Reconciler {
        let registry = Registry::default().with::<Note>().unwrap();
        let index = Watched {
            ledger: self.ledger.clone(),
            pages: Mutex::default(),
            before_page: Box::new(before_page),
            asks: self.asks.clone(),
            unreadable: unreadable.iter().map(|row| (*row).to_owned()).collect(),
        };
        let projector = Projector::new(registry.clone(), vec![Arc::new(self.rows.clone())]);
        let (ledger, rows) = (Arc::new(self.ledger.clone()), Arc::new(self.rows.clone()));
        Reconciler::new(registry, Arc::new(index), ledger, projector, vec![rows], Arc::new(Still::default()))
    }

    fn maintenance(&self, reconciler: Reconciler) -> Maintenance {
        let kept = Arc::new(self.asks.clone());
        Maintenance::new(reconciler, kept.clone(), kept, Duration::from_secs(900), Duration::ZERO)
    }
}

fn target(sk: Option<&str>) -> ResyncTarget {
    let sk = sk.map(|sk| sk.parse().unwrap());
    ResyncTarget { tenant: "acme".parse().unwrap(), resource: "notes".to_owned(), sk }
}

fn asked(id: &str) -> Resync {
    Resync {
        id: id.to_owned(),
        tenant: "acme".parse().unwrap(),
        resource: "notes".to_owned(),
        sk: None,
        asked_by: "ann".to_owned(),
        asked_at: "2026-11-20T08:00:00Z".parse().unwrap(),
        state: ResyncState::Asked,
        progress: serde_json::Value::Null,
        report: serde_json::Value::Null,
    }
}

#[tokio::test]
async fn who_asks_for_what_is_under_way_gets_that_and_it_is_done_once() {
    let world = World::new();
    let maintenance = world.maintenance(world.reconciler(&[], |_| None));
    let first = maintenance.ask(target(None), "ann").await.unwrap();
    let second = maintenance.ask(target(None), "bob").await.unwrap();
    assert_eq!((&second.id, second.asked_by.as_str()), (&first.id, "ann"));
    let worked = maintenance.work(&|| true).await.unwrap();
    assert_eq!(worked.resyncs, [(first.id.clone(), true)]);
    let third = maintenance.ask(target(None), "bob").await.unwrap();
    assert_ne!(third.id, first.id, "that one is done");
}

#[tokio::test]
async fn one_entity_that_was_left_to_later_is_done_by_whoever_asks_again() {
    let world = World::new();
    let left = Resync { sk: target(Some("07")).sk, ..asked("left") };
    world.asks.save(&left).await.unwrap();
    let again = world.maintenance(world.reconciler(&[], |_| None)).ask(target(Some("07")), "bob").await.unwrap();
    assert_eq!((again.id.as_str(), again.state), ("left", ResyncState::Done));
    assert_eq!(world.rows.all().len(), 1);
}

#[tokio::test]
async fn a_round_lets_in_what_is_asked_for_meanwhile_and_goes_on_after_it() {
    let world = World::new();
    let reconciler = world.reconciler(&[], |page| (page == 2).then(|| asked("urgent")));
    let maintenance = world.maintenance(reconciler);
    // Time for two pages of the round, and for the resync, but not for the rest of the round.
    let (steps, asks) = (Mutex::new(0), world.asks.clone());
    let in_time = move || {
        let mut steps = steps.lock().unwrap();
        *steps += 1;
        *steps <= 8
    };
    let worked = maintenance.work(&in_time).await.unwrap();
    assert_eq!((worked.resyncs, worked.unfinished), (vec![("urgent".to_owned(), true)], true));
    let round = asks.newest_round().await.unwrap().unwrap();
    assert_eq!((round.finished_at, round.report["entities"].as_u64() > Some(0)), (None, true), "it is kept half-way");
    let worked = maintenance.work(&|| true).await.unwrap();
    assert_eq!((worked.resyncs, worked.round.map(|round| round.entities)), (Vec::new(), Some(20)));
}

#[tokio::test]
async fn rows_that_cannot_be_compared_are_counted_and_a_report_with_some_is_not_good() {
    let world = World::new();
    let reconciler = world.reconciler(&["NOTE#acme#a@1: its sort key is none"], |_| None);
    let report = reconciler.run(Scope::All, Repair::Differences, Duration::ZERO, |_| {}).await.unwrap();
    assert_eq!((report.counts.left(), report.unreadable, report.is_good()), (0, 1, false));
    assert_eq!(report.unreadable_rows, ["NOTE#acme#a@1: its sort key is none"]);
}

#[tokio::test]
async fn tenants_are_those_that_the_ledger_has_something_of() {
    let world = World::new();
    for tenant in ["zeta", "beta"] {
        let key = format!("NOTE#{tenant}#a").parse().unwrap();
        version_items(&key, 1).into_iter().for_each(|item| world.ledger.insert(item));
    }
    let reconciler = world.reconciler(&[], |_| None);
    let tenant = |name: &str| name.parse::<TenantCode>().unwrap();
    for (name, is_known) in [("acme", true), ("beta", true), ("bet", false), ("beta2", false)] {
        assert_eq!(reconciler.knows(&tenant(name)).await, Ok(is_known), "{name}");
    }
    let all = reconciler.tenants(9).await.unwrap();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), ["acme", "beta", "zeta"].map(tenant));
    assert_eq!(reconciler.tenants(1).await.unwrap().len(), 1);
}
