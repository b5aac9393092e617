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

use super::*;
use crate::functions::InProcess;

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

fn put(dynamo: &LocalDynamo, item: serde_json::Value) {
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
            serde_json::json!({"pk": {"S": "NOTE#acme"}, "sk": {"S": format!("bad{number}@0000000001")}, "kind": {"S": "version"}}),
        );
    }
    let (entities, quarantine, calls) = (MemoryEntities::default(), MemoryQuarantine::default(), Arc::default());
    let sink = Sink { entities: entities.clone(), calls: Arc::clone(&calls) };
    let projector = Projector::new(Registry::default().with::<Note>().unwrap(), vec![Arc::new(sink)]);
    let deps = data_sync::Deps { projector, quarantine: Arc::new(quarantine.clone()) };
    let mut functions = InProcess::default();
    functions.add("data-sync", Duration::from_secs(60), data_sync::service(deps));

    let mapping = Template::load(None).unwrap().stream_mappings.remove(0).settings;
    let directory = tempfile::tempdir().unwrap();
    let stream = DynamoDbStream::open(dynamo.database(), TABLE).unwrap();
    let position = PositionFile::new(directory.path(), &mapping.id, stream.arn());
    let failures = FailureFile::new(directory.path().join("failures"));
    let source = EventSource::start(mapping, stream, position, Arc::new(functions), failures).await.unwrap();
    source.caught_up().await.unwrap();
    source.stop().await;

    assert!(calls.load(Ordering::SeqCst) > OUTAGE);
    assert_eq!(entities.all().len(), 5);
    assert_eq!(quarantine.all().len(), 5);
    assert!(!directory.path().join("failures").exists(), "nothing was given up");
}
