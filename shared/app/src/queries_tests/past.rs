use async_trait::async_trait;
use ledgerline_kernel::ports::LedgerRead;

use super::*;

/// Counts what it is asked.
struct Counting {
    ledger: MemoryLedger,
    reads: Mutex<usize>,
}

impl Counting {
    fn count(&self) {
        *self.reads.lock().unwrap() += 1;
    }
}

#[async_trait]
impl LedgerRead for Counting {
    async fn newest(&self, key: &EntityKey) -> Result<Option<VersionItem>, StoreError> {
        self.count();
        self.ledger.newest(key).await
    }

    async fn at(&self, key: &EntityKey, version: Version) -> Result<Option<VersionItem>, StoreError> {
        self.count();
        self.ledger.at(key, version).await
    }

    async fn history(
        &self,
        key: &EntityKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionItem>, StoreError> {
        self.count();
        self.ledger.history(key, before, limit).await
    }
}

/// Version `n` made `n` minutes after noon.
fn one_a_minute(versions: u64) -> Vec<VersionItem> {
    let mut items = version_items(&note_key("a"), versions);
    for item in &mut items {
        item.updated.at = minutes(item.version.number() as f64);
    }
    items
}

fn minutes(number: f64) -> Timestamp {
    let noon: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    (noon.as_datetime() + Duration::from_secs_f64(number * 60.0)).into()
}

impl World {
    async fn as_of(&self, moment: f64) -> Result<u64, QueryError> {
        let (tenant, sk) = ("acme".parse().unwrap(), "a".parse().unwrap());
        let entity = self.queries.as_of(self.domain(), tenant, sk, minutes(moment)).await;
        entity.map(|entity| entity.version.number())
    }
}

#[tokio::test]
async fn a_moment_shows_the_newest_version_of_then_or_before() {
    for versions in [1, 2, 3, 7, 8] {
        let world = world();
        world.store(&one_a_minute(versions));
        for number in 1..=versions {
            assert_eq!(world.as_of(number as f64).await, Ok(number), "at the moment of {number} of {versions}");
            assert_eq!(world.as_of(number as f64 + 0.5).await, Ok(number), "after {number} of {versions}");
        }
        assert!(matches!(world.as_of(0.9).await, Err(QueryError::NotFound(_))), "before the first of {versions}");
        assert_eq!(world.as_of(1e6).await, Ok(versions), "the future");
    }
}

#[tokio::test]
async fn what_was_deleted_then_is_shown_as_deleted_and_what_was_not_as_it_was() {
    let world = world();
    let mut items = one_a_minute(3);
    items[1].is_deleted = true;
    world.store(&items);
    for (moment, is_deleted) in [(1.5, false), (2.5, true), (3.5, false)] {
        let (tenant, sk) = ("acme".parse().unwrap(), "a".parse().unwrap());
        let entity = world.queries.as_of(world.domain(), tenant, sk, minutes(moment)).await.unwrap();
        assert_eq!(entity.is_deleted, is_deleted, "{moment}");
    }
}

#[tokio::test]
async fn a_version_that_is_not_kept_any_longer_is_not_made_up_from_an_older_one() {
    let world = world();
    let items = one_a_minute(9);
    world.store(&[0, 1, 5, 8].map(|index: usize| items[index].clone()));
    for (moment, expected) in [(1.5, Some(1)), (2.0, None), (4.5, None), (6.5, None), (9.0, Some(9))] {
        assert_eq!(world.as_of(moment).await.ok(), expected, "{moment}");
    }
}

#[tokio::test]
async fn another_tenants_past_is_not_found() {
    let world = world();
    world.store(&one_a_minute(2));
    let there = world.queries.as_of(world.domain(), "other".parse().unwrap(), "a".parse().unwrap(), minutes(2.0)).await;
    assert!(matches!(there, Err(QueryError::NotFound(_))));
}

#[tokio::test]
async fn a_long_history_takes_few_reads() {
    let world = world();
    world.store(&one_a_minute(1000));
    let ledger = Arc::new(Counting { ledger: world.ledger.clone(), reads: Mutex::default() });
    let rows = Arc::new(world.rows.clone());
    let queries = Queries::new(ledger.clone(), rows.clone(), rows, world.clock.clone());
    for (moment, most) in [(1e6, 1), (0.5, 2), (1.5, 12), (999.5, 12), (500.0, 12), (123.4, 12)] {
        *ledger.reads.lock().unwrap() = 0;
        let (tenant, sk) = ("acme".parse().unwrap(), "a".parse().unwrap());
        let found = queries.as_of(world.domain(), tenant, sk, minutes(moment)).await;
        assert_eq!(found.map_or(0, |entity| entity.version.number()), (moment as u64).min(1000));
        let reads = *ledger.reads.lock().unwrap();
        assert!(reads <= most, "{reads} reads for {moment}");
    }
}
