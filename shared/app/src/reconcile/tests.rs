use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use ledgerline_kernel::ports::{IndexPage, ResyncState, Resyncs as _, Rounds as _, StateSink};
use ledgerline_kernel::{Entity, EntityKey, VersionItem};
use ledgerline_testkit::note::Note;
use ledgerline_testkit::{MemoryEntities, MemoryLedger, MemoryResyncs, fork_of, noon, note_key, version_items};
use serde_json::{Value, json};

use super::*;

/// A clock that a test sets; ids that count.
struct Clock(Mutex<(Timestamp, u32)>);

#[async_trait]
impl Environment for Clock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    fn new_id(&self) -> String {
        let mut clock = self.0.lock().unwrap();
        clock.1 += 1;
        format!("id-{:03}", clock.1)
    }

    async fn back_off(&self, _: u32) {}
}

struct World {
    ledger: MemoryLedger,
    rows: MemoryEntities,
    registry: Registry,
    clock: Arc<Clock>,
}

const HOUR: Duration = Duration::from_secs(3600);

impl World {
    /// Twenty notes of three versions each, all projected, an hour ago.
    async fn new() -> Self {
        let clock = Arc::new(Clock(Mutex::new((later(noon(), HOUR), 0))));
        let registry = Registry::default().with::<Note>().unwrap();
        let world = Self { ledger: MemoryLedger::default(), rows: MemoryEntities::default(), registry, clock };
        for number in 0..20 {
            world.write(&version_items(&numbered(number), 3)).await;
        }
        world
    }

    async fn write(&self, items: &[VersionItem]) {
        for item in items {
            self.ledger.insert(item.clone());
            self.project(item).await;
        }
    }

    async fn project(&self, item: &VersionItem) {
        let domain = self.registry.by_resource("notes").unwrap();
        self.rows.apply(domain.as_ref(), &[item]).await.unwrap();
    }

    fn reconciler(&self) -> Reconciler {
        self.reconciler_over(Arc::new(self.ledger.clone()))
    }

    fn reconciler_over(&self, index: Arc<dyn LedgerIndex>) -> Reconciler {
        let projector = Projector::new(self.registry.clone(), vec![Arc::new(self.rows.clone())]);
        let (ledger, rows) = (Arc::new(self.ledger.clone()), Arc::new(self.rows.clone()));
        Reconciler::new(self.registry.clone(), index, ledger, projector, vec![rows], self.clock.clone())
    }

    async fn run(&self, repair: Repair) -> ReconcileReport {
        self.reconciler().run(Scope::All, repair, Duration::ZERO, |_| {}).await.unwrap()
    }

    fn held(&self, key: &EntityKey) -> Option<Entity> {
        self.rows.all().into_iter().find(|entity| entity.key == *key)
    }

    fn newest(&self, number: usize) -> Entity {
        Entity::from(&version_items(&numbered(number), 3)[2])
    }

    /// Every kind of difference, in an entity of its own: 1 to 5.
    async fn damage(&self) {
        self.rows.lose(&numbered(1));
        self.rows.put(Entity::from(&version_items(&numbered(2), 2)[1]));
        self.rows.put(Entity::from(&fork_of(&version_items(&numbered(3), 3)[2])));
        self.rows.put(Entity::from(&version_items(&numbered(4), 4)[3]));
        self.rows.put(Entity::from(&version_items(&note_key("never-written"), 1)[0]));
    }
}

fn numbered(number: usize) -> EntityKey {
    note_key(&format!("{number:02}"))
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    (at.as_datetime() + chrono::Duration::from_std(by).unwrap()).into()
}

fn drift(report: &ReconcileReport) -> Vec<(String, DriftKind, bool)> {
    let drift = report.read_models.iter().flat_map(|model| &model.drift);
    drift.map(|drift| (drift.id.sk.as_str().to_owned(), drift.kind, drift.repaired)).collect()
}

#[tokio::test]
async fn equal_sums_prove_that_nothing_differs() {
    let world = World::new().await;
    let report = world.run(Repair::Differences).await;
    assert_eq!(report.counts, Counts { proven: 1, ..Counts::default() });
    assert!(report.is_good());
    assert_eq!((report.entities, report.partitions), (20, 1));
    assert_eq!(report.read_models[0].ledger, report.read_models[0].held);
}

