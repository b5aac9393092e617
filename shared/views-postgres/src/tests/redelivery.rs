//! Whatever the stream does to the order and number of version items, the rows end up the same.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use ledgerline_kernel::ports::{Applied, EntityList, StateSink};
use ledgerline_kernel::{Entity, EntityKey, VersionItem};
use ledgerline_testkit::version_items;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{all_of, note_of, notes, with_notes};
use crate::PostgresViews;

const CASES: u32 = 1_000;

/// What a stream delivers: places in the list of all versions of all entities, in batches.
#[derive(Debug, Clone)]
struct Delivery {
    /// How many versions each entity has.
    versions: Vec<u64>,
    batches: Vec<Batch>,
}

#[derive(Debug, Clone)]
struct Batch {
    items: Vec<usize>,
    /// After the batch was applied, it is delivered again from here on.
    again_from: Option<Index>,
}

/// Every version at least once, some several times, in any order, cut into batches anywhere.
fn delivery() -> impl Strategy<Value = Delivery> {
    let versions = prop::collection::vec(1..=5_u64, 1..=4);
    let with_order = versions.prop_flat_map(|versions| {
        let count = usize::try_from(versions.iter().sum::<u64>()).unwrap();
        let repeats = prop::collection::vec(0..count, 0..=count);
        let order = repeats.prop_map(move |repeats| (0..count).chain(repeats).collect::<Vec<_>>()).prop_shuffle();
        (Just(versions), order)
    });
    with_order.prop_flat_map(|(versions, order)| {
        let cuts = prop::collection::vec((any::<bool>(), prop::option::weighted(0.3, any::<Index>())), order.len());
        (Just(versions), Just(order), cuts).prop_map(|(versions, order, cuts)| {
            let mut batches: Vec<Batch> = Vec::new();
            for (item, (cut, again_from)) in order.into_iter().zip(cuts) {
                match batches.last_mut() {
                    Some(batch) if !cut => batch.items.push(item),
                    _ => batches.push(Batch { items: vec![item], again_from }),
                }
            }
            Delivery { versions, batches }
        })
    })
}

/// Applies what a batch delivers, as the projector does: of each entity the newest.
async fn apply<'a>(views: &PostgresViews, delivered: impl Iterator<Item = &'a VersionItem>) -> Applied {
    let mut newest: BTreeMap<&EntityKey, &VersionItem> = BTreeMap::new();
    for item in delivered {
        let held = newest.entry(&item.key).or_insert(item);
        if held.version < item.version {
            *held = item;
        }
    }
    let items: Vec<_> = newest.into_values().collect();
    let applied = views.apply(notes().as_ref(), &items).await.unwrap();
    assert_eq!((applied.written + applied.unchanged, &applied.forks[..]), (items.len(), &[][..]));
    applied
}

async fn deliver(views: &PostgresViews, tenant: &str, delivery: &Delivery) -> Result<(), TestCaseError> {
    let histories: Vec<Vec<VersionItem>> = delivery
        .versions
        .iter()
        .enumerate()
        .map(|(entity, count)| version_items(&note_of(tenant, &format!("n-{entity}")), *count))
        .collect();
    let items: Vec<&VersionItem> = histories.iter().flatten().collect();
    for batch in &delivery.batches {
        apply(views, batch.items.iter().map(|place| items[*place])).await;
        if let Some(again_from) = batch.again_from {
            let rest = &batch.items[again_from.index(batch.items.len())..];
            let again = apply(views, rest.iter().map(|place| items[*place])).await;
            prop_assert_eq!(again.written, 0, "a redelivery wrote something");
        }
    }
    let rows = views.list(notes().as_ref(), &all_of(tenant)).await.unwrap().entities;
    let expected: Vec<Entity> = histories.iter().filter_map(|history| history.last().map(Entity::from)).collect();
    prop_assert_eq!(rows, expected);
    Ok(())
}

/// The seed is fixed, so that a run repeats; `LEDGERLINE_TEST_SEED` takes another number.
#[test]
fn permuted_duplicated_split_and_redelivered_batches_end_in_the_newest_versions() {
    let seed: u64 = std::env::var("LEDGERLINE_TEST_SEED").map_or(20_261_120, |seed| seed.parse().unwrap());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (views, _database) = runtime.block_on(with_notes());
    let number = AtomicU32::new(0);
    let begun = Instant::now();
    // A tenant per case: cheaper than emptying the table.
    let outcome = runner.run(&delivery(), |delivery| {
        let tenant = format!("case-{}", number.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(deliver(&views, &tenant, &delivery))
    });
    println!("{CASES} cases with LEDGERLINE_TEST_SEED={seed} took {:?}", begun.elapsed());
    outcome.unwrap();
}
