//! A domain's tables rebuilt beside the live ones, over a real ledger and a real Postgres.
//!
//! `LEDGERLINE_STORM=full` runs the long ones at full size, a small part of it otherwise.
//! `LEDGERLINE_SEED` chooses what happens; when it happens is up to the scheduler.

mod kills;
mod storm;
mod switch;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ledgerline_app::{
    Caller, CommandRequest, Commands, IfMatch, Projector, RebuildOptions, RebuildStopped, Rebuilt, Registry,
    RequestOrigin, rebuild,
};
use ledgerline_kernel::ports::{
    DeltaSink, Difference, LedgerScan as _, RebuildError, SegmentProgress, StateSink, StoreError, Switched, ViewRebuild,
};
use ledgerline_kernel::{Action, DynDomain, VersionItem};
use ledgerline_lambda::SystemEnvironment;
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_stores::{DynamoAt, LocalDynamo, TestDatabase};
use ledgerline_views_postgres::{PostgresRebuild, PostgresViews};
use serde_json::json;

use crate::local_config::client;

const TABLE: &str = "ledger";

/// A ledger, read models, and what writes to both.
struct World {
    dynamo: LocalDynamo,
    database: TestDatabase,
    ledger: Arc<DynamoLedger>,
    views: PostgresViews,
    registry: Registry,
    commands: Commands,
    projector: Projector,
}

/// Which versions there are: id to version and hash.
type Versions = BTreeMap<String, (i64, String)>;

impl World {
    async fn start() -> Self {
        let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
        dynamo.create_table(TABLE, false).unwrap();
        let database = TestDatabase::create().await.unwrap();
        let views = PostgresViews::lazy(database.url(), database.max_connections()).unwrap();
        views.migrate().await.unwrap();
        let ledger = Arc::new(DynamoLedger::new(client(dynamo.endpoint()).await, TABLE));
        let registry = Registry::shipped().unwrap();
        let commands = Commands::new(Arc::<DynamoLedger>::clone(&ledger), Arc::new(SystemEnvironment));
        let projector = projector(&registry, &ledger, &views);
        Self { dynamo, database, ledger, views, registry, commands, projector }
    }

    fn domain(&self) -> &dyn DynDomain {
        self.registry.by_resource("products").unwrap().as_ref()
    }

    /// Whether others can connect to the same Postgres.
    fn has_connections(&self) -> bool {
        self.database.max_connections() > 1
    }

    /// A new product, in the ledger only.
    async fn create(&self, tenant: &str, sk: &str, attributes: serde_json::Value) -> VersionItem {
        let body = json!({"sk": sk, "code": sk, "name": format!("Ring {sk}"), "attributes": attributes}).to_string();
        self.command(tenant, Action::Create, None, &body).await
    }

    /// Another price, in the ledger only.
    async fn price(&self, tenant: &str, sk: &str, price: u64) -> VersionItem {
        self.command(tenant, Action::Named("change-price"), Some(sk), &json!({"price": price.to_string()}).to_string())
            .await
    }

    async fn command(&self, tenant: &str, action: Action<'_>, sk: Option<&str>, body: &str) -> VersionItem {
        let request = CommandRequest {
            domain: self.domain(),
            action,
            sk: sk.map(|sk| sk.parse().unwrap()),
            if_match: sk.map(|_| IfMatch::Any),
            idempotency_key: None,
            body,
            caller: Caller { tenant: tenant.parse().unwrap(), user: "ann".to_owned(), ip: "192.0.2.1".to_owned() },
            origin: RequestOrigin { request_id: "r".to_owned(), source: "test".to_owned(), traceparent: None },
        };
        self.commands.execute(request).await.unwrap().item
    }

