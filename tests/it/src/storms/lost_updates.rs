use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ledgerline_app::{CommandError, IfMatch};
use ledgerline_kernel::ports::{CommitError, LedgerRead, LedgerWrite, StoreError};
use ledgerline_kernel::{Action, Commit, EntityKey, IdempotencyRecord, TenantCode, Timestamp, Version, VersionItem};
use ledgerline_ledger_dynamodb::DynamoLedger;
use serde_json::json;

use super::{Store, Writer, announce, scale, seed};

const CLIENTS: usize = 64;
const ENTITIES: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn of_64_clients_updates_to_50_entities_none_is_lost_and_none_doubled() {
    let store = Store::start().await;
    let weather = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed())));
    let writer = Writer::products(Unsteady { ledger: store.ledger(), weather });
    for entity in 0..ENTITIES {
        let body = json!({"sk": format!("e-{entity}"), "code": format!("E-{entity}"), "name": "Stormy"});
        writer.send(writer.create(&body.to_string())).await.unwrap();
    }

    let updates = scale(10_000);
    let (left, started) = (Arc::new(AtomicUsize::new(updates)), Instant::now());
    let clients = (0..CLIENTS).map(|id| tokio::spawn(client(id, writer.clone(), left.clone())));
    let mut storm = Outcome::default();
    for client in clients.collect::<Vec<_>>() {
        let outcome = client.await.unwrap();
        storm.accepted.extend(outcome.accepted);
        storm.conflicts += outcome.conflicts;
        storm.contended += outcome.contended;
    }
    let seconds = started.elapsed().as_secs_f64();

    let contents = store.contents().await;
    contents.assert_contiguous();
    assert_eq!(contents.versions.len(), ENTITIES);
    assert_eq!(contents.version_count(), ENTITIES + updates, "accepted and stored updates differ in number");
    let stored: Vec<&VersionItem> = contents.versions.values().flat_map(|history| history.iter().skip(1)).collect();
    let commands: BTreeSet<&str> = stored.iter().map(|item| item.command_id.as_str()).collect();
    assert_eq!(commands.len(), updates, "a command wrote twice");
    let stored: BTreeMap<_, _> = stored.iter().map(|item| ((item.key.clone(), item.version), &item.hash)).collect();
    let answered: BTreeMap<_, _> =
        storm.accepted.iter().map(|item| ((item.key.clone(), item.version), &item.hash)).collect();
    assert_eq!(answered, stored, "what was answered is not what is stored");
    for history in contents.versions.values() {
        assert_each_update_builds_on_the_one_before(history);
    }
    store.dynamo.stop().await;
    announce(
        "lost updates",
        &format!(
            "{CLIENTS} clients, {ENTITIES} entities, {updates} updates accepted, 0 lost, 0 doubled, \
             {} version conflicts, {} answers CONTENDED, {seconds:.1} s",
            storm.conflicts, storm.contended
        ),
    );
}

/// The chain of prices: what an update replaced is what its predecessor had set.
#[track_caller]
fn assert_each_update_builds_on_the_one_before(history: &[VersionItem]) {
    for pair in history.windows(2) {
        let [before, after] = pair else { unreachable!() };
        let [event] = after.events.as_slice() else { panic!("{} events in {}", after.events.len(), after.key) };
        let price = |item: &VersionItem| item.state["attributes"].get("price").cloned().unwrap_or_default();
        assert_eq!(event.data["from"], price(before), "{} at {}", after.key, after.version);
        assert_eq!(event.data["to"], price(after), "{} at {}", after.key, after.version);
    }
}

#[derive(Default)]
struct Outcome {
    accepted: Vec<VersionItem>,
    conflicts: usize,
    contended: usize,
}

/// Updates entities at random until there is nothing left to do: half of the time whatever their
/// version, half of the time the version it has last seen.
async fn client(id: usize, writer: Writer, left: Arc<AtomicUsize>) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed() ^ (id as u64 + 1));
    let mut seen = [Version::FIRST; ENTITIES];
    let mut outcome = Outcome::default();
    let mut price = id * 1_000_000;
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let entity = random.usize(..ENTITIES);
        price += 1;
        let (sk, body) = (format!("e-{entity}"), json!({"price": price.to_string()}).to_string());
        loop {
            let if_match = if random.bool() { IfMatch::Any } else { IfMatch::Version(seen[entity]) };
            match writer.send(writer.change(Action::Named("change-price"), &sk, if_match, &body)).await {
                Ok(accepted) => {
                    assert!(accepted.changed && !accepted.replayed);
                    seen[entity] = accepted.item.version;
                    outcome.accepted.push(accepted.item);
                    break;
                }
                Err(CommandError::VersionConflict { expected, current, .. }) => {
                    assert!(current > expected, "a conflict with version {current}, seen after {expected}");
                    seen[entity] = current;
                    outcome.conflicts += 1;
                }
                Err(CommandError::Contended(_)) => {
                    outcome.contended += 1;
                    tokio::time::sleep(Duration::from_millis(random.u64(..20))).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    outcome
}

/// A ledger with random pauses before and after each call, so that others get in between.
struct Unsteady {
    ledger: DynamoLedger,
    weather: Arc<Mutex<fastrand::Rng>>,
}

impl Unsteady {
    async fn pause(&self) {
        let yields = self.weather.lock().unwrap().u32(..8);
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl LedgerRead for Unsteady {
    async fn newest(&self, key: &EntityKey) -> Result<Option<VersionItem>, StoreError> {
        self.pause().await;
        let newest = self.ledger.newest(key).await;
        self.pause().await;
        newest
    }

    async fn at(&self, key: &EntityKey, version: Version) -> Result<Option<VersionItem>, StoreError> {
        self.ledger.at(key, version).await
    }

    async fn history(
        &self,
        key: &EntityKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionItem>, StoreError> {
        self.ledger.history(key, before, limit).await
    }
}

#[async_trait]
impl LedgerWrite for Unsteady {
    async fn commit(&self, commit: &Commit, now: Timestamp) -> Result<(), CommitError> {
        self.pause().await;
        let outcome = self.ledger.commit(commit, now).await;
        self.pause().await;
        outcome
    }

    async fn remembered(
        &self,
        tenant: &TenantCode,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.ledger.remembered(tenant, key, now).await
    }
}