#[tokio::test]
async fn every_kind_of_difference_is_named_and_corrected_but_for_entities_that_the_ledger_lacks() {
    let world = World::new().await;
    world.damage().await;
    let report = world.run(Repair::Differences).await;
    let of = |sk: &str, kind, repaired| (sk.to_owned(), kind, repaired);
    let expected = [
        of("01", DriftKind::Missing, true),
        of("02", DriftKind::Behind, true),
        of("03", DriftKind::Fork, true),
        of("04", DriftKind::Ahead, true),
        of("never-written", DriftKind::Extra, false),
    ];
    assert_eq!(drift(&report), expected);
    assert_eq!((report.counts.drift(), report.counts.left(), report.is_good()), (5, 1, false));
    assert_eq!(report.read_models[0].verdict, Verdict::Unequal);
    for number in 0..20 {
        assert_eq!(world.held(&numbered(number)), Some(world.newest(number)));
    }
    assert!(world.held(&note_key("never-written")).is_some(), "what the ledger lacks is somebody else's to judge");
    world.rows.lose(&note_key("never-written"));
    assert_eq!(world.run(Repair::No).await.counts, Counts { proven: 1, ..Counts::default() });
}

#[tokio::test]
async fn entities_that_the_ledger_lacks_are_found_over_all_pages_of_a_read_model() {
    let world = World::new().await;
    for number in 0..450 {
        world.rows.put(Entity::from(&version_items(&note_key(&format!("stranger-{number:03}")), 1)[0]));
    }
    let report = world.run(Repair::Differences).await;
    assert_eq!((report.counts.extra, report.counts.drift()), (450, 450));
}

#[tokio::test]
async fn without_repair_differences_are_reported_and_left() {
    let world = World::new().await;
    world.damage().await;
    let before = world.rows.all();
    let report = world.run(Repair::No).await;
    assert_eq!((report.counts.drift(), report.counts.repaired, report.dry), (5, 0, true));
    assert_eq!(world.rows.all(), before);
}

#[tokio::test]
async fn a_damaged_ledger_proves_nothing_against_a_read_model() {
    let world = World::new().await;
    let altered = |mut item: VersionItem| {
        item.name = "altered".to_owned();
        item
    };
    // Its content is not what its hash says; and one that follows another past.
    let [one, two] = version_items(&note_key("altered"), 2).try_into().unwrap();
    let other = fork_of(&version_items(&note_key("follows"), 1)[0]);
    let second = version_items(&note_key("follows"), 2).pop().unwrap();
    for item in [one, altered(two.clone()), other, second.clone()] {
        world.ledger.insert(item);
    }
    let kept = [Entity::from(&fork_of(&two)), Entity::from(&fork_of(&second))];
    for entity in kept.clone() {
        world.rows.put(entity);
    }
    let report = world.run(Repair::Differences).await;
    assert_eq!((report.counts.forks, report.counts.repaired), (2, 0));
    let reasons: Vec<_> =
        report.read_models[0].drift.iter().map(|drift| drift.reason.clone().unwrap_or_default()).collect();
    assert!(reasons[0].contains("hash of its content") && reasons[1].contains("follow"), "{reasons:?}");
    for entity in kept {
        assert_eq!(world.held(&entity.key), Some(entity));
    }
}

#[tokio::test]
async fn a_walk_can_be_kept_and_gone_on_with_after_every_page() {
    let world = World::new().await;
    world.damage().await;
    let reconciler = world.reconciler();
    let mut kept = serde_json::to_string(&reconciler.begin(Scope::All, Repair::Differences, Duration::ZERO)).unwrap();
    let mut steps = 0;
    let report = loop {
        let mut walk: Walk = serde_json::from_str(&kept).unwrap();
        let done = world.reconciler().step(&mut walk).await.unwrap();
        steps += 1;
        kept = serde_json::to_string(&walk).unwrap();
        if done {
            break walk.into_report();
        }
    };
    assert!(steps > 8, "{steps}");
    assert_eq!((report.counts.drift(), report.counts.repaired, report.entities), (5, 4, 20));
}

#[tokio::test]
async fn what_may_still_be_on_its_way_is_no_difference() {
    let world = World::new().await;
    // The second was written a second after the first.
    let [one, two] = version_items(&note_key("new"), 2).try_into().unwrap();
    world.ledger.insert(one.clone());
    world.ledger.insert(two.clone());
    world.clock.0.lock().unwrap().0 = later(noon(), Duration::from_millis(1500));
    let run = async |settle: u64| {
        let settle = Duration::from_millis(settle);
        world.reconciler().run(Scope::All, Repair::Differences, settle, |_| {}).await.unwrap().counts
    };
    let in_flight = |in_flight| Counts { in_flight, moving: 1, ..Counts::default() };
    assert_eq!(run(10_000).await, in_flight(1), "neither has had its time");
    world.project(&one).await;
    assert_eq!(run(1000).await, in_flight(1), "the second has not");
    let due = run(500).await;
    assert_eq!((due.behind, due.repaired, due.proven), (1, 1, 1));
}