    /// What data-sync does with a batch: again until the stores take it.
    async fn deliver(&self, items: &[VersionItem]) {
        while let Err(error) = self.projector.apply(items).await {
            assert!(matches!(error, StoreError::Unavailable { .. }), "a good record was refused: {error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Products of two tenants and some categories, each with up to four versions, delivered.
    async fn fill(&self, count: usize, random: &mut fastrand::Rng) {
        let mut items = Vec::new();
        for number in 0..count {
            let (tenant, sk) = (["acme", "other"][number % 2], format!("p{number}"));
            let category = ["Ideal", "Good", "Fair"][random.usize(..3)];
            let attributes = json!({"category": category, "price": random.u32(..100).to_string()});
            items.push(self.create(tenant, &sk, attributes).await);
            for _ in 0..random.usize(..3) {
                items.push(self.price(tenant, &sk, random.u64(..100)).await);
            }
            if random.u8(..10) == 0 {
                items.push(self.command(tenant, Action::Delete, Some(&sk), "{}").await);
            }
        }
        for batch in items.chunks(500) {
            self.deliver(batch).await;
        }
    }

    async fn rebuild(&self) -> Result<Rebuilt, RebuildStopped> {
        let views = self.views.rebuild(self.domain(), 3).await?;
        self.rebuild_into(&views).await
    }

    async fn rebuild_into(&self, views: &dyn ViewRebuild) -> Result<Rebuilt, RebuildStopped> {
        let options = RebuildOptions { page_rows: 50 };
        rebuild(&self.ledger, &self.registry, self.domain(), views, &options, &|_| {}).await
    }

    /// What the ledger has.
    async fn newest(&self) -> BTreeMap<String, VersionItem> {
        let (mut newest, mut from) = (BTreeMap::<String, VersionItem>::new(), None);
        loop {
            let (items, next) = self.ledger.scan(from).await.unwrap();
            for item in items {
                let held = newest.entry(item.key.to_string()).or_insert_with(|| item.clone());
                if held.version < item.version {
                    *held = item;
                }
            }
            match next {
                Some(next) => from = Some(next),
                None => return newest,
            }
        }
    }

    /// What the table has, to its owner: past row-level security.
    async fn rows(&self) -> Versions {
        let rows: Vec<(String, i64, String)> =
            sqlx::query_as("SELECT id, version, payload_hash FROM product").fetch_all(self.views.pool()).await.unwrap();
        rows.into_iter().map(|(id, version, hash)| (id, (version, hash))).collect()
    }

    /// What the sums are, as texts.
    async fn sums(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT concat_ws('|', tenant_code, category, trim_scale(products), trim_scale(priced), trim_scale(price_sum))
             FROM product_category_total ORDER BY 1",
        )
        .fetch_all(self.views.pool())
        .await
        .unwrap()
    }

    /// States, positions and sums say exactly what the ledger says.
    #[track_caller]
    fn assert_right(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let newest = self.newest().await;
            let expected: Versions = newest
                .iter()
                .map(|(id, item)| (id.clone(), (item.version.number().try_into().unwrap(), item.hash.to_string())))
                .collect();
            assert!(self.rows().await == expected, "{caller}: the table differs from the ledger");
            let positions: Vec<(String, i64, String)> =
                sqlx::query_as("SELECT entity_id, version, hash FROM projection_position")
                    .fetch_all(self.views.pool())
                    .await
                    .unwrap();
            let positions: Versions = positions.into_iter().map(|(id, version, hash)| (id, (version, hash))).collect();
            assert!(positions == expected, "{caller}: the positions differ from the ledger");
            assert_eq!(self.sums().await, expected_sums(&newest), "{caller}");
        }
    }

    /// Everything that a migration makes, and how.
    async fn catalogue(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT concat_ws('|', 'relation', relname, relkind, relowner::regrole, relrowsecurity, relforcerowsecurity,
                    (SELECT string_agg(acl::text, ',' ORDER BY acl::text) FROM unnest(relacl) AS acl))
             FROM pg_class WHERE relnamespace = 'public'::regnamespace
             UNION ALL
             SELECT concat_ws('|', 'column', attrelid::regclass, attname, attnum, format_type(atttypid, atttypmod),
                    attnotnull, attcollation, attgenerated, pg_get_expr(adbin, adrelid))
             FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
             LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
             WHERE relnamespace = 'public'::regnamespace AND attnum > 0
             UNION ALL SELECT concat_ws('|', 'index', indexname, indexdef) FROM pg_indexes WHERE schemaname = 'public'
             UNION ALL SELECT concat_ws('|', 'view', viewname, viewowner, definition) FROM pg_views WHERE schemaname = 'public'
             UNION ALL SELECT concat_ws('|', 'policy', p.*) FROM pg_policies AS p WHERE schemaname = 'public'
             UNION ALL SELECT concat_ws('|', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
             FROM pg_constraint WHERE connamespace = 'public'::regnamespace
             UNION ALL SELECT concat_ws('|', 'schema', nspname, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_'
             UNION ALL SELECT concat_ws('|', 'member', roleid::regrole, member::regrole) FROM pg_auth_members
                 WHERE roleid::regrole::text ~ 'ledgerline'
             ORDER BY 1",
        )
        .fetch_all(self.views.pool())
        .await
        .unwrap()
    }

    /// Identifies the live table itself.
    async fn oid(&self) -> i64 {
        sqlx::query_scalar("SELECT 'product'::regclass::oid::bigint").fetch_one(self.views.pool()).await.unwrap()
    }

    /// As the administrator.
    async fn run(&self, statements: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(self.views.pool()).await.unwrap();
    }

    /// Where the tables under construction are.
    async fn schema(&self) -> Option<String> {
        sqlx::query_scalar("SELECT schema_name FROM rebuild WHERE state = 'running'")
            .fetch_optional(self.views.pool())
            .await
            .unwrap()
    }

    /// The version of an entity's state and of its position in the tables under construction.
    async fn under_construction(&self, sk: &str) -> (i64, i64) {
        let schema = self.schema().await.unwrap();
        let versions = format!(
            "SELECT product.version, held.version FROM {schema}.product
             JOIN {schema}.projection_position AS held ON held.entity_id = product.id WHERE sk = $1"
        );
        let versions = sqlx::query_as(sqlx::AssertSqlSafe(versions)).bind(sk);
        versions.fetch_one(self.views.pool()).await.unwrap()
    }

    async fn stop(self) {
        self.views.pool().close().await;
        self.dynamo.stop().await;
    }
}

fn projector(registry: &Registry, ledger: &Arc<DynamoLedger>, views: &PostgresViews) -> Projector {
    let views = Arc::new(views.clone());
    let sinks: Vec<Arc<dyn StateSink>> = vec![Arc::<PostgresViews>::clone(&views)];
    Projector::new(registry.clone(), sinks).with_deltas(Arc::<DynamoLedger>::clone(ledger), views)
}

/// The sums over living products, from their states.
fn expected_sums(newest: &BTreeMap<String, VersionItem>) -> Vec<String> {
    let mut sums: BTreeMap<(String, String), (u64, u64, u64)> = BTreeMap::new();
    for item in newest.values().filter(|item| !item.is_deleted) {
        let attribute = |name: &str| item.state["attributes"][name].as_str();
        let category = attribute("category").unwrap_or_default().to_owned();
        let sum = sums.entry((item.key.partition.tenant.to_string(), category)).or_default();
        sum.0 += 1;
        if let Some(price) = attribute("price") {
            sum.1 += 1;
            sum.2 += price.parse::<u64>().unwrap();
        }
    }
    let line = |((tenant, category), (products, priced, price_sum))| {
        format!("{tenant}|{category}|{products}|{priced}|{price_sum}")
    };
    let mut lines: Vec<String> = sums.into_iter().map(line).collect();
    lines.sort();
    lines
}

type Hook<'a> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> + Send + Sync + 'a>;

/// A rebuild in which something happens once the tables are full.
struct Intercepted<'a> {
    inner: PostgresRebuild,
    when_filled: Hook<'a>,
}

#[async_trait]
impl ViewRebuild for Intercepted<'_> {
    fn segments(&self) -> &[SegmentProgress] {
        self.inner.segments()
    }

