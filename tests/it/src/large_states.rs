//! Versions that are larger than an item of the ledger, over DynamoDB, S3 and Postgres as they run
//! locally.

use std::sync::Arc;

use lambda_runtime::{Context, LambdaEvent};
use ledgerline_app::{
    Accepted, Caller, CommandError, CommandRequest, Commands, IfMatch, LargeStates, Projector, Queries, QueryError,
    Registry, RequestOrigin, VerifyReport, WithLargeStates, reproject, verify,
};
use ledgerline_data_sync::{Deps, service};
use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{Action, Domain as _, Entity, TenantCode, Version};
use ledgerline_lambda::{SystemEnvironment, dynamodb_client, large_states};
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_stores::{DynamoAt, LocalDynamo, LocalS3, TestDatabase};
use ledgerline_testkit::MemoryQuarantine;
use ledgerline_testkit::tome::Tome;
use ledgerline_views_postgres::PostgresViews;
use serde_json::{Value, json};
use sqlx::Row as _;
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::local_config::config;

const LEDGER: &str = "ledger";
const DATA: &str = "data";
const STATES: &str = "ledgerline-states";

/// The table of [`Tome`], which no migration makes.
const TOME_TABLE: &str = r#"
    CREATE TABLE tome (LIKE product INCLUDING ALL);
    ALTER TABLE tome DROP COLUMN search;
    ALTER TABLE tome DROP COLUMN category, DROP COLUMN price, DROP COLUMN description, DROP COLUMN specification;
    ALTER TABLE tome ADD COLUMN body text, ADD COLUMN stars numeric;
    GRANT SELECT, INSERT, UPDATE ON tome TO ledgerline_projector;
"#;

struct World {
    dynamo: LocalDynamo,
    s3: Option<LocalS3>,
    folder: TempDir,
    database: TestDatabase,
    views: PostgresViews,
    client: aws_sdk_dynamodb::Client,
    registry: Registry,
    states: LargeStates,
    ledger: Arc<WithLargeStates<DynamoLedger>>,
    commands: Commands,
    queries: Queries,
    projector: Projector,
    quarantine: MemoryQuarantine,
}

impl World {
    async fn new() -> Self {
        let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
        dynamo.create_table(LEDGER, true).unwrap();
        dynamo.create_table(DATA, false).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let s3 = LocalS3::start(folder.path()).await.unwrap();
        s3.create_bucket(STATES).unwrap();
        let database = TestDatabase::create().await.unwrap();
        let views = PostgresViews::lazy(database.url(), database.max_connections()).unwrap();
        views.migrate().await.unwrap();
        sqlx::raw_sql(TOME_TABLE).execute(views.pool()).await.unwrap();

        let stores = [("AWS_ENDPOINT_URL_S3", s3.endpoint()), ("STATE_BUCKET", STATES)];
        let config = config(dynamo.endpoint(), &stores);
        let registry = Registry::default().with::<Tome>().unwrap();
        let states = large_states(&config, &registry).unwrap();
        let client = dynamodb_client(&config).await;
        let ledger = Arc::new(states.over(DynamoLedger::new(client.clone(), LEDGER)));
        let entities = Arc::new(states.over(DynamoDataTable::new(client.clone(), DATA)));
        let environment = Arc::new(SystemEnvironment);
        Self {
            commands: Commands::new(ledger.clone(), environment.clone()),
            queries: Queries::new(ledger.clone(), entities.clone(), Arc::new(views.clone()), environment),
            projector: Projector::new(registry.clone(), vec![entities, Arc::new(views.clone())]),
            s3: Some(s3),
            quarantine: MemoryQuarantine::default(),
            dynamo,
            folder,
            database,
            views,
            client,
            registry,
            states,
            ledger,
        }
    }

    async fn send(&self, action: Action<'_>, body: Value) -> Result<Accepted, CommandError> {
        let creates = action == Action::Create;
        let request = CommandRequest {
            domain: self.registry.by_resource(Tome::RESOURCE).unwrap().as_ref(),
            action,
            sk: (!creates).then(|| "n".parse().unwrap()),
            if_match: (!creates).then_some(IfMatch::Any),
            idempotency_key: None,
            body: &body.to_string(),
            caller: Caller { tenant: tenant(), user: "ann".into(), ip: String::new() },
            origin: RequestOrigin::default(),
        };
        Box::pin(self.commands.execute(request)).await
    }

    /// The ledger's items as they are stored, as records of its stream.
    async fn records(&self) -> Vec<Value> {
        let items = self.client.scan().table_name(LEDGER).send().await.unwrap().items.unwrap();
        let record = |(number, item): (usize, _)| {
            let image: serde_dynamo::Item = serde_dynamo::Item::from(item);
            json!({"eventName": "INSERT", "dynamodb": {"NewImage": image, "SequenceNumber": number.to_string()}})
        };
        items.into_iter().enumerate().map(record).collect()
    }

