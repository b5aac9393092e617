//! What becomes of writes when DynamoDB fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use aws_sdk_dynamodb::config::retry::RetryPartition;
use futures::future::join_all;
use ledgerline_kernel::ports::{LedgerScan, LedgerWrite};
use ledgerline_kernel::{ClaimChange, Commit, Timestamp, VersionItem};
use ledgerline_stores::{Fault, FaultyDynamo};
use ledgerline_testkit::noon;

use super::writes::{code, everything, remembering};
use super::*;

/// How often the SDK sends a request that fails.
const SDK_ATTEMPTS: u32 = 3;
/// How often the ledger sends a transaction that others get in the way of.
const ATTEMPTS: u64 = 6;

struct World {
    dynamo: LocalDynamo,
    proxy: FaultyDynamo,
}

impl World {
    async fn new() -> Self {
        let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
        dynamo.create_table(TABLE, false).unwrap();
        let proxy = FaultyDynamo::start(dynamo.endpoint()).await.unwrap();
        Self { dynamo, proxy }
    }

    /// A ledger behind the proxy. What the SDK allows itself in retries is its own, not shared with
    /// the rest of the process.
    fn ledger(&self, name: String) -> DynamoLedger {
        let retries = RetryConfig::standard().with_max_attempts(SDK_ATTEMPTS);
        let retries = retries.with_initial_backoff(Duration::from_millis(1));
        let config = settings(self.proxy.endpoint()).retry_config(retries).retry_partition(RetryPartition::new(name));
        DynamoLedger::new(Client::from_conf(config.build()), TABLE)
    }

    /// A ledger to which nothing happens.
    fn sound_ledger(&self) -> DynamoLedger {
        DynamoLedger::new(Client::from_conf(settings(self.dynamo.endpoint()).build()), TABLE)
    }

    fn calls(&self) -> Vec<(String, u64)> {
        let calls = self.proxy.calls().into_iter().collect();
        self.proxy.reset();
        calls
    }
}

fn calls(operation: &str, count: u64) -> Vec<(String, u64)> {
    vec![(operation.to_owned(), count)]
}

#[tokio::test]
async fn each_operation_of_the_ledger_is_one_call() {
    let world = World::new().await;
    let ledger = world.ledger("one call".to_owned());
    let (one, commit) = everything("n");
    append(&ledger, &one).await.unwrap();
    assert_eq!(world.calls(), calls("PutItem", 1));
    ledger.commit(&commit, noon()).await.unwrap();
    assert_eq!(world.calls(), calls("TransactWriteItems", 1));
    ledger.newest(&one.key).await.unwrap();
    assert_eq!(world.calls(), calls("Query", 1));
    ledger.remembered(&one.key.partition.tenant, "key of n", noon()).await.unwrap();
    assert_eq!(world.calls(), calls("GetItem", 1));
}

#[tokio::test]
async fn a_conflict_is_tried_again_until_it_is_over() {
    let world = World::new().await;
    let ledger = world.ledger("conflicts end".to_owned());
    let (one, commit) = everything("n");
    world.proxy.fail_next("PutItem", Fault::Conflict);
    append(&ledger, &one).await.unwrap();
    assert_eq!(world.calls(), calls("PutItem", 2));
    for _ in 0..3 {
        world.proxy.fail_next("TransactWriteItems", Fault::Conflict);
    }
    ledger.commit(&commit, noon()).await.unwrap();
    assert_eq!(world.calls(), calls("TransactWriteItems", 4));
    assert_eq!(ledger.newest(&one.key).await, Ok(Some(commit.versions[0].clone())));
}

