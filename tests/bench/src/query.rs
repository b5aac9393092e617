//! Lists as the query function makes them, against SQL written by hand for each, in a small table and
//! in a large one.

mod by_hand;
mod shape;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use aws_sdk_dynamodb::Client;
use ledgerline_app::{ListRequest, MinVersions, Queries, Registry};
use ledgerline_kernel::DynDomain;
use ledgerline_lambda::{Config, SystemEnvironment};
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_stores::TestDatabase;
use ledgerline_views_postgres::PostgresViews;
use sqlx::AssertSqlSafe;

use self::by_hand::{Handwritten, list_by_hand};
use self::shape::Shape;
use crate::ours;
use crate::report::{Bar, Report, Reporting};
use crate::rounds::Rounds;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each list is measured in each table, on each side
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Lists in one round; the round's figure is their median
    #[arg(long, default_value_t = 60)]
    samples: usize,
    /// Rows of the large table; the small one has 10,000
    #[arg(long, default_value_t = 100_000)]
    rows: u32,
    /// Rows in a page
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// What the places and prices asked for are made from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    reporting: Reporting,
}

const SMALL: u32 = 10_000;

/// Whose lists are measured; three in five rows are theirs.
const TENANT: &str = "acme";

/// One in twenty is deleted, one in seven has no price. All have the word `colour`, a third `gold`, and one
/// in ten thousand `unicorn`.
const FILL: &str = "
    INSERT INTO product (id, tenant_code, pk, sk, cpk, csk, code, name, version, is_deleted, payload_hash,
        created_at, created_by, created_ip, updated_at, updated_by, updated_ip, category, price, description,
        specification)
    SELECT pk || '#' || sk, tenant, pk, sk, pk, sk || '@0000000001', 'C-' || n, word || ' ' || n, 1, mixed % 20 = 0,
        encode(sha256(n::text::bytea), 'hex'), moment, 'ann', '192.0.2.1', moment + '1 h', 'ann', '192.0.2.1',
        'category ' || mixed % 13, CASE WHEN mixed % 7 > 0 THEN mixed % 1000000 / 100.0 END,
        CASE WHEN n % 10000 = 7 THEN 'a unicorn of a colour'
            ELSE 'colour ' || mixed % 9 || CASE WHEN mixed % 3 = 0 THEN ' gold' ELSE '' END END,
        '{\"weight\": \"0.70 ct\", \"dimensions\": \"5.67 x 5.70 x 3.53 mm\"}'
    FROM (
        SELECT n, mixed, 'PRODUCT#' || tenant AS pk, to_char(n, 'fm0000000') AS sk, tenant,
            (ARRAY['ring', 'pendant', 'brooch', 'chain'])[1 + mixed % 4] AS word,
            '2026-01-01T00:00Z'::timestamptz + mixed % 10000000 * '1 s'::interval AS moment
        FROM (
            SELECT n, abs(hashint4(n)) AS mixed, CASE WHEN n % 5 < 3 THEN 'acme' ELSE 'globex' END AS tenant
            FROM generate_series(1, {ROWS}) AS n
        ) AS numbers
    ) AS rows";

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { rounds, samples, rows, limit, seed, .. } = *options;
    let conditions = format!(
        "{rounds} rounds of {samples} lists of each kind, table and side, pages of {limit}, seed {seed}; p50 in us"
    );
    let mut report = Report::new("query", &conditions);
    let client = no_dynamodb().await;
    let registry = Registry::shipped()?;
    let domain = registry.by_resource("products").context("no products")?;
    let tables = [Table::filled(SMALL, &client, domain).await?, Table::filled(rows, &client, domain).await?];
    let mut random = fastrand::Rng::with_seed(seed);
    let mut measured = vec![<[[Rounds; 2]; 2]>::default(); Shape::ALL.len()];
    for round in 0..=rounds {
        for (shape, measured) in Shape::ALL.iter().zip(&mut measured) {
            let medians = round_of(&tables, *shape, options, &mut random).await?;
            // The first one warms up.
            for (sides, medians) in measured.iter_mut().zip(medians).filter(|_| round > 0) {
                sides.iter_mut().zip(medians).for_each(|(side, median)| side.push(median));
            }
        }
    }
    for (table, rows) in [SMALL, rows].into_iter().enumerate() {
        for (shape, measured) in Shape::ALL.iter().zip(&measured) {
            if let Some([ours, theirs]) = measured.get(table) {
                let bar = (!shape.is_a_word()).then_some(Bar::AtMost(1.25));
                report.compare(&format!("{}, {rows} rows", shape.name()), [ours, theirs], bar);
            }
        }
        // By hand it is one statement for both, and good for one of them; nobody knows beforehand which it gets.
        let words = Shape::ALL.iter().zip(&measured).filter(|(shape, _)| shape.is_a_word());
        let words: Vec<_> = words.filter_map(|(_, measured)| measured.get(table)).collect();
        if let [[ours, theirs], [our_others, their_others]] = *words {
            let both = [&ours.and(our_others), &theirs.and(their_others)];
            report.compare(&format!("either word, {rows} rows"), both, Some(Bar::AtMost(1.25)));
        }
        println!();
    }
    println!("How many times as long a page takes in the large table, against the first one by id by hand:\n");
    let growth = |[[ours, theirs], [our_large, their_large]]: &[[Rounds; 2]; 2]| {
        [our_large.ratio_to(ours), their_large.ratio_to(theirs)]
    };
    let growths: Vec<_> = measured.iter().map(growth).collect();
    // It is one walk along one index in either table: what is more in the large one is the machine's doing.
    let by_id = Shape::ALL.iter().zip(&growths).find(|(shape, _)| **shape == Shape::FirstById);
    let (_, [_, machines]) = by_id.context("no list by id")?;
    for (shape, [ours, _]) in Shape::ALL.iter().zip(&growths) {
        // An answer that grows with the table takes longer, and no bar says by how much.
        let bar = shape.is_always_a_page().then_some(Bar::AtMost(1.2));
        report.compare(&format!("{}, growth", shape.name()), [ours, machines], bar);
    }
    for table in &tables {
        table.views.pool().close().await;
    }
    Ok(report.finish(&options.reporting))
}

