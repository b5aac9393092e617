use lambda_runtime::Context;
use lambda_runtime::tower::ServiceExt as _;
use ledgerline_app::{Caller, ImportRequest, Imports};
use ledgerline_kernel::ports::ImportJobs as _;
use ledgerline_kernel::{ImportCounts, ImportKey};
use ledgerline_testkit::{MemoryDeltas, MemoryEntities, MemoryLedger, MemoryObjects};
use serde_json::json;

use super::*;

const ROWS: &str = include_str!("../../../events/import-worker/rows.json");
const PARTIAL: &str = include_str!("../../../events/import-worker/partial-failure.json");

struct World {
    ledger: MemoryLedger,
    entities: MemoryEntities,
    import: ImportKey,
}

impl World {
    async fn new() -> Self {
        let (ledger, registry) = (MemoryLedger::default(), Registry::shipped().unwrap());
        let (jobs, objects) = (Arc::new(ledger.clone()), Arc::new(MemoryObjects::default()));
        let imports = Imports::new(registry, jobs, objects, Arc::new(SystemEnvironment));
        let caller = Caller { tenant: "acme".parse().unwrap(), user: "ann".to_owned(), ip: String::new() };
        let mapping = json!({"fields": {
            "sk": "sk", "code": "code", "name": "name", "attributes.category": "category", "attributes.price": "price",
        }});
        let body = json!({"resource": "products", "format": "csv", "mapping": mapping, "source": {"upload": true}});
        let request = ImportRequest::read(&body.to_string()).unwrap();
        let import = imports.ask(&caller, request).await.unwrap().job.key;
        Self { ledger, entities: MemoryEntities::default(), import }
    }

    fn deps(&self) -> Deps {
        let (registry, ledger) = (Registry::shipped().unwrap(), Arc::new(self.ledger.clone()));
        let projector = Projector::new(registry.clone(), vec![Arc::new(self.entities.clone())])
            .with_deltas(ledger.clone(), Arc::new(MemoryDeltas::default()));
        let commands = Commands::new(ledger.clone(), Arc::new(SystemEnvironment));
        let stores = (ledger.clone() as _, ledger.clone() as _);
        let worker = ImportWorker::new(commands, stores, ledger, (registry, projector), Arc::new(SystemEnvironment));
        Deps { worker }
    }

    async fn invoke(&self, event: &str) -> Vec<String> {
        let event = event.replace("01KAGZ6Q3V8X4T5N7M9P0R2S1W", self.import.id.as_str());
        let event = LambdaEvent::new(RawValue::from_string(event).unwrap(), Context::default());
        let response = service(self.deps()).oneshot(event).await.unwrap();
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    async fn counts(&self) -> ImportCounts {
        self.ledger.totals(&self.import).await.unwrap().counts
    }
}

#[tokio::test]
async fn every_row_of_a_message_ends_with_an_outcome_and_what_was_written_is_shown() {
    let world = World::new().await;
    assert_eq!(world.invoke(ROWS).await, [""; 0]);
    assert_eq!(world.counts().await, ImportCounts { created: 2, failed: 2, ..ImportCounts::default() });
    let names: Vec<_> = world.entities.all().into_iter().map(|entity| entity.name).collect();
    assert_eq!(names, ["Ring", "指輪 é"]);
    let (outcomes, _) = world.ledger.outcomes(&world.import, None).await.unwrap();
    let failed: Vec<_> = outcomes.iter().flat_map(|rows| &rows.failures).map(|row| (row.row, &*row.code)).collect();
    assert_eq!(failed, [(4, "VALIDATION_ERROR"), (5, "WRONG_NUMBER_OF_FIELDS")]);
}

#[tokio::test]
async fn a_message_that_comes_again_changes_nothing() {
    let world = World::new().await;
    world.invoke(ROWS).await;
    let (written, counts) = (world.ledger.all(), world.counts().await);
    world.invoke(ROWS).await;
    assert_eq!((world.ledger.all(), world.counts().await), (written, counts));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_comes_again_alone() {
    let world = World::new().await;
    assert_eq!(world.invoke(PARTIAL).await, ["059f36b4-87a3-44ab-83d2-661970000002"]);
    assert_eq!(world.counts().await.total(), 4);
}

#[tokio::test]
async fn rows_of_no_import_are_let_go() {
    let world = World::new().await;
    let of_another = ROWS.replace(r#"\"tenant\":\"acme\""#, r#"\"tenant\":\"globex\""#);
    assert_ne!(of_another, ROWS);
    assert_eq!(world.invoke(&of_another).await, [""; 0]);
    assert!(world.ledger.all().is_empty());
}