/// An index during whose pages others write: each page of it is followed by a new version of an entity on it
/// and one of an entity that it has not come to, both projected at once.
struct Busy {
    world: Arc<World>,
    pages: Mutex<usize>,
}

#[async_trait]
impl LedgerIndex for Busy {
    async fn versions(&self, partition: Option<&PartitionKey>, from: Option<String>) -> Result<IndexPage, StoreError> {
        let page = self.world.ledger.versions(partition, from).await?;
        let number = {
            let mut pages = self.pages.lock().unwrap();
            *pages += 1;
            *pages
        };
        let seen = page.versions[0].key.clone();
        let unseen = note_key(&format!("{number:02}-new"));
        let of_seen = self.world.ledger.newest(&seen).await?.unwrap().version.number() + 1;
        let new = [version_items(&seen, of_seen).pop().unwrap(), version_items(&unseen, 1).pop().unwrap()];
        self.world.write(&new).await;
        Ok(page)
    }
}

#[tokio::test]
async fn what_is_written_while_it_runs_is_no_difference() {
    let world = Arc::new(World::new().await);
    let reconciler = world.reconciler_over(Arc::new(Busy { world: world.clone(), pages: Mutex::new(0) }));
    let report = reconciler.run(Scope::All, Repair::Differences, Duration::ZERO, |_| {}).await.unwrap();
    assert_eq!((report.counts.drift(), report.is_good()), (0, true), "{report:?}");
    assert_eq!(report.read_models[0].verdict, Verdict::Moving);
}

#[tokio::test]
async fn an_entity_that_the_ledger_lacks_is_found_beside_live_writes_too() {
    let world = Arc::new(World::new().await);
    world.rows.put(Entity::from(&version_items(&note_key("00-stranger"), 1)[0]));
    let reconciler = world.reconciler_over(Arc::new(Busy { world: world.clone(), pages: Mutex::new(0) }));
    let report = reconciler.run(Scope::All, Repair::Differences, Duration::ZERO, |_| {}).await.unwrap();
    assert_eq!(drift(&report), [("00-stranger".to_owned(), DriftKind::Extra, false)]);
}

#[tokio::test]
async fn one_tenant_is_compared_without_the_others_even_if_the_ledger_has_nothing_of_it() {
    let world = World::new().await;
    let of = |tenant: &str, sk: &str| -> EntityKey { format!("NOTE#{tenant}#{sk}").parse().unwrap() };
    world.write(&version_items(&of("other", "a"), 1)).await;
    world.rows.lose(&of("other", "a"));
    world.rows.put(Entity::from(&version_items(&of("nobody", "a"), 1)[0]));
    let run = async |tenant: &str| {
        let scope = Scope::Tenant(tenant.parse().unwrap(), None);
        drift(&world.reconciler().run(scope, Repair::No, Duration::ZERO, |_| {}).await.unwrap())
    };
    assert_eq!(run("acme").await, []);
    assert_eq!(run("other").await, [("a".to_owned(), DriftKind::Missing, false)]);
    assert_eq!(run("nobody").await, [("a".to_owned(), DriftKind::Extra, false)]);
}

#[tokio::test]
async fn a_resync_writes_what_only_seemed_to_be_right() {
    let world = World::new().await;
    for number in [5, 6] {
        world.rows.put(Entity { name: "edited by hand".to_owned(), ..world.newest(number) });
    }
    assert_eq!(world.run(Repair::Differences).await.counts.drift(), 0, "its version and hash are right");
    let report = world.reconciler().one(&numbered(5), Repair::Everything).await.unwrap().unwrap();
    assert_eq!((report.counts.rewritten, report.is_good()), (1, true));
    assert_eq!(world.held(&numbered(5)), Some(world.newest(5)));
    assert_eq!(world.run(Repair::Everything).await.counts.rewritten, 20);
    assert_eq!(world.held(&numbered(6)), Some(world.newest(6)));
    assert_eq!(world.reconciler().one(&note_key("nobody"), Repair::Everything).await, Ok(None));
}

