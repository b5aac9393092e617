//! Product versions brought into their table, against an upsert written for this one table, of many
//! rows at once and of one.

use std::net::ToSocketAddrs as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use ledgerline_app::Registry;
use ledgerline_kernel::ports::StateSink as _;
use ledgerline_kernel::{Draft, DynDomain, Stamp, StoredEvent, Version, VersionItem};
use ledgerline_stores::{LocalPostgres, PostgresChoice};
use ledgerline_views_postgres::PostgresViews;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::distance::lead_to;
use crate::ours;
use crate::report::{Bar, Report, Reporting};
use crate::rounds::Rounds;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each side is measured
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Products, each of which is inserted and then updated
    #[arg(long, default_value_t = 4000)]
    products: usize,
    /// Rows in a batch: what the template's mapping delivers at most, and a page of a rebuild
    #[arg(long, value_delimiter = ',', default_values_t = [200, 1000])]
    batches: Vec<usize>,
    /// How long the way to the server and back takes where the two sides are not on one machine, in
    /// microseconds
    #[arg(long, default_value_t = 1000)]
    round_trip: u64,
    #[command(flatten)]
    reporting: Reporting,
}

const TENANTS: usize = 16;

/// What is bound as text, in this order; then `version`, `is_deleted`, `created_at` and `updated_at`.
const TEXTS: usize = 16;

const UPSERT: &str = "
    INSERT INTO product AS held
        (id, tenant_code, pk, sk, cpk, csk, code, name, payload_hash, created_by, created_ip, updated_by, updated_ip,
         category, description, price, specification, version, is_deleted, created_at, updated_at)
    SELECT id, tenant_code, pk, sk, pk, csk, code, name, payload_hash, created_by, created_ip, updated_by, updated_ip,
           category, description, price::numeric, specification::jsonb, version, is_deleted, created_at, updated_at
    FROM {GIVEN}
        AS given (id, tenant_code, pk, sk, csk, code, name, payload_hash, created_by, created_ip, updated_by,
                  updated_ip, category, description, price, specification, version, is_deleted, created_at, updated_at)
    ON CONFLICT (id) DO UPDATE SET
        csk = excluded.csk, code = excluded.code, name = excluded.name, payload_hash = excluded.payload_hash,
        updated_by = excluded.updated_by, updated_ip = excluded.updated_ip, category = excluded.category,
        description = excluded.description, price = excluded.price, specification = excluded.specification,
        version = excluded.version, is_deleted = excluded.is_deleted, updated_at = excluded.updated_at
    WHERE held.version < excluded.version";

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { rounds, products, .. } = *options;
    anyhow::ensure!(options.batches.iter().all(|batch| *batch > 0), "a batch has at least one row");
    let conditions = format!("{rounds} rounds of {products} products, inserted and then updated; rows per second");
    let mut report = Report::new("project", &conditions);
    let registry = Registry::shipped()?;
    let domain = registry.by_resource("products").context("no products")?;
    let versions = both_versions(products)?;

    // In a folder, because then a commit waits for the disk, as one does that has to last.
    let folder = tempfile::tempdir()?;
    let choice = PostgresChoice { url: None, allow_machine: true };
    let postgres = LocalPostgres::start(Some(folder.path()), choice).await?;
    let near = PostgresViews::lazy(postgres.url(), postgres.max_connections())?;
    near.migrate().await?;
    let measured = measure(options, domain.as_ref(), &near, &versions).await;
    let far = PostgresViews::lazy(&far_url(postgres.url(), options.round_trip)?, postgres.max_connections())?;
    let measured_far = measure(options, domain.as_ref(), &far, &versions).await;
    near.pool().close().await;
    far.pool().close().await;
    postgres.stop().await?;
    LocalPostgres::wipe(folder.path()).await?;

    println!("on one machine");
    // Without a way to go, what a row costs the server however it comes is most of it.
    report_on(&mut report, options, &measured?, [Some(Bar::AtLeast(0.8)), None]);
    println!("\n{} us apart", options.round_trip);
    // A transaction goes there three times, and the statement by hand once.
    report_on(&mut report, options, &measured_far?, [None, Some(Bar::AtLeast(10.0))]);
    Ok(report.finish(&options.reporting))
}

/// The same database, further away.
fn far_url(url: &str, round_trip: u64) -> anyhow::Result<String> {
    let authority = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).context("a URL with a host")?.0;
    let server = authority.to_socket_addrs()?.next().context("an address")?;
    let address = lead_to(server, Duration::from_micros(round_trip / 2))?;
    Ok(url.replacen(authority, &address.to_string(), 1))
}

