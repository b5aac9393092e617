//! Whatever a stream does to the order and the number of its records, data-sync leaves the same rows:
//! raw JSON in, real Postgres behind.

use std::sync::Arc;

use lambda_runtime::{Context, LambdaEvent};
use ledgerline_app::{Projector, Registry};
use ledgerline_data_sync::{Deps, service};
use ledgerline_kernel::ports::{EntityList as _, ListQuery};
use ledgerline_kernel::{Aggregate as _, Domain as _, Draft, Entity, EntityKey, Stamp, Version, VersionItem};
use ledgerline_stores::TestDatabase;
use ledgerline_testkit::{MemoryEntities, MemoryQuarantine};
use ledgerline_views_postgres::PostgresViews;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use tower::ServiceExt as _;

const CASES: u32 = 1_000;
const SEED: [u8; 32] = [7; 32];

/// Product histories of these lengths, delivered in these batches of places in the list of all
/// versions; each batch may be delivered again from a place on, as after a partial failure.
type Delivery = (Vec<u64>, Vec<(Vec<usize>, Option<Index>)>);

fn delivery() -> impl Strategy<Value = Delivery> {
    prop::collection::vec(1..=4_u64, 1..=3).prop_flat_map(|versions| {
        let count = usize::try_from(versions.iter().sum::<u64>()).unwrap();
        // Every record at least once, any of them again.
        let order = prop::collection::vec(0..count, 0..=count)
            .prop_map(move |again| (0..count).chain(again).collect::<Vec<_>>())
            .prop_shuffle();
        let batches = order.prop_flat_map(|order| {
            let sizes = prop::collection::vec((1..=5_usize, prop::option::weighted(0.3, any::<Index>())), order.len());
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

/// The chained versions of one product: created, then a new price each time.
fn history(tenant: &str, sk: &str, count: u64) -> Vec<VersionItem> {
    use ledgerline_domain::Product;
    let key: EntityKey = format!("PRODUCT#{tenant}#{sk}").parse().unwrap();
    let registry = Registry::shipped().unwrap();
    let domain = registry.by_resource("products").unwrap();
    let mut items: Vec<VersionItem> = Vec::new();
    for number in 1..=count {
        let (action, body) = match number {
            1 => (
                ledgerline_kernel::Action::Create,
                json!({"code": sk, "name": "指輪", "attributes": {"price": "1.10"}}),
            ),
            _ => (ledgerline_kernel::Action::Named("change-price"), json!({"price": format!("{number}.{number}0")})),
        };
        let context = ledgerline_kernel::DecisionContext {
            now: "2026-11-20T08:00:00Z".parse().unwrap(),
            tenant: tenant.parse().unwrap(),
            user: "ann".to_owned(),
        };
        let prepared = domain.prepare(action, &body.to_string()).unwrap();
        let decided = prepared.command.decide(&[items.last().cloned()], &context).unwrap().remove(0).unwrap();
        let draft = Draft {
            code: decided.code,
            name: decided.name,
            is_deleted: decided.is_deleted,
            events: decided.events,
            state: decided.state,
            command_id: format!("{key}@{number}"),
            request_id: "r".to_owned(),
            source: "test".to_owned(),
            traceparent: None,
            stamp: Stamp { at: context.now, by: context.user, ip: String::new() },
        };
        let version = Version::new(number).unwrap();
        items.push(VersionItem::chain(key.clone(), version, items.last(), draft).unwrap());
    }
    assert!(items.iter().all(|item| item.events.iter().all(|event| Product::from_stored(event).is_some())));
    let state: Product = serde_json::from_value(items.last().unwrap().state.clone()).unwrap();
    assert_eq!(state.code(), sk);
    items
}

/// The event that Lambda would be invoked with.
fn event(items: &[&VersionItem]) -> String {
    let records: Vec<_> = items
        .iter()
        .enumerate()
        .map(|(number, item)| {
            let image: serde_dynamo::Item = serde_dynamo::to_item(item).unwrap();
            json!({
                "eventID": number.to_string(), "eventName": "INSERT", "eventSource": "aws:dynamodb",
                "dynamodb": {"NewImage": image, "SequenceNumber": format!("{}", 100 + number), "StreamViewType": "NEW_IMAGE"},
            })
        })
        .collect();
    json!({ "Records": records }).to_string()
}

#[test]
fn permuted_duplicated_split_and_redelivered_batches_end_in_the_same_rows() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let database = runtime.block_on(TestDatabase::create()).unwrap();
    let views = runtime.block_on(async { PostgresViews::lazy(database.url(), database.max_connections()) }).unwrap();
    runtime.block_on(views.migrate()).unwrap();
    let registry = Registry::shipped().unwrap();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
    let mut runner = TestRunner::new_with_rng(Config { cases: CASES, max_shrink_iters: 200, ..Config::default() }, rng);
    let case = std::cell::Cell::new(0_u32);
    let ran = runner.run(&delivery(), |(versions, batches)| {
        case.set(case.get() + 1);
        let tenant = format!("t{}", case.get());
        let histories: Vec<_> = versions
            .iter()
            .enumerate()
            .map(|(number, count)| history(&tenant, &format!("p{number}"), *count))
            .collect();
        let items: Vec<&VersionItem> = histories.iter().flatten().collect();
        let data_table = MemoryEntities::default();
        let sinks = vec![Arc::new(data_table.clone()) as _, Arc::new(views.clone()) as _];
        let projector = Projector::new(registry.clone(), sinks);
        let function = service(Deps { projector, quarantine: Arc::new(MemoryQuarantine::default()) });
        let rows = runtime.block_on(async {
            for (batch, again) in &batches {
                let batch: Vec<_> = batch.iter().map(|place| items[*place]).collect();
                let redelivered = again.map(|again| &batch[again.index(batch.len())..]);
                for delivered in [Some(batch.as_slice()), redelivered].into_iter().flatten() {
                    let payload = serde_json::value::RawValue::from_string(event(delivered)).unwrap();
                    let answer = function.clone().oneshot(LambdaEvent::new(payload, Context::default())).await.unwrap();
                    assert_eq!(answer.batch_item_failures, []);
                }
            }
            let query = ListQuery {
                tenant: tenant.parse().unwrap(),
                filters: Vec::new(),
                sort: Vec::new(),
                after: None,
                limit: 100,
                include_deleted: true,
                with_total: false,
            };
            views.list(registry.by_resource("products").unwrap().as_ref(), &query).await.unwrap().entities
        });
        let expected: Vec<Entity> = histories.iter().map(|history| Entity::from(history.last().unwrap())).collect();
        prop_assert_eq!(&rows, &expected);
        prop_assert_eq!(&data_table.all(), &expected);
        Ok(())
    });
    println!("{} cases, seed {SEED:?}", case.get());
    ran.unwrap();
    runtime.block_on(async { drop(views) });
}