    /// Delivers these records; gives those that are to come again.
    async fn deliver(&self, records: &[Value]) -> Vec<String> {
        let deps = Deps {
            large_states: self.states.clone(),
            ..Deps::new(self.projector.clone(), Arc::new(self.quarantine.clone()))
        };
        let event = serde_json::value::RawValue::from_string(json!({ "Records": records }).to_string()).unwrap();
        let answer = service(deps).oneshot(LambdaEvent::new(event, Context::default())).await.unwrap();
        answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    async fn get(&self, strong: bool) -> Result<Entity, QueryError> {
        let domain = self.registry.by_resource(Tome::RESOURCE).unwrap();
        self.queries.get(domain.as_ref(), tenant(), "n".parse().unwrap(), strong, None).await
    }

    async fn verified(&self) -> VerifyReport {
        verify(self.ledger.as_ref(), &self.registry, None, None, |_, _| {}).await.unwrap()
    }

    /// Version and body as Postgres has them.
    async fn row(&self) -> (i64, String) {
        let row = sqlx::query("SELECT version, body FROM tome").fetch_one(self.views.pool()).await.unwrap();
        (row.get("version"), row.get("body"))
    }

    async fn stop(self) {
        self.views.pool().close().await;
        drop(self.database);
        if let Some(s3) = self.s3 {
            s3.stop().await;
        }
        self.dynamo.stop().await;
    }
}

fn tenant() -> TenantCode {
    "acme".parse().unwrap()
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn note(body: &str) -> Value {
    json!({"sk": "n", "code": "N", "name": "N", "body": body})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_of_a_megabyte_is_written_projected_read_and_verified_as_any_other() {
    let world = World::new().await;
    let (one, two) = ("é".repeat(500_000), "x".repeat(1_200_000));
    let first = world.send(Action::Create, note(&one)).await.unwrap().item;
    let second = world.send(Action::Update, json!({ "body": two })).await.unwrap().item;
    assert_eq!((second.version, &second.prev_hash), (version(2), &first.hash));

    let records = world.records().await;
    assert!(records.iter().all(|record| record.to_string().len() < 2_000), "the ledger has references only");
    assert_eq!(world.deliver(&records).await, [""; 0]);
    assert!(world.row().await == (2, two.clone()));
    let row = world.client.get_item().table_name(DATA).key("pk", text("TOME#acme")).key("sk", text("n"));
    let row = row.send().await.unwrap().item.unwrap();
    assert!(row["attributes"].as_s().unwrap().starts_with("kept:sha256:"));

    for strong in [false, true] {
        assert!(world.get(strong).await == Ok(Entity::from(&second)), "strong: {strong}");
    }
    let domain = world.registry.by_resource(Tome::RESOURCE).unwrap().as_ref();
    let past = world.queries.at_version(domain, tenant(), "n".parse().unwrap(), version(1)).await;
    assert!(past == Ok(Entity::from(&first)));
    let (history, next) = world.queries.history(domain, tenant(), "n".parse().unwrap(), None, 20).await.unwrap();
    assert!(history == [second.clone(), first.clone()] && next.is_none());
    assert_eq!(world.verified().await, VerifyReport { entities: 1, versions: 2, ..VerifyReport::default() });

    sqlx::raw_sql("TRUNCATE tome").execute(world.views.pool()).await.unwrap();
    let again = reproject(world.ledger.as_ref(), &world.projector, |_| {}).await.unwrap();
    assert_eq!((again.scanned, again.bad.len()), (2, 0));
    assert!(world.row().await == (2, two));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampered_content_is_a_defect_and_reaches_no_read_model() {
    let world = World::new().await;
    world.send(Action::Create, note(&"x".repeat(1_000_000))).await.unwrap();
    let objects = world.folder.path().join(STATES).join("states/acme");
    let object = std::fs::read_dir(&objects).unwrap().next().unwrap().unwrap().path();
    let content = std::fs::read_to_string(&object).unwrap();
    std::fs::write(&object, content.replacen("xx", "yx", 1)).unwrap();

    let found: Vec<_> = world.verified().await.defects.into_iter().map(|defect| defect.kind.code()).collect();
    assert_eq!(found, ["UNREADABLE"]);
    assert!(matches!(world.get(true).await, Err(QueryError::Store(StoreError::Rejected { .. }))));
    let records = world.records().await;
    assert_eq!(world.deliver(&records).await, ["0"]);
    assert_eq!(world.deliver(&records).await, ["0"]);
    assert_eq!(world.deliver(&records).await, [""; 0], "quarantined");
    let [poison] = world.quarantine.all().try_into().unwrap();
    assert!(poison.error.contains("was altered"), "{}", poison.error);
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM tome").fetch_one(world.views.pool()).await.unwrap();
    assert_eq!(rows, 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_s3_is_down_large_versions_wait_and_nothing_is_written() {
    let mut world = World::new().await;
    world.send(Action::Create, note(&"x".repeat(1_000_000))).await.unwrap();
    let records = world.records().await;
    world.s3.take().unwrap().stop().await;

    let refused = world.send(Action::Update, json!({"body": "y".repeat(1_000_000)})).await;
    assert!(matches!(refused, Err(CommandError::Store(StoreError::Unavailable { .. }))), "{refused:?}");
    assert_eq!(world.records().await, records, "nothing was written");
    for _ in 0..5 {
        assert_eq!(world.deliver(&records).await, ["0"]);
    }
    assert_eq!(world.quarantine.all(), [], "waited for, without a strike");
    let small = json!({"sk": "small", "code": "S", "name": "S", "body": "short"});
    world.send(Action::Create, small).await.unwrap();
    assert_eq!(world.records().await.len(), 2);
    world.stop().await;
}

fn text(value: &str) -> aws_sdk_dynamodb::types::AttributeValue {
    aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned())
}
