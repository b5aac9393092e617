use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use lambda_runtime::tower::ServiceExt as _;
use ledgerline_app::{Environment, Projector, Reconciler, Registry};
use ledgerline_kernel::Timestamp;
use ledgerline_kernel::ports::Rounds as _;
use ledgerline_testkit::note::Note;
use ledgerline_testkit::{MemoryEntities, MemoryLedger, MemoryResyncs, noon, note_key, version_items};

use super::*;

/// Long after everything was written.
struct Later;

#[async_trait]
impl Environment for Later {
    fn now(&self) -> Timestamp {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    fn new_id(&self) -> String {
        "the only one".to_owned()
    }

    async fn back_off(&self, _: u32) {}
}

/// Forty notes that no read model has.
fn unprojected() -> (Deps, MemoryEntities, MemoryResyncs) {
    let (ledger, rows, store) = (MemoryLedger::default(), MemoryEntities::default(), MemoryResyncs::default());
    for number in 0..40 {
        version_items(&note_key(&format!("{number}")), 1).into_iter().for_each(|item| ledger.insert(item));
    }
    assert!(noon() < Later.now());
    let registry = Registry::default().with::<Note>().unwrap();
    let projector = Projector::new(registry.clone(), vec![Arc::new(rows.clone())]);
    let (index, ledger) = (Arc::new(ledger.clone()), Arc::new(ledger));
    let models = vec![Arc::new(rows.clone()) as _];
    let reconciler = Reconciler::new(registry, index, ledger, projector, models, Arc::new(Later));
    let kept = Arc::new(store.clone());
    let maintenance =
        Maintenance::new(reconciler, kept.clone(), kept, Duration::from_secs(900), Duration::from_secs(60));
    (Deps { maintenance }, rows, store)
}

fn schedule(deadline: Duration) -> LambdaEvent<Value> {
    let event = include_str!("../../../events/reconcile/schedule.json");
    let mut context = Context::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    context.deadline = u64::try_from((now + deadline).as_millis()).unwrap();
    LambdaEvent::new(serde_json::from_str(event).unwrap(), context)
}

#[tokio::test]
async fn a_scheduled_event_gets_the_read_models_right_and_says_so() {
    let (deps, rows, store) = unprojected();
    let worked = service(deps).oneshot(schedule(Duration::from_secs(60))).await.unwrap();
    let counts = worked.round.unwrap().counts;
    assert_eq!((counts.missing, counts.repaired, counts.proven), (40, 40, 1));
    assert_eq!(rows.all().len(), 40);
    assert!(store.newest_round().await.unwrap().unwrap().finished_at.is_some());
}

#[tokio::test]
async fn an_invocation_whose_time_is_nearly_over_begins_nothing() {
    let (deps, rows, store) = unprojected();
    let worked = service(deps).oneshot(schedule(RESERVE)).await.unwrap();
    assert!(worked.unfinished && worked.round.is_none());
    assert_eq!(rows.all(), []);
    assert!(store.newest_round().await.unwrap().unwrap().finished_at.is_none());
}
