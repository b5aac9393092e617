//! Whatever a stream does to the order and the number of its records, data-sync leaves the same rows:
//! raw JSON in, real Postgres behind. For the states, and for the sums, which must not even lose what
//! was never delivered.

use ledgerline_kernel::VersionItem;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::projection::{Stage, announce, event, history, scale, seed};

/// Product histories of these lengths, delivered in these batches of places in the list of all
/// versions; each batch may be delivered again from a place on, as after a partial failure, or be cut
/// off at that place before, as by a deadline.
type Delivery = (Vec<u64>, Vec<(Vec<usize>, Option<(Index, bool)>)>);

/// Every entity's newest version at least once; of the others some never, some several times.
fn delivery() -> impl Strategy<Value = Delivery> {
    prop::collection::vec(1..=5_u64, 1..=3).prop_flat_map(|versions| {
        let newest: Vec<usize> = versions
            .iter()
            .scan(0, |count, versions| {
                *count += usize::try_from(*versions).unwrap();
                Some(*count - 1)
            })
            .collect();
        let count = newest.last().unwrap() + 1;
        let order = prop::collection::vec(0..count, 0..=2 * count)
            .prop_map(move |others| newest.iter().copied().chain(others).collect::<Vec<_>>())
            .prop_shuffle();
        let batches = order.prop_flat_map(|order| {
            let again = prop::option::weighted(0.4, (any::<Index>(), any::<bool>()));
            let sizes = prop::collection::vec((1..=5_usize, again), order.len());
            sizes.prop_map(move |sizes| {
                let mut left = order.as_slice();
                let mut batches = Vec::new();
                for (size, again) in sizes {
                    let (batch, rest) = left.split_at(size.min(left.len()));
                    if !batch.is_empty() {
                        batches.push((batch.to_vec(), again));
                    }
                    left = rest;
                }
                batches
            })
        });
        (Just(versions), batches)
    })
}

#[test]
fn permuted_duplicated_split_truncated_and_redelivered_batches_end_in_the_same_rows_and_sums() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (stage, _database) = runtime.block_on(Stage::new());
    let (cases, begun) = (if scale(10) == 10 { 10_000 } else { 250 }, std::time::Instant::now());
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let case = std::cell::Cell::new(0_u64);
    let ran = runner.run(&delivery(), |(versions, batches)| {
        case.set(case.get() + 1);
        let tenant = format!("t{}", case.get());
        let of = |(number, count): (usize, &u64)| history(&tenant, &format!("p{number}"), *count, seed() + case.get());
        let items: Vec<VersionItem> = versions.iter().enumerate().flat_map(of).collect();
        let stage = Stage::over(stage.views.clone());
        stage.write(&items);
        runtime.block_on(async {
            for (batch, again) in &batches {
                let batch: Vec<_> = batch.iter().map(|place| &items[*place]).collect();
                let deliveries = match again.map(|(again, is_cut)| (again.index(batch.len()), is_cut)) {
                    None => vec![&batch[..]],
                    Some((from, false)) => vec![&batch[..], &batch[from..]],
                    Some((until, true)) => vec![&batch[..until], &batch[..]],
                };
                for delivered in deliveries {
                    assert_eq!(stage.invoke(event(delivered)).await, Vec::<String>::new());
                }
            }
            stage.assert_is_the_fold_of(&tenant, &items).await;
        });
        Ok(())
    });
    ran.unwrap();
    announce(
        "convergence",
        &format!("{cases} cases for each read model, 0 differences; {:.1} s", begun.elapsed().as_secs_f64()),
    );
    runtime.block_on(async { drop(stage) });
}
