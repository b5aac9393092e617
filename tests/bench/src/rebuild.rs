//! A rebuild of a domain's tables, against a parallel scan and an upsert written for this one table.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::{StreamExt as _, TryStreamExt as _};
use ledgerline_app::{Caller, CommandRequest, Commands, IfMatch, RebuildOptions, Registry, RequestOrigin, rebuild};
use ledgerline_kernel::{Action, DynDomain};
use ledgerline_lambda::SystemEnvironment;
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_stores::{LocalPostgres, PostgresChoice};
use ledgerline_views_postgres::PostgresViews;
use sqlx::PgPool;

use crate::emulator::Emulator;
use crate::load::measure;
use crate::ours::{self, TABLE};
use crate::report::{Bar, Report, Reporting};
use crate::rounds::Rounds;
use crate::states_alone::StatesAlone;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each side is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Entities in the ledger, of three versions each
    #[arg(long, default_value_t = 10_000)]
    entities: usize,
    /// In how many parts at once the ledger is read
    #[arg(long, default_value_t = 4)]
    segments: u32,
    /// Rows of the ledger in a page
    #[arg(long, default_value_t = 1000)]
    page_rows: u32,
    #[command(flatten)]
    reporting: Reporting,
}

const TENANTS: usize = 16;
const VERSIONS: usize = 3;
const IN_FLIGHT: usize = 16;

/// The table of the other side: the same columns and indexes.
pub(crate) const RAW_TABLE: &str = "CREATE TABLE raw_product (LIKE product INCLUDING ALL)";

const RAW_UPSERT: &str = "
    INSERT INTO raw_product AS held
        (id, tenant_code, pk, sk, cpk, csk, code, name, version, is_deleted, payload_hash, created_at, created_by,
         created_ip, updated_at, updated_by, updated_ip, category, price, description, specification)
    SELECT id, tenant_code, pk, sk, pk, csk, code, name, version::bigint, is_deleted::boolean, hash,
           created_at::timestamptz, created_by, created_ip, updated_at::timestamptz, updated_by, updated_ip,
           category, price::numeric, description, specification::jsonb
    FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
                $17::text[], $18::text[], $19::text[], $20::text[])
        AS given (id, tenant_code, pk, sk, csk, code, name, version, is_deleted, hash, created_at, created_by,
                  created_ip, updated_at, updated_by, updated_ip, category, price, description, specification)
    ON CONFLICT (id) DO UPDATE SET
        cpk = excluded.cpk, csk = excluded.csk, code = excluded.code, name = excluded.name, version = excluded.version,
        is_deleted = excluded.is_deleted, payload_hash = excluded.payload_hash, updated_at = excluded.updated_at,
        updated_by = excluded.updated_by, updated_ip = excluded.updated_ip, category = excluded.category,
        price = excluded.price, description = excluded.description, specification = excluded.specification
    WHERE held.version < excluded.version";

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { rounds, entities, segments, page_rows, .. } = *options;
    let versions = entities * VERSIONS;
    let conditions = format!(
        "{rounds} rounds of {versions} versions of {entities} products, {segments} segments, pages of {page_rows}"
    );
    let mut report = Report::new("rebuild", &conditions);
    let emulator = Emulator::start(&[TABLE])?;
    let client = emulator.client().await;
    let ledger = Arc::new(DynamoLedger::new(client.clone(), TABLE));
    let registry = Registry::shipped()?;
    let products = registry.by_resource("products").context("no products")?;
    load(&ledger, products.as_ref(), entities).await?;

    let postgres = LocalPostgres::start(None, PostgresChoice { url: None, allow_machine: true }).await?;
    let views = PostgresViews::lazy(postgres.url(), postgres.max_connections())?;
    views.migrate().await?;
    sqlx::query(RAW_TABLE).execute(views.pool()).await?;
    let states_alone = StatesAlone(Arc::clone(products));
    let whole: &dyn DynDomain = products.as_ref();
    let (mut ours, mut theirs, mut with_sums) = (Rounds::default(), Rounds::default(), Rounds::default());
    for round in 0..=rounds {
        // The first one warms up. Each side is first in every other round.
        for raw in [round % 2 == 0, round % 2 != 0] {
            let begun = Instant::now();
            if raw {
                raw_rebuild(&client, views.pool(), segments, page_rows).await?;
            } else {
                our_rebuild(&ledger, &registry, &states_alone, &views, options).await?;
            }
            #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
            let rate = versions as f64 / begun.elapsed().as_secs_f64();
            let side = if raw { &mut theirs } else { &mut ours };
            if round > 0 {
                side.push(rate);
            }
        }
        let begun = Instant::now();
        our_rebuild(&ledger, &registry, whole, &views, options).await?;
        #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
        let rate = versions as f64 / begun.elapsed().as_secs_f64();
        if round > 0 {
            with_sums.push(rate);
        }
    }
    report.compare("states, versions per second", [&ours, &theirs], Some(Bar::AtLeast(0.8)));
    report.compare("states and sums, versions per second", [&with_sums, &theirs], None);
    views.pool().close().await;
    postgres.stop().await?;
    Ok(report.finish(&options.reporting))
}

