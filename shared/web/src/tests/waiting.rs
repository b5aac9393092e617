//! `Prefer: wait=N`: the answer comes when the read models show it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use ledgerline_app::Projector;
use ledgerline_kernel::ports::{Applied, StateSink, StoreError};
use ledgerline_kernel::{DynDomain, VersionItem};
use serde_json::json;
use tokio::sync::Semaphore;

use super::world::{Answer, World, product};
use crate::Api;

const PRODUCTS: &str = "/api/v1/products";

async fn create(world: &World, headers: &[(&str, &str)]) -> Answer {
    let answer = world.ask("POST", PRODUCTS, headers, &product("p", "1").to_string()).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.json);
    answer
}

async fn listed(world: &World) -> usize {
    world.get(PRODUCTS).await.json["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_caller_who_waits_finds_the_command_in_the_read_models() {
    let world = World::new();
    assert_eq!(create(&world, &[("prefer", "wait=7")]).await.header("preference-applied"), "wait=5");
    assert_eq!(listed(&world).await, 1);
    let headers = [("prefer", "wait=2"), ("if-match", "*")];
    let answer = world.ask("DELETE", "/api/v1/products/p", &headers, "").await;
    assert_eq!(answer.header("preference-applied"), "wait=2");
    assert_eq!(listed(&world).await, 0);
}

#[tokio::test]
async fn a_caller_who_does_not_is_answered_at_once() {
    let world = World::new();
    for headers in [&[][..], &[("prefer", "wait=soon")], &[("prefer", "wait=0")], &[("prefer", "return=minimal")]] {
        let world = World::new();
        assert_eq!(create(&world, headers).await.header("preference-applied"), "", "{headers:?}");
        assert_eq!(listed(&world).await, 0, "{headers:?}");
    }
    let world = world.serving(|api| api.projector = None);
    assert_eq!(create(&world, &[("prefer", "wait=5")]).await.header("preference-applied"), "", "no projector");
}

#[tokio::test]
async fn a_repeated_command_makes_up_for_a_wait_that_came_to_nothing() {
    let world = World::new();
    let key = ("idempotency-key", "k");
    let first = create(&world, &[key]).await;
    assert_eq!(listed(&world).await, 0, "as if the process had been killed right after its write");
    let again = create(&world, &[key, ("prefer", "wait=5")]).await;
    assert_eq!(again.replayable(), first.replayable());
    assert_eq!(again.header("preference-applied"), "wait=5");
    assert_eq!(listed(&world).await, 1);
}

#[tokio::test]
async fn a_caller_can_wait_for_a_batch_and_for_all_that_one_command_changes() {
    let world = World::new();
    for path in ["/api/v1/products/bulk", "/api/v1/products/bulk?atomic=true"] {
        let sks = if path.ends_with("bulk") { ["a", "b"] } else { ["c", "d"] };
        let entries = json!([product(sks[0], "1"), {"code": 7}, product(sks[1], "1")]);
        let entries = if path.ends_with("bulk") { entries } else { json!([entries[0], entries[2]]) };
        let answer = world.ask("POST", path, &[("prefer", "wait=5")], &entries.to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.header("preference-applied")), (200, "wait=5"), "{}", answer.json);
    }
    assert_eq!(listed(&world).await, 4);
    let headers = [("prefer", "wait=5"), ("if-match", "\"1\"")];
    let path = "/api/v1/products/a/commands/merge-into";
    world.ask("POST", path, &headers, r#"{"target": "b"}"#).await;
    assert_eq!(listed(&world).await, 3);
}

#[tokio::test]
async fn who_repeats_a_merge_and_waits_finds_both_products_in_the_read_models() {
    let world = World::new();
    for body in [product("a", "1"), json!({"sk": "b", "code": "C-b", "name": "without a price"})] {
        world.ask("POST", PRODUCTS, &[("prefer", "wait=5")], &body.to_string()).await.expect(201, "");
    }
    let merge = async |headers: &[(&str, &str)]| {
        let headers = [&[("if-match", "\"1\""), ("idempotency-key", "k")][..], headers].concat();
        world.ask("POST", "/api/v1/products/a/commands/merge-into", &headers, r#"{"target": "b"}"#).await
    };
    merge(&[]).await.expect(200, "");
    let again = merge(&[("prefer", "wait=5")]).await.expect(200, "");
    assert_eq!((again.header("idempotent-replayed"), again.header("preference-applied")), ("true", "wait=5"));
    let shown = world.get(PRODUCTS).await.json["data"].clone();
    assert_eq!((&shown[0]["sk"], &shown[0]["version"], shown.get(1)), (&json!("b"), &json!(2), None));
}

/// A read model that takes nothing before it is let, and then fails or not.
struct Slow {
    gate: Arc<Semaphore>,
    outcome: Result<Applied, StoreError>,
    ended: Arc<AtomicUsize>,
}

#[async_trait]
impl StateSink for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    async fn apply(&self, _: &dyn DynDomain, _: &[&VersionItem]) -> Result<Applied, StoreError> {
        let _open = self.gate.acquire().await.unwrap();
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.outcome.clone()
    }
}

fn projecting_into(sink: Slow) -> impl FnOnce(&mut Api) {
    move |api| api.projector = Some(Projector::new(api.registry.clone(), vec![Arc::new(sink)]))
}

#[tokio::test]
async fn a_projection_that_fails_leaves_the_answer_as_it_is_but_for_the_header() {
    let outcome = Err(StoreError::Unavailable { store: "slow", reason: "down".to_owned() });
    let fork = Ok(Applied { forks: vec!["PRODUCT#acme#p".parse().unwrap()], ..Applied::default() });
    for outcome in [outcome, fork] {
        let sink = Slow { gate: Arc::new(Semaphore::new(1)), outcome, ended: Arc::default() };
        let world = World::new().serving(projecting_into(sink));
        assert_eq!(create(&world, &[("prefer", "wait=5")]).await.header("preference-applied"), "");
        assert_eq!(world.stored().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_projection_that_takes_too_long_is_not_waited_for_and_not_cancelled_either() {
    let (gate, ended) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let sink = Slow { gate: Arc::clone(&gate), outcome: Ok(Applied::default()), ended: Arc::clone(&ended) };
    let world = World::new().serving(projecting_into(sink));
    let begun = tokio::time::Instant::now();
    assert_eq!(create(&world, &[("prefer", "wait=3")]).await.header("preference-applied"), "");
    assert_eq!(begun.elapsed().as_secs(), 3);
    assert_eq!(ended.load(Ordering::Relaxed), 0);
    gate.add_permits(1);
    while ended.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
}