fn maintenance(world: &World, store: &MemoryResyncs) -> Maintenance {
    let (resyncs, rounds) = (Arc::new(store.clone()), Arc::new(store.clone()));
    Maintenance::new(world.reconciler(), resyncs, rounds, HOUR, Duration::ZERO)
}

fn target(sk: Option<&str>) -> ResyncTarget {
    let sk = sk.map(|sk| sk.parse().unwrap());
    ResyncTarget { tenant: "acme".parse().unwrap(), resource: "notes".to_owned(), sk }
}

/// Has time for so many pages.
fn pages(count: usize) -> impl Fn() -> bool {
    let left = Mutex::new(count);
    move || {
        let mut left = left.lock().unwrap();
        *left = left.saturating_sub(1);
        *left > 0
    }
}

#[tokio::test]
async fn a_resync_is_done_in_as_many_goes_as_it_takes_and_a_round_after_it() {
    let (world, store) = (World::new().await, MemoryResyncs::default());
    world.damage().await;
    world.rows.lose(&note_key("never-written"));
    let maintenance = maintenance(&world, &store);
    let asked = maintenance.ask(target(None), "ann").await.unwrap();
    assert_eq!((asked.state, asked.asked_by.as_str()), (ResyncState::Asked, "ann"));
    let mut goes = 0;
    let worked = loop {
        goes += 1;
        let worked = maintenance.work(&pages(4)).await.unwrap();
        if !worked.unfinished {
            break worked;
        }
    };
    assert!(goes > 3, "{goes}");
    let resync = maintenance.resync(&asked.tenant, &asked.id).await.unwrap().unwrap();
    assert_eq!((resync.state, &resync.progress), (ResyncState::Done, &Value::Null));
    assert_eq!(resync.report["counts"]["repaired"], json!(4));
    let round = store.newest_round().await.unwrap().unwrap();
    assert_eq!((round.finished_at.is_some(), &round.report["counts"]["proven"]), (true, &json!(1)));
    assert_eq!(worked.round.map(|report| report.counts.proven), Some(1));

    assert_eq!(maintenance.work(&|| true).await.unwrap(), Worked::default(), "the next one is not due");
    {
        let mut now = world.clock.0.lock().unwrap();
        now.0 = later(now.0, HOUR);
    }
    assert!(maintenance.work(&|| true).await.unwrap().round.is_some());
}

#[tokio::test]
async fn one_entity_is_done_at_once_and_one_that_there_is_not_has_failed() {
    let (world, store) = (World::new().await, MemoryResyncs::default());
    world.rows.lose(&numbered(7));
    let maintenance = maintenance(&world, &store);
    let done = maintenance.ask(target(Some("07")), "ann").await.unwrap();
    assert_eq!((done.state, &done.report["counts"]["repaired"]), (ResyncState::Done, &json!(1)));
    assert_eq!(world.held(&numbered(7)), Some(world.newest(7)));
    let failed = maintenance.ask(target(Some("nobody")), "ann").await.unwrap();
    assert_eq!((failed.state, &failed.report["error"]), (ResyncState::Failed, &json!("there is no such entity")));
    assert_eq!(store.next().await, Ok(None));
}

/// An index that refuses, as one with rows that make no sense.
struct Refusing;

#[async_trait]
impl LedgerIndex for Refusing {
    async fn versions(&self, _: Option<&PartitionKey>, _: Option<String>) -> Result<IndexPage, StoreError> {
        Err(StoreError::Rejected { store: "test", reason: "secret".to_owned() })
    }
}

#[tokio::test]
async fn a_resync_that_a_store_refuses_fails_and_holds_up_no_other() {
    let (world, store) = (World::new().await, MemoryResyncs::default());
    let (resyncs, rounds) = (Arc::new(store.clone()), Arc::new(store.clone()));
    let reconciler = world.reconciler_over(Arc::new(Refusing));
    let maintenance = Maintenance::new(reconciler, resyncs, rounds, HOUR, Duration::ZERO);
    let asked = maintenance.ask(target(None), "ann").await.unwrap();
    assert!(maintenance.work(&|| true).await.is_err(), "the round is refused as well");
    let failed = maintenance.resync(&asked.tenant, &asked.id).await.unwrap().unwrap();
    assert_eq!(failed.state, ResyncState::Failed);
    assert!(!failed.report.to_string().contains("secret"), "{}", failed.report);
}