/// The medians of one round: of each table, ours first. The same lists of both sides and both tables in turns: who has
/// the caches, or a core that is awake, for itself is no measure for the other. Only a side whose statement by hand
/// reads half of a table is asked as a whole before or after the other, which would find its caches cold each time.
async fn round_of(
    tables: &[Table; 2],
    shape: Shape,
    options: &Options,
    random: &mut fastrand::Rng,
) -> anyhow::Result<[[f64; 2]; 2]> {
    let mut ask = |table: &Table| shape.ask(table.rows, options.limit, random);
    let asked: Vec<_> = (0..options.samples).map(|_| tables.each_ref().map(&mut ask)).collect();
    let mut either_first = || if random.bool() { [true, false] } else { [false, true] };
    let order: Vec<_> = if shape.is_light_by_hand() {
        asked.iter().flat_map(|lists| either_first().map(|hand| (hand, lists))).collect()
    } else {
        either_first().into_iter().flat_map(|hand| asked.iter().map(move |lists| (hand, lists))).collect()
    };
    let (mut ours, mut theirs) = (<[Measured; 2]>::default(), <[Measured; 2]>::default());
    for (hand, lists) in order {
        for (index, (table, (request, by_hand))) in tables.iter().zip(lists).enumerate() {
            let (time, page) = if hand { table.theirs(by_hand).await? } else { table.ours(request.clone()).await? };
            let side = if hand { &mut theirs } else { &mut ours };
            if let Some(Measured { took, pages }) = side.get_mut(index) {
                took.push(time);
                pages.push(page);
            }
        }
    }
    let both = |[small, large]: [Measured; 2]| (small.pages, large.pages, [small.took.median(), large.took.median()]);
    let (our_pages, our_large_pages, [our_small, our_large]) = both(ours);
    let (their_pages, their_large_pages, [their_small, their_large]) = both(theirs);
    let pages = our_pages.iter().zip(&their_pages).chain(our_large_pages.iter().zip(&their_large_pages));
    for (ours, theirs) in pages {
        anyhow::ensure!(ours == theirs, "{}: {ours:?} and {theirs:?}", shape.name());
    }
    Ok([[our_small, their_small], [our_large, their_large]])
}

/// One side's lists of one table.
#[derive(Default)]
struct Measured {
    took: Rounds,
    /// The ids of each page.
    pages: Vec<Vec<String>>,
}

/// A client that nothing is ever asked of: these lists come from Postgres.
async fn no_dynamodb() -> Client {
    let config = Config::new(|name| match name {
        "AWS_ENDPOINT_URL_DYNAMODB" => Some("http://127.0.0.1:9".to_owned()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
        _ => None,
    });
    ledgerline_lambda::dynamodb_client(&config).await
}

/// A table of so many rows, in a database of its own.
struct Table {
    rows: u32,
    views: PostgresViews,
    queries: Queries,
    domain: Arc<dyn DynDomain>,
    _database: TestDatabase,
}

impl Table {
    async fn filled(rows: u32, client: &Client, domain: &Arc<dyn DynDomain>) -> anyhow::Result<Self> {
        let database = TestDatabase::create().await?;
        let views = PostgresViews::lazy(database.url(), database.max_connections())?;
        views.migrate().await?;
        let begun = Instant::now();
        // Safe: a number is put in, nothing else.
        sqlx::raw_sql(AssertSqlSafe(FILL.replace("{ROWS}", &rows.to_string()))).execute(views.pool()).await?;
        // Written out first, or VACUUM does not yet take the rows for visible to all.
        sqlx::raw_sql("CHECKPOINT").execute(views.pool()).await?;
        sqlx::raw_sql("VACUUM (ANALYZE) product").execute(views.pool()).await?;
        println!("filled {rows} rows in {:.0} s", begun.elapsed().as_secs_f64());
        let queries = Queries::new(
            Arc::new(DynamoLedger::new(client.clone(), ours::TABLE)),
            Arc::new(DynamoDataTable::new(client.clone(), ours::TABLE)),
            Arc::new(views.clone()),
            Arc::new(SystemEnvironment),
        );
        Ok(Self { rows, views, queries, domain: Arc::clone(domain), _database: database })
    }

    /// Microseconds, and the ids of the page.
    async fn ours(&self, request: ListRequest) -> anyhow::Result<(f64, Vec<String>)> {
        let tenant = TENANT.parse()?;
        let begun = Instant::now();
        let page = self.queries.list(self.domain.as_ref(), tenant, request, &MinVersions::default()).await?;
        let took = begun.elapsed();
        Ok((took.as_secs_f64() * 1e6, page.entities.iter().map(|entity| entity.key.to_string()).collect()))
    }

    async fn theirs(&self, list: &Handwritten) -> anyhow::Result<(f64, Vec<String>)> {
        let begun = Instant::now();
        let mut rows = list_by_hand(self.views.pool(), TENANT, list).await?;
        let took = begun.elapsed();
        // The one more that tells of a next page.
        rows.truncate(list.limit);
        Ok((took.as_secs_f64() * 1e6, rows.into_iter().map(|row| row.0).collect()))
    }
}
