//! The functions of an import, and the stores around them, as they are deployed: a real queue, a real
//! bucket, both tables, and Postgres.

use std::sync::Arc;
use std::time::Duration;

use lambda_runtime::{Context, LambdaEvent};
use ledgerline_app::{Caller, ImportRequest, ImportStatus, Imports, Repair, Scope, source_key, verify};
use ledgerline_blobs_s3::S3Objects;
use ledgerline_import_file::ChunkLimits;
use ledgerline_import_splitter::ReadLimits;
use ledgerline_kernel::ImportKey;
use ledgerline_kernel::ports::{LedgerScan as _, SourceObjects as _};
use ledgerline_lambda::{Config, SystemEnvironment, Upkeep, dynamodb_client, patient_s3_client, sqs_client};
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_local::event_source::{Clock, Invoke};
use ledgerline_local::functions::InProcess;
use ledgerline_local::queue_source::{MessageSource, QueueMapping, QueueParts, QueueSource, SqsApi};
use ledgerline_stores::{DynamoAt, LocalDynamo, LocalMessaging, LocalS3, TestDatabase};
use ledgerline_views_postgres::PostgresViews;
use serde_json::json;
use serde_json::value::RawValue;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::{DATA, LEDGER, registry};

/// The queue of rows, and the one for what failed too often.
pub(super) const ROWS: &str = "rows";
pub(super) const DEAD: &str = "dead";

const BUCKET: &str = "imports";