/// Fills the ledger.
async fn load(ledger: &Arc<DynamoLedger>, domain: &dyn DynDomain, entities: usize) -> anyhow::Result<()> {
    let commands = Commands::new(Arc::<DynamoLedger>::clone(ledger), Arc::new(SystemEnvironment));
    let numbers: Vec<usize> = (0..entities).collect();
    for version in 0..VERSIONS {
        let commands = &commands;
        measure(&numbers, IN_FLIGHT, |number| async move {
            let (sk, tenant) = (format!("p{number}"), format!("t{}", number % TENANTS));
            let request = |action, sk, body| -> anyhow::Result<CommandRequest<'_>> {
                Ok(CommandRequest {
                    domain,
                    action,
                    sk,
                    if_match: (action != Action::Create).then_some(IfMatch::Any),
                    idempotency_key: None,
                    body,
                    caller: Caller { tenant: tenant.parse()?, user: "ann".to_owned(), ip: "192.0.2.1".to_owned() },
                    origin: RequestOrigin {
                        request_id: "bench".to_owned(),
                        source: "bench".to_owned(),
                        traceparent: None,
                    },
                })
            };
            let (create, change) = (ours::product(&sk), ours::price(100 + version));
            match version {
                0 => commands.execute(request(Action::Create, None, &create)?).await?,
                _ => commands.execute(request(Action::Named("change-price"), Some(sk.parse()?), &change)?).await?,
            };
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn our_rebuild(
    ledger: &Arc<DynamoLedger>,
    registry: &Registry,
    domain: &dyn DynDomain,
    views: &PostgresViews,
    options: &Options,
) -> anyhow::Result<()> {
    let own = views.rebuild(domain, options.segments).await?;
    let rebuilt =
        rebuild(ledger, registry, domain, &own, &RebuildOptions { page_rows: options.page_rows }, &|_| {}).await?;
    anyhow::ensure!(rebuilt.entities == u64::try_from(options.entities)?, "{} entities", rebuilt.entities);
    Ok(())
}

/// What one would write by hand: no progress, no writes meanwhile, no comparison, no other table.
async fn raw_rebuild(client: &Client, pool: &PgPool, segments: u32, page_rows: u32) -> anyhow::Result<()> {
    sqlx::query("TRUNCATE raw_product").execute(pool).await?;
    let segments = (0..segments).map(|segment| raw_segment(client, pool, segment, segments, page_rows));
    futures::stream::iter(segments.collect::<Vec<_>>()).map(Ok).try_for_each_concurrent(None, |segment| segment).await
}

async fn raw_segment(client: &Client, pool: &PgPool, segment: u32, of: u32, page_rows: u32) -> anyhow::Result<()> {
    let mut from = None;
    loop {
        let page = client
            .scan()
            .table_name(TABLE)
            .consistent_read(true)
            .segment(segment.try_into()?)
            .total_segments(of.try_into()?)
            .limit(page_rows.try_into()?)
            .filter_expression("kind = :version")
            .expression_attribute_values(":version", AttributeValue::S("version".to_owned()))
            .set_exclusive_start_key(from)
            .send()
            .await?;
        let mut newest: BTreeMap<String, (u64, HashMap<String, AttributeValue>)> = BTreeMap::new();
        for item in page.items.unwrap_or_default() {
            let id = text(&item, "id").context("an item has no id")?;
            let version: u64 = number(&item, "version").context("an item has no version")?.parse()?;
            if newest.get(&id).is_none_or(|(held, _)| *held < version) {
                newest.insert(id, (version, item));
            }
        }
        raw_upsert(pool, newest).await?;
        from = page.last_evaluated_key;
        if from.is_none() {
            return Ok(());
        }
    }
}

/// Brings versions into [`RAW_TABLE`], by their ids.
pub(crate) async fn raw_upsert(
    pool: &PgPool,
    newest: BTreeMap<String, (u64, HashMap<String, AttributeValue>)>,
) -> anyhow::Result<()> {
    if newest.is_empty() {
        return Ok(());
    }
    let mut columns: Vec<Vec<Option<String>>> = vec![Vec::new(); 20];
    for (id, (version, item)) in newest {
        let attributes = item.get("state").and_then(|state| state.as_m().ok());
        let attributes = attributes.and_then(|state| state.get("attributes")).and_then(|all| all.as_m().ok());
        let csk = text(&item, "sk").unwrap_or_default();
        let own = |name: &str| attributes.and_then(|attributes| text(attributes, name));
        let specification = attributes.and_then(|attributes| attributes.get("specification")).map(json);
        let deleted = item.get("isDeleted").and_then(|value| value.as_bool().ok()).copied().unwrap_or_default();
        let sk = csk.split('@').next().unwrap_or_default().to_owned();
        let row = [
            Some(id),
            text(&item, "tenantCode"),
            text(&item, "pk"),
            Some(sk),
            Some(csk),
            text(&item, "code"),
            text(&item, "name"),
            Some(version.to_string()),
            Some(deleted.to_string()),
            text(&item, "hash"),
            text(&item, "createdAt"),
            text(&item, "createdBy"),
            text(&item, "createdIp"),
            text(&item, "updatedAt"),
            text(&item, "updatedBy"),
            text(&item, "updatedIp"),
            own("category"),
            own("price"),
            own("description"),
            specification,
        ];
        columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
    }
    let mut upsert = sqlx::query(RAW_UPSERT);
    for column in columns {
        upsert = upsert.bind(column);
    }
    upsert.execute(pool).await?;
    Ok(())
}

fn text(item: &HashMap<String, AttributeValue>, name: &str) -> Option<String> {
    item.get(name)?.as_s().ok().cloned()
}

fn number(item: &HashMap<String, AttributeValue>, name: &str) -> Option<String> {
    item.get(name)?.as_n().ok().cloned()
}

fn json(value: &AttributeValue) -> String {
    let AttributeValue::M(fields) = value else {
        return serde_json::Value::from(value.as_s().cloned().unwrap_or_default()).to_string();
    };
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_str()), json(value)))
        .collect();
    format!("{{{}}}", fields.join(","))
}
