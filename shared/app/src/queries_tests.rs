//! Over stores in memory, with a clock that goes as long as somebody waits.

#[path = "queries_tests/conformance.rs"]
mod conformance;
#[path = "queries_tests/past.rs"]
mod past;
#[path = "queries_tests/waiting.rs"]
mod waiting;

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use ledgerline_kernel::ports::{ListPage, StateSink as _};
use ledgerline_kernel::{Timestamp, erase};
use ledgerline_testkit::note::Note;
use ledgerline_testkit::{MemoryEntities, MemoryLedger, note_key, version_items};

use super::*;
use crate::Registry;

struct World {
    ledger: MemoryLedger,
    rows: MemoryEntities,
    clock: Arc<Clock>,
    queries: Queries,
    registry: Registry,
}

/// Stands still but for waiting, during which the next of some versions are projected.
struct Clock {
    now: Mutex<Timestamp>,
    waits: Mutex<Vec<u32>>,
    arriving: Mutex<Vec<VersionItem>>,
    rows: MemoryEntities,
}

#[async_trait]
impl Environment for Clock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn new_id(&self) -> String {
        unreachable!("nothing is made by reading")
    }

    async fn back_off(&self, attempt: u32) {
        self.waits.lock().unwrap().push(attempt);
        let later = self.now().as_datetime() + Duration::from_millis(100);
        *self.now.lock().unwrap() = later.into();
        let arriving = self.arriving.lock().unwrap().pop();
        if let Some(item) = arriving {
            self.rows.apply(erase::<Note>().unwrap().as_ref(), &[&item]).await.unwrap();
        }
    }
}

fn world() -> World {
    let (ledger, rows) = (MemoryLedger::default(), MemoryEntities::default());
    let clock = Arc::new(Clock {
        now: Mutex::new("2026-11-20T12:00:00Z".parse().unwrap()),
        waits: Mutex::default(),
        arriving: Mutex::default(),
        rows: rows.clone(),
    });
    let (entities, lists) = (Arc::new(rows.clone()), Arc::new(rows.clone()));
    let queries = Queries::new(Arc::new(ledger.clone()), entities, lists, clock.clone());
    World { ledger, rows, clock, queries, registry: Registry::default().with::<Note>().unwrap() }
}

impl World {
    /// `stored` versions in the ledger, the first `projected` of them in the read model.
    async fn note(&self, stored: u64, projected: usize) -> Vec<VersionItem> {
        let items = version_items(&note_key("a"), stored);
        self.store(&items);
        self.project(&items[..projected]).await;
        items
    }

    fn store(&self, items: &[VersionItem]) {
        for item in items {
            self.ledger.insert(item.clone());
        }
    }

    async fn project(&self, items: &[VersionItem]) {
        for item in items {
            self.rows.apply(self.domain(), &[item]).await.unwrap();
        }
    }

    fn domain(&self) -> &dyn DynDomain {
        self.registry.domains().next().unwrap().as_ref()
    }

    async fn get(&self, tenant: &str, strong: bool, min: Option<u64>) -> Result<u64, QueryError> {
        let min = min.map(|number| Version::new(number).unwrap());
        let got = self.queries.get(self.domain(), tenant.parse().unwrap(), "a".parse().unwrap(), strong, min).await;
        got.map(|entity| entity.version.number())
    }

    async fn list(&self, request: ListRequest) -> Result<ListPage, QueryError> {
        let request = ListRequest { limit: 10, ..request };
        self.queries.list(self.domain(), "acme".parse().unwrap(), request, &MinVersions::default()).await
    }
}

#[tokio::test]
async fn a_read_by_key_answers_from_the_read_model_unless_asked_for_more() {
    let world = world();
    world.note(3, 2).await;
    assert_eq!(world.get("acme", false, None).await, Ok(2));
    assert_eq!(world.get("acme", false, Some(2)).await, Ok(2));
    assert_eq!(world.get("acme", false, Some(3)).await, Ok(3), "behind: the ledger is asked");
    assert_eq!(world.get("acme", true, None).await, Ok(3));
}

#[tokio::test]
async fn what_is_not_projected_yet_is_found_all_the_same() {
    let world = world();
    world.note(1, 0).await;
    assert_eq!(world.get("acme", false, None).await, Ok(1));
}

#[tokio::test]
async fn another_tenants_entity_is_not_found() {
    let world = world();
    world.note(1, 1).await;
    for strong in [true, false] {
        assert!(matches!(world.get("other", strong, None).await, Err(QueryError::NotFound(_))));
    }
}

#[tokio::test]
async fn a_version_of_the_past_is_read_from_the_ledger() {
    let world = world();
    let items = world.note(3, 3).await;
    let at = |number| {
        let version = Version::new(number).unwrap();
        world.queries.at_version(world.domain(), "acme".parse().unwrap(), "a".parse().unwrap(), version)
    };
    assert_eq!(at(2).await, Ok(Entity::from(&items[1])));
    assert!(matches!(at(4).await, Err(QueryError::NotFound(_))));
}

#[tokio::test]
async fn a_history_is_paged_newest_first_and_ends() {
    let world = world();
    world.note(5, 5).await;
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let tenant = "acme".parse().unwrap();
        let page = world.queries.history(world.domain(), tenant, "a".parse().unwrap(), before, 2).await.unwrap();
        seen.extend(page.0.iter().map(|item| item.version.number()));
        match page.1 {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_history_of_nothing_is_not_found() {
    let world = world();
    let history = world.queries.history(world.domain(), "acme".parse().unwrap(), "a".parse().unwrap(), None, 2).await;
    assert!(matches!(history, Err(QueryError::NotFound(_))));
}

#[tokio::test]
async fn a_history_with_versions_that_have_expired_ends_with_the_first() {
    let world = world();
    let items = version_items(&note_key("a"), 6);
    world.store(&[items[0].clone(), items[3].clone(), items[5].clone()]);
    let history = async |before: Option<u64>, limit| {
        let before = before.map(|number| Version::new(number).unwrap());
        let (tenant, sk) = ("acme".parse().unwrap(), "a".parse().unwrap());
        let (items, next) = world.queries.history(world.domain(), tenant, sk, before, limit).await.unwrap();
        (items.iter().map(|item| item.version.number()).collect::<Vec<_>>(), next.map(Version::number))
    };
    assert_eq!(history(None, 2).await, (vec![6, 4], Some(4)));
    assert_eq!(history(Some(4), 2).await, (vec![1], None));
    assert_eq!(history(None, 3).await, (vec![6, 4, 1], None), "a full page that is the last one says so");
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused_before_a_store_is_asked() {
    let listed = world().list(ListRequest { sort: "size".to_owned(), ..ListRequest::default() }).await;
    assert!(matches!(listed, Err(QueryError::Parameters(problems)) if problems[0].name == "sort"));
}