fn report_on(report: &mut Report, options: &Options, measured: &Measured, [unnest, row_by_row]: [Option<Bar>; 2]) {
    let Measured { ours, bulk, single } = measured;
    for (size, (ours, bulk)) in options.batches.iter().zip(ours.iter().zip(bulk)) {
        for (what, (ours, (bulk, single))) in
            ["inserts", "updates"].iter().zip(ours.iter().zip(bulk.iter().zip(single)))
        {
            report.compare(&format!("{what} by {size}, one UNNEST"), [ours, bulk], unnest);
            report.compare(&format!("{what} by {size}, row by row"), [ours, single], row_by_row);
        }
    }
}

/// Rows per second of inserts and of updates.
type Rates = [Rounds; 2];

/// The first two by size of batch.
struct Measured {
    ours: Vec<Rates>,
    bulk: Vec<Rates>,
    single: Rates,
}

async fn measure(
    options: &Options,
    domain: &dyn DynDomain,
    views: &PostgresViews,
    versions: &[Vec<VersionItem>; 2],
) -> anyhow::Result<Measured> {
    let Options { rounds, batches, .. } = options;
    let none = vec![Rates::default(); batches.len()];
    let mut measured = Measured { ours: none.clone(), bulk: none, single: Rates::default() };
    for round in 0..=*rounds {
        // The first one warms up. Each side is first in every other round.
        for (size, (ours, bulk)) in batches.iter().zip(measured.ours.iter_mut().zip(&mut measured.bulk)) {
            for by_hand in [round % 2 == 0, round % 2 != 0] {
                let (rates, into) = match by_hand {
                    true => (their_rates(views.pool(), versions, *size).await?, &mut *bulk),
                    false => (our_rates(domain, views, versions, *size).await?, &mut *ours),
                };
                keep(round, into, rates);
            }
        }
        keep(round, &mut measured.single, their_rates(views.pool(), versions, 1).await?);
    }
    Ok(measured)
}

fn keep(round: usize, into: &mut Rates, rates: [f64; 2]) {
    if round > 0 {
        into.iter_mut().zip(rates).for_each(|(into, rate)| into.push(rate));
    }
}

async fn our_rates(
    domain: &dyn DynDomain,
    views: &PostgresViews,
    versions: &[Vec<VersionItem>; 2],
    size: usize,
) -> anyhow::Result<[f64; 2]> {
    let mut rates = [0.0; 2];
    empty(views.pool()).await?;
    for (items, rate) in versions.iter().zip(&mut rates) {
        let items: Vec<&VersionItem> = items.iter().collect();
        let begun = Instant::now();
        for batch in items.chunks(size) {
            let applied = views.apply(domain, batch).await?;
            anyhow::ensure!(applied.written == batch.len(), "{applied:?} of {}", batch.len());
        }
        *rate = per_second(items.len(), begun);
    }
    Ok(rates)
}

/// On one connection, as its owner, whom row-level security does not concern; each statement commits
/// by itself. Putting together what is bound is not measured.
async fn their_rates(pool: &PgPool, versions: &[Vec<VersionItem>; 2], size: usize) -> anyhow::Result<[f64; 2]> {
    let mut rates = [0.0; 2];
    empty(pool).await?;
    let mut connection = pool.acquire().await?;
    for (items, rate) in versions.iter().zip(&mut rates) {
        let batches: Vec<Columns> = items.chunks(size).map(columns).collect();
        let statement = UPSERT.replace("{GIVEN}", &if size == 1 { one_row() } else { many_rows() });
        let begun = Instant::now();
        for batch in &batches {
            let written = match size {
                1 => batch.upsert_one(&mut connection, &statement).await?,
                _ => batch.upsert_all(&mut connection, &statement).await?,
            };
            anyhow::ensure!(written == u64::try_from(batch.versions.len())?, "{written} rows");
        }
        *rate = per_second(items.len(), begun);
    }
    Ok(rates)
}

async fn empty(pool: &PgPool) -> anyhow::Result<()> {
    // The checkpoint now is not one that falls into the middle of a measurement.
    sqlx::raw_sql("TRUNCATE product; CHECKPOINT").execute(pool).await?;
    Ok(())
}

fn per_second(rows: usize, begun: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
    let rows = rows as f64;
    rows / begun.elapsed().as_secs_f64()
}

fn many_rows() -> String {
    let texts: Vec<String> = (1..=TEXTS).map(|number| format!("${number}::text[]")).collect();
    format!("UNNEST({}, $17::bigint[], $18::boolean[], $19::timestamptz[], $20::timestamptz[])", texts.join(", "))
}