    fn states(&self) -> Arc<dyn StateSink> {
        self.inner.states()
    }

    fn deltas(&self) -> Arc<dyn DeltaSink> {
        self.inner.deltas()
    }

    async fn note(&self, segment: u32, progress: &SegmentProgress) -> Result<(), RebuildError> {
        self.inner.note(segment, progress).await
    }

    async fn filled(&self) -> Result<(), RebuildError> {
        (self.when_filled)().await;
        self.inner.filled().await
    }

    async fn rows(&self) -> Result<u64, RebuildError> {
        self.inner.rows().await
    }

    async fn differences(&self, limit: u32) -> Result<Vec<Difference>, RebuildError> {
        self.inner.differences(limit).await
    }

    async fn confirm(&self, right: &[Difference]) -> Result<(), RebuildError> {
        self.inner.confirm(right).await
    }

    async fn switch(&self) -> Result<Option<Switched>, RebuildError> {
        self.inner.switch().await
    }
}

/// The size of a storm: all of it if asked for, else a small part.
fn scale(full: usize, small: usize) -> usize {
    if std::env::var("LEDGERLINE_STORM").as_deref() == Ok("full") { full } else { small }
}

fn seed() -> u64 {
    std::env::var("LEDGERLINE_SEED").map_or(20_261_120, |seed| seed.parse().unwrap())
}
