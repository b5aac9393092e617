use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use ledgerline_kernel::ports::{DeltaSink, Difference, LedgerScan as _, StateSink, Switched};
use ledgerline_kernel::{Entity, EntityKey, EntityType, Hash, VersionItem};
use ledgerline_testkit::note::Note;
use ledgerline_testkit::{MemoryDeltas, MemoryEntities, MemoryLedger, append, note_key, version_items};

use super::*;

/// A ledger of two segments, each of pages of two rows.
#[derive(Clone)]
struct Ledger {
    inner: MemoryLedger,
    pages: Arc<AtomicUsize>,
}

#[async_trait]
impl LedgerSegments for Ledger {
    async fn segment(
        &self,
        _: &EntityType,
        segment: Segment,
        from: Option<String>,
        _: u32,
    ) -> Result<SegmentPage, StoreError> {
        self.pages.fetch_add(1, Ordering::Relaxed);
        let mut items: Vec<VersionItem> = Vec::new();
        let mut next = None;
        loop {
            let (page, following) = self.inner.scan(next).await?;
            items.extend(page);
            next = following;
            if next.is_none() {
                break;
            }
        }
        let number = |item: &VersionItem| u32::from(item.key.sk.to_string().as_bytes()[0]) % segment.of;
        items.retain(|item| number(item) == segment.number);
        items.sort_by(|one, other| (&one.key, one.version).cmp(&(&other.key, other.version)));
        let start: usize = from.map_or(0, |from| from.parse().unwrap());
        let next = (start + 2 < items.len()).then(|| (start + 2).to_string());
        let items: Vec<_> = items.into_iter().skip(start).take(2).collect();
        let examined = items.len().try_into().unwrap();
        Ok(SegmentPage { items, unreadable: Vec::new(), examined, next })
    }

    async fn row_estimate(&self) -> Option<u64> {
        None
    }
}

#[async_trait]
impl LedgerRead for Ledger {
    async fn newest(&self, key: &EntityKey) -> Result<Option<VersionItem>, StoreError> {
        self.inner.newest(key).await
    }

    async fn at(&self, key: &EntityKey, version: Version) -> Result<Option<VersionItem>, StoreError> {
        self.inner.at(key, version).await
    }

    async fn history(
        &self,
        key: &EntityKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionItem>, StoreError> {
        self.inner.history(key, before, limit).await
    }
}

/// Tables in memory.
struct Views {
    segments: Vec<SegmentProgress>,
    noted: Mutex<Vec<SegmentProgress>>,
    live: BTreeMap<String, (Version, Hash)>,
    own: MemoryEntities,
    confirmed: Mutex<Vec<Difference>>,
    /// How often the switch finds that something differs.
    refusals: AtomicUsize,
    /// Entities that it does not show.
    hidden: usize,
}

impl Views {
    fn new(live: &[&VersionItem]) -> Self {
        let live = live.iter().map(|item| (item.key.to_string(), (item.version, item.hash.clone()))).collect();
        Self {
            segments: vec![SegmentProgress::default(); 2],
            noted: vec![SegmentProgress::default(); 2].into(),
            live,
            own: MemoryEntities::default(),
            confirmed: Mutex::default(),
            refusals: AtomicUsize::new(0),
            hidden: 0,
        }
    }
}

#[async_trait]
impl ViewRebuild for Views {
    fn segments(&self) -> &[SegmentProgress] {
        &self.segments
    }

    fn states(&self) -> Arc<dyn StateSink> {
        Arc::new(self.own.clone())
    }

    fn deltas(&self) -> Arc<dyn DeltaSink> {
        Arc::new(MemoryDeltas::default())
    }

    async fn note(&self, segment: u32, progress: &SegmentProgress) -> Result<(), RebuildError> {
        self.noted.lock().unwrap()[segment as usize] = progress.clone();
        Ok(())
    }

    async fn filled(&self) -> Result<(), RebuildError> {
        Ok(())
    }

    async fn rows(&self) -> Result<u64, RebuildError> {
        Ok((self.own.all().len() - self.hidden).try_into().unwrap())
    }

    async fn differences(&self, limit: u32) -> Result<Vec<Difference>, RebuildError> {
        let mut sides: BTreeMap<String, [Option<(Version, Hash)>; 2]> = BTreeMap::new();
        for (id, held) in &self.live {
            sides.entry(id.clone()).or_default()[0] = Some(held.clone());
        }
        for Entity { key, version, hash, .. } in self.own.all() {
            sides.entry(key.to_string()).or_default()[1] = Some((version, hash));
        }
        let differences = sides.into_iter().filter(|(_, [live, rebuilt])| live != rebuilt);
        let differences =
            differences.map(|(id, [live, rebuilt])| Difference { id, of: "note".to_owned(), live, rebuilt });
        let confirmed = self.confirmed.lock().unwrap();
        Ok(differences.filter(|difference| !confirmed.contains(difference)).take(limit as usize).collect())
    }

    async fn confirm(&self, right: &[Difference]) -> Result<(), RebuildError> {
        self.confirmed.lock().unwrap().extend_from_slice(right);
        Ok(())
    }