#[tokio::test]
async fn a_conflict_that_does_not_end_is_contention_after_a_bounded_number_of_attempts() {
    let world = World::new().await;
    let ledger = world.ledger("conflicts stay".to_owned());
    let (one, commit) = everything("n");
    for operation in ["PutItem", "TransactWriteItems"] {
        world.proxy.fail_at_random(0, operation, Fault::Conflict, 1.0);
    }
    assert_eq!(append(&ledger, &one).await, Err(CommitError::Contended));
    assert_eq!(ledger.commit(&commit, noon()).await, Err(CommitError::Contended));
    let expected =
        [("PutItem", ATTEMPTS), ("TransactWriteItems", ATTEMPTS)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(world.calls(), expected);
    assert_eq!(ledger.newest(&one.key).await, Ok(None));
}

#[tokio::test]
async fn throttling_is_tried_again_and_unavailable_after_a_bounded_number_of_attempts() {
    let world = World::new().await;
    let ledger = world.ledger("throttled".to_owned());
    let (one, commit) = everything("n");
    world.proxy.fail_next("PutItem", Fault::Throttle);
    append(&ledger, &one).await.unwrap();
    world.proxy.fail_next("TransactWriteItems", Fault::Throttle);
    ledger.commit(&commit, noon()).await.unwrap();
    assert_eq!(world.calls(), [("PutItem".to_owned(), 2), ("TransactWriteItems".to_owned(), 2)]);
    let (one, commit) = everything("m");
    for operation in ["PutItem", "TransactWriteItems"] {
        world.proxy.fail_at_random(0, operation, Fault::Throttle, 1.0);
    }
    for outcome in [append(&ledger, &one).await, ledger.commit(&commit, noon()).await] {
        assert!(matches!(outcome, Err(CommitError::Store(StoreError::Unavailable { .. }))), "{outcome:?}");
    }
    let attempts = u64::from(SDK_ATTEMPTS);
    assert_eq!(world.calls(), [("PutItem".to_owned(), attempts), ("TransactWriteItems".to_owned(), attempts)]);
    assert_eq!(ledger.newest(&one.key).await, Ok(None));
}

#[tokio::test]
async fn a_server_error_after_the_write_is_a_success() {
    let world = World::new().await;
    let ledger = world.ledger("server errors".to_owned());
    let (one, commit) = everything("n");
    world.proxy.fail_next("PutItem", Fault::ServerError);
    assert_eq!(append(&ledger, &one).await, Ok(()));
    world.proxy.fail_next("TransactWriteItems", Fault::ServerError);
    assert_eq!(ledger.commit(&commit, noon()).await, Ok(()));
    assert_eq!(ledger.history(&one.key, None, 10).await.unwrap().len(), 2);
}

const DROPPED: u64 = 5_000;
const WRITERS: usize = 32;
const VERSIONS: u64 = 25;
const SEED: u64 = 20_260_101;

/// Of ten answers to writes seven never arrive. Nobody but its own writer writes an entity, so every
/// conflict that a writer hears of is a false one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_lost_answers_are_no_conflict_and_no_second_version() {
    let world = World::new().await;
    for operation in ["PutItem", "TransactWriteItems"] {
        world.proxy.fail_at_random(SEED, operation, Fault::DropResponse, 0.7);
    }
    let start = Instant::now();
    let retried = AtomicU64::new(0);
    let written = join_all((0..WRITERS).map(|writer| write_until_enough_is_lost(&world, writer, &retried))).await;
    let written: BTreeMap<_, _> = written.into_iter().flatten().map(|item| (item.key.at(item.version), item)).collect();
    let (calls, faults, time) = (world.proxy.calls(), world.proxy.faults(), start.elapsed());

    let ledger = world.sound_ledger();
    let mut stored = BTreeMap::new();
    let mut from = None;
    loop {
        let (items, next) = ledger.scan(from).await.unwrap();
        stored.extend(items.into_iter().map(|item| (item.key.at(item.version), item)));
        from = next;
        if from.is_none() {
            break;
        }
    }
    assert!(stored == written, "what is stored is what was acknowledged, each once and as it was sent");
    assert_chained(stored.values());
    let (lost, again) = (faults[&Fault::DropResponse], retried.into_inner());
    println!(
        "seed {SEED}: {lost} answers lost, of which {again} with all that the SDK tried; {} versions, 0 false conflicts, \
         0 double versions; {calls:?}; {time:.1?}",
        stored.len(),
    );
    assert!(lost >= DROPPED);
    assert!(again > 0 && again < lost, "both the SDK and the caller sent again");
}

/// Writes one note after the other, every second version with a value and a request's key.
async fn write_until_enough_is_lost(world: &World, writer: usize, retried: &AtomicU64) -> Vec<VersionItem> {
    let ledger = world.ledger(format!("writer {writer}"));
    let mut written = Vec::new();
    for note in 0.. {
        let key = note_key(&format!("{writer}-{note}"));
        for item in version_items(&key, VERSIONS) {
            if world.proxy.faults().get(&Fault::DropResponse).is_some_and(|lost| *lost >= DROPPED) {
                return written;
            }
            let mut commit = Commit::of(item.clone());
            if item.version.number() % 2 == 1 {
                commit.claims = vec![ClaimChange::Take(code(key.sk.as_str()), key.clone())];
                commit.idempotency = Some(remembering(&key.at(item.version).to_string(), &item));
            }
            commit_until_it_is_known(&ledger, &commit, retried).await;
            written.push(item);
        }
    }
    written
}

/// As a client does that hears nothing: the same again, a second later.
async fn commit_until_it_is_known(ledger: &DynamoLedger, commit: &Commit, retried: &AtomicU64) {
    for second in 0.. {
        let now: Timestamp = (noon().as_datetime() + Duration::from_secs(second)).into();
        match ledger.commit(commit, now).await {
            Ok(()) => return,
            Err(CommitError::Store(StoreError::Unavailable { .. })) => retried.fetch_add(1, Ordering::Relaxed),
            Err(error) => panic!("seed {SEED}: a false conflict: {error}"),
        };
    }
}

fn assert_chained<'a>(items: impl Iterator<Item = &'a VersionItem>) {
    let mut previous: Option<&VersionItem> = None;
    for item in items {
        match previous.filter(|previous| previous.key == item.key) {
            Some(previous) => {
                assert_eq!(item.version, previous.version.next().unwrap(), "{} has a gap", item.key);
                assert_eq!(item.prev_hash, previous.hash, "{} is forked", item.key);
            }
            None => assert_eq!(item.version, Version::FIRST, "{} has no beginning", item.key),
        }
        assert_eq!(item.computed_hash().as_ref(), Ok(&item.hash));
        previous = Some(item);
    }
}
