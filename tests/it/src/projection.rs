//! The read models in bad weather, over raw stream events and a real Postgres: whatever happens to
//! records, processes, connections and servers, the rows are the fold of the ledger in the end.
//!
//! Each prints its seed and its figures. `LEDGERLINE_STORM=full` runs them at full size, a tenth
//! otherwise; `LEDGERLINE_SEED` chooses another run.

mod cuts;
mod kills;
mod poison;
mod products;
mod stall;

use std::collections::BTreeMap;
use std::sync::Arc;

use lambda_runtime::{Context, LambdaEvent};
use ledgerline_app::{Projector, Redrive, Registry};
use ledgerline_data_sync::{Deps, service};
use ledgerline_domain::Product;
use ledgerline_kernel::ports::{EntityList as _, ListQuery, SummaryRead as _, SummaryRow};
use ledgerline_kernel::{Decimal, Domain as _, Entity, EntityKey, TenantCode, VersionItem};
use ledgerline_stores::TestDatabase;
use ledgerline_testkit::{MemoryEntities, MemoryLedger};
use ledgerline_views_postgres::PostgresViews;
use serde_json::value::RawValue;
use tower::ServiceExt as _;

pub(crate) use products::{event, histories, history};

/// A ledger, the read models that data-sync makes of it, and the function itself.
pub(crate) struct Stage {
    pub(crate) ledger: MemoryLedger,
    pub(crate) data_table: MemoryEntities,
    pub(crate) views: PostgresViews,
    deps: Deps,
}

impl Stage {
    /// On the Postgres at this URL, whose migrations have run.
    pub(crate) fn on(url: &str, connections: u32) -> Self {
        Self::over(PostgresViews::lazy(url, connections).unwrap())
    }

    pub(crate) fn over(views: PostgresViews) -> Self {
        let (ledger, data_table) = (MemoryLedger::default(), MemoryEntities::default());
        let sinks = vec![Arc::new(data_table.clone()) as _, Arc::new(views.clone()) as _];
        let projector = Projector::new(Registry::shipped().unwrap(), sinks)
            .with_deltas(Arc::new(ledger.clone()), Arc::new(views.clone()));
        let deps = Deps::new(projector, Arc::new(views.clone()));
        Self { ledger, data_table, views, deps }
    }

    /// In a database of its own. Keep the database as long as the stage.
    pub(crate) async fn new() -> (Self, TestDatabase) {
        let database = TestDatabase::create().await.unwrap();
        let stage = Self::on(database.url(), database.max_connections());
        stage.views.migrate().await.unwrap();
        (stage, database)
    }

    pub(crate) fn write(&self, items: &[VersionItem]) {
        items.iter().for_each(|item| self.ledger.insert(item.clone()));
    }