fn one_row() -> String {
    let texts: Vec<String> = (1..=TEXTS).map(|number| format!("${number}::text")).collect();
    format!("(VALUES ({}, $17::bigint, $18::boolean, $19::timestamptz, $20::timestamptz))", texts.join(", "))
}

/// Rows, column by column, ready to be bound.
#[derive(Default)]
struct Columns {
    texts: Vec<Vec<Option<String>>>,
    versions: Vec<i64>,
    deleted: Vec<bool>,
    created: Vec<DateTime<Utc>>,
    updated: Vec<DateTime<Utc>>,
}

fn columns(items: &[VersionItem]) -> Columns {
    let mut columns = Columns { texts: vec![Vec::new(); TEXTS], ..Columns::default() };
    for item in items {
        let own = |name: &str| item.attributes().get(name).cloned();
        let text = |name: &str| own(name).and_then(|value| value.as_str().map(str::to_owned));
        let row: [_; TEXTS] = [
            Some(item.key.to_string()),
            Some(item.key.partition.tenant.to_string()),
            Some(item.key.partition.to_string()),
            Some(item.key.sk.encoded()),
            Some(item.key.at(item.version).to_string()),
            Some(item.code.clone()),
            Some(item.name.clone()),
            Some(item.hash.to_string()),
            Some(item.created.by.clone()),
            Some(item.created.ip.clone()),
            Some(item.updated.by.clone()),
            Some(item.updated.ip.clone()),
            text("category"),
            text("description"),
            text("price"),
            own("specification").map(|value| value.to_string()),
        ];
        columns.texts.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        columns.versions.push(i64::try_from(item.version.number()).unwrap_or(i64::MAX));
        columns.deleted.push(item.is_deleted);
        columns.created.push(item.created.at.as_datetime());
        columns.updated.push(item.updated.at.as_datetime());
    }
    columns
}

impl Columns {
    async fn upsert_all(&self, connection: &mut PgConnection, statement: &str) -> Result<u64, sqlx::Error> {
        let mut upsert = sqlx::query(AssertSqlSafe(statement));
        for column in &self.texts {
            upsert = upsert.bind(column);
        }
        let upsert = upsert.bind(&self.versions).bind(&self.deleted).bind(&self.created).bind(&self.updated);
        Ok(upsert.execute(connection).await?.rows_affected())
    }

    async fn upsert_one(&self, connection: &mut PgConnection, statement: &str) -> Result<u64, sqlx::Error> {
        let mut upsert = sqlx::query(AssertSqlSafe(statement));
        for column in &self.texts {
            upsert = upsert.bind(column.first().and_then(Option::as_deref));
        }
        let upsert = upsert.bind(self.versions.first()).bind(self.deleted.first());
        let upsert = upsert.bind(self.created.first()).bind(self.updated.first());
        Ok(upsert.execute(connection).await?.rows_affected())
    }
}

/// The first version of each product, and the second.
fn both_versions(products: usize) -> anyhow::Result<[Vec<VersionItem>; 2]> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for number in 0..products {
        let made = version(number, None)?;
        second.push(version(number, Some(&made))?);
        first.push(made);
    }
    Ok([first, second])
}

fn version(number: usize, previous: Option<&VersionItem>) -> anyhow::Result<VersionItem> {
    let sk = format!("p{number}");
    let product: Value = serde_json::from_str(&ours::product(&sk))?;
    let text = |name: &str| product.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut attributes = product.get("attributes").cloned().unwrap_or_default();
    let (version, event, cents) = match previous {
        None => (Version::FIRST, "ProductCreated", number),
        Some(_) => (Version::new(2)?, "ProductPriceChanged", another_price(number)),
    };
    if let Some(price) = attributes.get_mut("price") {
        *price = json!(format!("{}.{:02}", cents / 100, cents % 100));
    }
    let draft = Draft {
        code: text("code"),
        name: text("name"),
        is_deleted: false,
        events: vec![StoredEvent { name: event.to_owned(), v: 1, data: json!({}) }],
        state: json!({"attributes": attributes}),
        command_id: format!("command-{number}"),
        request_id: "request".to_owned(),
        source: "bench".to_owned(),
        traceparent: None,
        stamp: Stamp {
            at: format!("2026-01-01T12:00:{:02}Z", number % 60).parse()?,
            by: "ann".to_owned(),
            ip: "192.0.2.1".to_owned(),
        },
    };
    let key = format!("PRODUCT#t{}#{sk}", number % TENANTS).parse()?;
    Ok(VersionItem::chain(key, version, previous, draft)?)
}

/// Another price, elsewhere in the index.
fn another_price(number: usize) -> usize {
    (number * 7919 + 50_000) % 1_000_000
}