    async fn switch(&self) -> Result<Option<Switched>, RebuildError> {
        let refuses =
            self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let corrected = self.confirmed.lock().unwrap().len().try_into().unwrap();
        Ok((!refuses).then_some(Switched { rows: self.rows().await?, corrected }))
    }
}

struct World {
    ledger: Arc<Ledger>,
    histories: Vec<Vec<VersionItem>>,
}

impl World {
    /// Five notes, of one to five versions.
    async fn new() -> Self {
        let inner = MemoryLedger::default();
        let mut histories = Vec::new();
        for (name, count) in ["a", "b", "c", "d", "e"].iter().zip(1..) {
            let items = version_items(&note_key(name), count);
            for item in &items {
                append(&inner, item).await.unwrap();
            }
            histories.push(items);
        }
        Self { ledger: Arc::new(Ledger { inner, pages: Arc::default() }), histories }
    }

    fn newest(&self) -> Vec<&VersionItem> {
        self.histories.iter().filter_map(|history| history.last()).collect()
    }

    async fn rebuild(&self, views: &Views) -> Result<Rebuilt, RebuildStopped> {
        let registry = Registry::default().with::<Note>().unwrap();
        let domain = registry.by_resource("notes").unwrap().as_ref();
        rebuild(&self.ledger, &registry, domain, views, &RebuildOptions::default(), &|_| {}).await
    }
}

#[tokio::test]
async fn the_tables_hold_the_newest_version_of_every_entity() {
    let world = World::new().await;
    let views = Views::new(&world.newest());
    let rebuilt = world.rebuild(&views).await.unwrap();
    assert_eq!(rebuilt, Rebuilt { versions: 15, entities: 5, corrected: 0, refused: Vec::new() });
    assert_eq!(views.own.all(), world.newest().into_iter().map(Entity::from).collect::<Vec<_>>());
    let noted = views.noted.lock().unwrap();
    assert!(noted.iter().all(|segment| segment.is_done && segment.cursor.is_none()));
    assert_eq!(noted.iter().map(|segment| segment.entities).sum::<u64>(), 5);
}

#[tokio::test]
async fn an_interrupted_one_goes_on_from_where_it_was() {
    let world = World::new().await;
    let first = Views::new(&world.newest());
    world.rebuild(&first).await.unwrap();
    let pages = world.ledger.pages.swap(0, Ordering::Relaxed);

    let mut second = Views::new(&world.newest());
    second.own = first.own.clone();
    second.segments = first.noted.into_inner().unwrap();
    second.segments[0] =
        SegmentProgress { cursor: Some("2".to_owned()), is_done: false, examined: 2, versions: 2, entities: 1 };
    second.noted = second.segments.clone().into();
    world.rebuild(&second).await.unwrap();
    let again = world.ledger.pages.load(Ordering::Relaxed);
    assert!(again > 0 && again < pages, "{again} of {pages}");
}

#[tokio::test]
async fn where_the_live_tables_are_wrong_the_ledger_decides() {
    let world = World::new().await;
    // One is behind, one is missing, one is not of the ledger at all.
    let ghost = version_items(&note_key("ghost"), 1);
    let live: Vec<&VersionItem> =
        vec![&world.histories[0][0], &world.histories[1][0], &world.histories[2][2], &world.histories[3][3], &ghost[0]];
    let views = Views::new(&live);
    let rebuilt = world.rebuild(&views).await.unwrap();
    assert_eq!((rebuilt.entities, rebuilt.corrected), (5, 3));
}

#[tokio::test]
async fn what_was_written_since_is_taken_in() {
    let world = World::new().await;
    let mut views = Views::new(&world.newest());
    // A note that the scan does not come upon any more.
    let late = version_items(&note_key("late"), 2);
    for item in &late {
        append(&world.ledger.inner, item).await.unwrap();
    }
    views.live.insert(late[1].key.to_string(), (late[1].version, late[1].hash.clone()));
    for segment in &mut views.segments {
        *segment = SegmentProgress { is_done: true, ..SegmentProgress::default() };
    }
    let rebuilt = world.rebuild(&views).await.unwrap();
    assert_eq!(rebuilt.entities, 6, "whatever the live tables have was looked up");
    assert!(views.own.all().iter().any(|entity| entity.key == late[1].key && entity.version == late[1].version));
}

#[tokio::test]
async fn a_row_that_the_ledger_does_not_have_stops_it() {
    let world = World::new().await;
    let views = Views::new(&world.newest());
    let ghost = version_items(&note_key("ghost"), 1);
    let registry = Registry::default().with::<Note>().unwrap();
    let domain = registry.by_resource("notes").unwrap().as_ref();
    views.own.apply(domain, &[&ghost[0]]).await.unwrap();
    let stopped = world.rebuild(&views).await;
    assert!(
        matches!(&stopped, Err(RebuildStopped::Wrong(what)) if what.len() == 1 && what[0].contains("ghost")),
        "{stopped:?}"
    );
}

#[tokio::test]
async fn an_entity_that_is_missing_stops_it() {
    let world = World::new().await;
    let mut views = Views::new(&world.newest());
    views.hidden = 1;
    let stopped = world.rebuild(&views).await;
    assert!(matches!(stopped, Err(RebuildStopped::Incomplete { rows: 4, expected: 5 })), "{stopped:?}");
}

#[tokio::test]
async fn a_switch_that_finds_something_new_is_tried_again_but_not_for_ever() {
    let world = World::new().await;
    let views = Views::new(&world.newest());
    views.refusals.store(SWITCHES - 1, Ordering::Relaxed);
    assert_eq!(world.rebuild(&views).await.unwrap().entities, 5);

    let views = Views::new(&world.newest());
    views.refusals.store(SWITCHES, Ordering::Relaxed);
    assert!(matches!(world.rebuild(&views).await, Err(RebuildStopped::Unsettled)));
}