/// What a function's environment says.
pub(super) type Variables = Vec<(&'static str, String)>;

pub(super) struct Site {
    pub(super) variables: Variables,
    pub(super) messaging: LocalMessaging,
    pub(super) views: PostgresViews,
    imports: Imports,
    objects: S3Objects,
    _s3: LocalS3,
    _dynamo: LocalDynamo,
    _database: TestDatabase,
    _folder: TempDir,
}

impl Site {
    /// With messages that are hidden for `visibility` once they are received, and are dead after
    /// `receives`. None where Postgres serves one connection, which processes cannot share.
    pub(super) async fn start(visibility: Duration, receives: u32) -> Option<Self> {
        let database = TestDatabase::create().await.unwrap();
        if database.max_connections() == 1 {
            println!("imports: an embedded Postgres serves one connection, which is too few for this");
            return None;
        }
        let views = PostgresViews::lazy(database.url(), 4).unwrap();
        views.migrate().await.unwrap();
        let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
        dynamo.create_table(LEDGER, false).unwrap();
        dynamo.create_table(DATA, false).unwrap();
        let messaging = LocalMessaging::start().await.unwrap();
        messaging.create_queue(DEAD, [].into()).await.unwrap();
        let redrive = json!({"deadLetterTargetArn": LocalMessaging::queue_arn(DEAD), "maxReceiveCount": receives});
        let settings =
            [("VisibilityTimeout", visibility.as_secs().to_string()), ("RedrivePolicy", redrive.to_string())];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        messaging.create_queue(ROWS, settings.into()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let s3 = LocalS3::start(folder.path()).await.unwrap();
        s3.create_bucket(BUCKET).unwrap();
        let variables = vec![
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamo.endpoint().to_owned()),
            ("AWS_ENDPOINT_URL_SQS", messaging.endpoint().to_owned()),
            ("AWS_ENDPOINT_URL_S3", s3.endpoint().to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("LEDGER_TABLE", LEDGER.to_owned()),
            ("DATA_TABLE", DATA.to_owned()),
            ("DATABASE_URL", database.url().to_owned()),
            ("IMPORT_BUCKET", BUCKET.to_owned()),
            ("IMPORT_QUEUE_URL", messaging.queue_url(ROWS)),
        ];
        let config = config(&variables);
        let objects = S3Objects::new(patient_s3_client(&config).await, BUCKET);
        let imports = imports(&config).await;
        let stores = (s3, dynamo, database, folder);
        let (_s3, _dynamo, _database, _folder) = stores;
        Some(Self { variables, messaging, views, imports, objects, _s3, _dynamo, _database, _folder })
    }

    pub(super) fn config(&self) -> Config {
        config(&self.variables)
    }

    /// Asks for an import of products, and uploads its file. Nothing is told of it.
    pub(super) async fn upload(&self, tenant: &str, csv: impl Into<Vec<u8>>) -> ImportKey {
        let request = r#"{"resource": "products", "format": "csv", "source": {"upload": true}}"#;
        let caller = Caller { tenant: tenant.parse().unwrap(), user: "ann".to_owned(), ip: String::new() };
        let import = self.imports.ask(&caller, ImportRequest::read(request).unwrap()).await.unwrap().job.key;
        self.objects.put(&source_key(&import), csv.into()).await.unwrap();
        import
    }

    pub(super) async fn status(&self, import: &ImportKey) -> ImportStatus {
        self.imports.get(import).await.unwrap()
    }

    pub(super) fn imports(&self) -> &Imports {
        &self.imports
    }

    /// Nothing is wrong with the ledger, every read model is proven to show it, and it has so many entities
    /// and versions.
    pub(super) async fn assert_sound(&self, entities: usize, versions: usize) {
        let config = self.config();
        let ledger = DynamoLedger::new(dynamodb_client(&config).await, LEDGER);
        let report = verify(&ledger, &registry(), None, None, |_, _| {}).await.unwrap();
        assert_eq!((report.defects, report.entities, report.claims), (vec![], entities, entities));
        let (mut count, mut from) = (0, None);
        loop {
            let (items, next) = ledger.scan(from).await.unwrap();
            count += items.len();
            from = next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(count, versions, "versions");
        let upkeep = Upkeep::new(&config, self.views.clone()).await.unwrap();
        let compared = upkeep.reconciler.run(Scope::All, Repair::No, Duration::ZERO, |_| {}).await.unwrap();
        let drift = (compared.counts.drift(), compared.counts.moving, compared.counts.unequal);
        assert_eq!((compared.entities, drift), (entities as u64, (0, 0, 0)), "{compared:?}");
    }
}

/// What these variables say.
pub(super) fn config(variables: &Variables) -> Config {
    let variables = variables.clone();
    Config::new(move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
}

/// What callers do with imports.
pub(super) async fn imports(config: &Config) -> Imports {
    let ledger = DynamoLedger::new(dynamodb_client(config).await, LEDGER);
    let objects = S3Objects::new(patient_s3_client(config).await, BUCKET);
    Imports::new(registry(), Arc::new(ledger), Arc::new(objects), Arc::new(SystemEnvironment))
}

/// Invokes the splitter as S3 does when it tells of an import's file, with messages of so many rows.
pub(super) async fn split(config: &Config, import: &ImportKey, rows: usize) -> Result<(), lambda_runtime::Error> {
    let deps = ledgerline_import_splitter::Deps::from_config(config).await?;
    let limits = ReadLimits { chunk: ChunkLimits { max_rows: rows, ..ChunkLimits::default() }, ..deps.limits };
    let deps = ledgerline_import_splitter::Deps { limits, ..deps };
    let event = include_str!("../../../../events/import-splitter/uploaded.json");
    let event = event.replace("imports/acme/01KAGZ6Q3V8X4T5N7M9P0R2S1W/source", &source_key(import));
    let event = LambdaEvent::new(RawValue::from_string(event)?, Context::default());
    ledgerline_import_splitter::service(deps).oneshot(event).await?;
    Ok(())
}

/// The worker, by the name that mappings know.
pub(super) const WORKER: &str = "import-worker";

/// The worker function, in this process.
pub(super) async fn worker(config: &Config) -> InProcess {
    let deps = ledgerline_import_worker::Deps::from_config(config).await.unwrap();
    let mut functions = InProcess::default();
    functions.add(WORKER, Duration::from_secs(60), ledgerline_import_worker::service(deps));
    functions
}

/// The queue of rows by the API of SQS.
pub(super) async fn rows_queue(config: &Config) -> SqsApi {
    let url = config.required("IMPORT_QUEUE_URL").unwrap();
    SqsApi::new(sqs_client(config).await, url, LocalMessaging::queue_arn(ROWS))
}

/// The event source mapping between a queue and a function.
pub(super) fn deliver(source: Arc<dyn MessageSource>, functions: Arc<dyn Invoke>, visibility: Duration) -> QueueSource {
    let mapping = QueueMapping {
        reports_item_failures: true,
        maximum_concurrency: 2,
        visibility,
        ..QueueMapping::new("ImportWorker.Rows", WORKER)
    };
    QueueSource::start(mapping, QueueParts { source, functions, dead_letters: None, clock: Clock::real() })
}
