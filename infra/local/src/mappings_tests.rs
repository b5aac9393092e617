//! data-sync behind the event source mapping of the template.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dynoxide::AttributeValue;
use dynoxide::actions::put_item::PutItemRequest;
use ledgerline_app::{Projector, Registry};
use ledgerline_data_sync as data_sync;
use ledgerline_kernel::ports::{Applied, StateSink, StoreError};
use ledgerline_kernel::{DynDomain, VersionItem};
use ledgerline_stores::{DynamoAt, LocalDynamo};
use ledgerline_testkit::note::Note;
use ledgerline_testkit::{MemoryEntities, MemoryQuarantine, note_key, version_items};

use axum::body::{Body, to_bytes};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::event_source::Mapping;
use crate::event_source::simulation::{Simulation, Weather};
use crate::functions::InProcess;
use crate::template::Schedule;

const TABLE: &str = "ledger";

/// More than any number of retries that a mapping was ever given.
const OUTAGE: u32 = 25;

/// A read model that is away at first.
struct Sink {
    entities: MemoryEntities,
    calls: Arc<AtomicU32>,
}

#[async_trait]
impl StateSink for Sink {
    fn name(&self) -> &'static str {
        "sink"
    }

    async fn apply(&self, domain: &dyn DynDomain, items: &[&VersionItem]) -> Result<Applied, StoreError> {
        if self.calls.fetch_add(1, Ordering::SeqCst) < OUTAGE {
            return Err(StoreError::Unavailable { store: "sink", reason: "it is away".to_owned() });
        }
        self.entities.apply(domain, items).await
    }
}

fn put(dynamo: &LocalDynamo, item: Value) {
    let item = serde_json::from_value::<std::collections::HashMap<String, AttributeValue>>(item).unwrap();
    let request = PutItemRequest { table_name: TABLE.to_owned(), item, ..PutItemRequest::default() };
    dynamo.database().put_item(request).unwrap();
}

fn put_note(dynamo: &LocalDynamo, sk: &str) {
    let item = version_items(&note_key(sk), 1).pop().unwrap();
    put(dynamo, serde_json::to_value(serde_dynamo::to_item::<_, serde_dynamo::Item>(item).unwrap()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_outage_longer_than_any_number_of_retries_loses_nothing_and_poison_holds_up_nothing() {
    let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
    dynamo.create_table(TABLE, true).unwrap();
    for number in 0..5 {
        put_note(&dynamo, &format!("n{number}"));
        put(
            &dynamo,
            json!({"pk": {"S": "NOTE#acme"}, "sk": {"S": format!("bad{number}@0000000001")}, "kind": {"S": "version"}}),
        );
    }
    let (entities, quarantine, calls) = (MemoryEntities::default(), MemoryQuarantine::default(), Arc::default());
    let sink = Sink { entities: entities.clone(), calls: Arc::clone(&calls) };
    let projector = Projector::new(Registry::default().with::<Note>().unwrap(), vec![Arc::new(sink)]);
    let deps = data_sync::Deps::new(projector, Arc::new(quarantine.clone()));
    let mut functions = InProcess::default();
    functions.add("data-sync", Duration::from_secs(60), data_sync::service(deps));

    let mapping = Template::load(None).unwrap().stream_mappings.remove(0).settings;
    let directory = tempfile::tempdir().unwrap();
    let stream = DynamoDbStream::open(dynamo.database(), TABLE).unwrap();
    let parts = Parts {
        positions: Arc::new(PositionFile::new(directory.path(), &mapping.id, stream.arn())),
        stream: Arc::new(stream),
        functions: Arc::new(functions),
        failures: Arc::new(FailureFile::new(directory.path().join("failures"))),
        clock: Clock::real(),
    };
    let source = EventSource::start(mapping, parts).await.unwrap();
    source.caught_up().await.unwrap();
    source.stop().await;

    assert!(calls.load(Ordering::SeqCst) > OUTAGE);
    assert_eq!(entities.all().len(), 5);
    assert_eq!(quarantine.all().len(), 5);
    assert!(!directory.path().join("failures").exists(), "nothing was given up");
}

#[tokio::test]
async fn a_host_says_how_far_its_mappings_are_and_runs_its_schedules_when_asked() {
    let simulation = Simulation::new(1, Mapping::new("Sync.Ledger", "sync"), 1, Weather::default());
    simulation.stream.put(&json!({"pk": {"S": "p"}, "sk": {"S": "s"}}), simulation.clock.now());
    simulation.clock.advance(Duration::from_secs(30));
    let mut functions = InProcess::default();
    functions.add("tick", Duration::from_secs(60), lambda_runtime::service_fn(tick));
    let functions: Arc<dyn Invoke> = Arc::new(functions);
    let source = simulation.start(Arc::clone(&functions)).await.unwrap();
    let every = Duration::from_secs(3600);
    let schedule = Schedule { id: "F.Tick".to_owned(), function: "tick".to_owned(), every, input: None };
    let schedules = Schedules::start(&[schedule], &functions, &simulation.clock);
    let sources = vec![source.reader().clone()];
    let reader = MappingsReader { sources, queues: Vec::new(), notifications: None, schedules: schedules.reader() };
    let router = reader.router();
    let ask = |method: &str, path: &str| {
        let request = axum::http::Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let router = router.clone();
        async move {
            let answer = router.oneshot(request).await.unwrap();
            serde_json::from_slice::<Value>(&to_bytes(answer.into_body(), usize::MAX).await.unwrap()).unwrap()
        }
    };
    let ran = ask("POST", &format!("{RUN_SCHEDULES_PATH}?function=tick")).await;
    assert_eq!((&ran[0]["runs"], &ran[0]["lastAnswer"]), (&json!(1), &json!("\"tock\"")));
    assert_eq!(ask("POST", &format!("{RUN_SCHEDULES_PATH}?function=other")).await, json!([]));
    let status = ask("GET", STATUS_PATH).await;
    let source_status = &status["eventSources"][0];
    assert_eq!((&source_status["mapping"], &source_status["recordsBehind"]), (&json!("Sync.Ledger"), &json!(1)));
    assert_eq!((&source_status["lagSeconds"], &source_status["failureDepth"]), (&json!(30.0), &json!(0)));
    assert_eq!(status["schedules"][0]["lastAnswer"], "\"tock\"");
    schedules.stop().await;
    source.stop().await;
}

async fn tick(_: lambda_runtime::LambdaEvent<Value>) -> Result<&'static str, String> {
    Ok("tock")
}