    /// Invokes the function with an event; gives the sequence numbers that it asks for again.
    pub(crate) async fn invoke(&self, event: String) -> Vec<String> {
        let payload = RawValue::from_string(event).unwrap();
        let answer = service(self.deps.clone()).oneshot(LambdaEvent::new(payload, Context::default())).await.unwrap();
        answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    /// Delivers records until none of them is asked for again; gives how often that took.
    pub(crate) async fn deliver(&self, items: &[&VersionItem]) -> usize {
        for times in 1..=100 {
            if self.invoke(event(items)).await.is_empty() {
                return times;
            }
        }
        panic!("the records were asked for a hundred times");
    }

    pub(crate) fn redrive(&self) -> Redrive {
        let quarantine = Arc::new(self.views.clone());
        Redrive::new(self.deps.projector.clone(), Arc::new(self.ledger.clone()), quarantine)
    }

    /// Every read model says what the newest versions among `items` say.
    pub(crate) async fn assert_is_the_fold_of(&self, tenant: &str, items: &[VersionItem]) {
        let tenant: TenantCode = tenant.parse().unwrap();
        let mut newest: BTreeMap<&EntityKey, &VersionItem> = BTreeMap::new();
        for item in items.iter().filter(|item| item.key.partition.tenant == tenant) {
            let held = newest.entry(&item.key).or_insert(item);
            if held.version < item.version {
                *held = item;
            }
        }
        let expected: Vec<Entity> = newest.values().map(|item| Entity::from(*item)).collect();
        assert_eq!(states(&self.views, &tenant).await, expected, "Postgres");
        let rows: Vec<Entity> =
            self.data_table.all().into_iter().filter(|row| row.key.partition.tenant == tenant).collect();
        assert_eq!(rows, expected, "the data table");
        assert_eq!(sums(&self.views, &tenant).await, fold(&expected), "the sums");
    }
}

/// All rows of the table of states, by key.
pub(crate) async fn states(views: &PostgresViews, tenant: &TenantCode) -> Vec<Entity> {
    let registry = Registry::shipped().unwrap();
    let query = ListQuery {
        tenant: tenant.clone(),
        filters: Vec::new(),
        words: Vec::new(),
        sort: Vec::new(),
        after: None,
        limit: 100_000,
        include_deleted: true,
        with_total: false,
    };
    let listed = views.list(registry.by_resource("products").unwrap().as_ref(), &query).await.unwrap();
    let mut entities = listed.entities;
    entities.sort_by(|a, b| a.key.cmp(&b.key));
    entities
}

/// What the delta projection says, numbers by value: category, products, priced, sum, least, greatest.
type Sums = Vec<(String, Vec<Decimal>)>;

async fn sums(views: &PostgresViews, tenant: &TenantCode) -> Sums {
    let spec = Product::deltas()[0].summary().unwrap();
    let rows = views.summary(&spec, tenant, None, 100_000).await.unwrap();
    let numbers = |row: &SummaryRow| -> Vec<Decimal> {
        let extremes = row.extremes.iter().flat_map(|(least, greatest)| [least, greatest]);
        row.sums.iter().chain(extremes).map(|number| number.parse().unwrap()).collect()
    };
    rows.iter().map(|row| (row.key[0].clone(), numbers(row))).collect()
}

/// What it must say, from the states alone: reckoned anew, without versions, positions or deltas.
fn fold(entities: &[Entity]) -> Sums {
    let mut categories: BTreeMap<String, (u32, Vec<Decimal>)> = BTreeMap::new();
    for entity in entities.iter().filter(|entity| !entity.is_deleted) {
        let text = |name: &str| entity.attributes.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        let (products, prices) = categories.entry(text("category").unwrap_or_default()).or_default();
        *products += 1;
        prices.extend(text("price").map(|price| price.parse::<Decimal>().unwrap()));
    }
    let row = |(products, mut prices): (u32, Vec<Decimal>)| {
        prices.sort();
        let sum = prices.iter().fold(Decimal::from(0), |sum, price| sum.plus(price));
        let priced = u32::try_from(prices.len()).unwrap();
        let extremes = prices.first().into_iter().chain(prices.last()).cloned();
        [Decimal::from(products), Decimal::from(priced), sum].into_iter().chain(extremes).collect()
    };
    categories.into_iter().map(|(category, counted)| (category, row(counted))).collect()
}

/// The size of a storm: all of it if asked for, else a tenth (of the convergence cases a fortieth).
pub(crate) fn scale(full: usize) -> usize {
    if std::env::var("LEDGERLINE_STORM").as_deref() == Ok("full") { full } else { full / 10 }
}

pub(crate) fn seed() -> u64 {
    std::env::var("LEDGERLINE_SEED").map_or(20_261_120, |seed| seed.parse().unwrap())
}

/// What every storm prints; shown by `--nocapture`.
pub(crate) fn announce(what: &str, figures: &str) {
    let size = if scale(10) == 10 { "full" } else { "a part (LEDGERLINE_STORM=full runs all)" };
    println!("projection: {what}; seed {}, size {size}; {figures}", seed());
}
