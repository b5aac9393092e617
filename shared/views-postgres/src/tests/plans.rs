//! How lists are found: by an index, whatever is asked, and by looking at few rows, however many the
//! tenant has. `LEDGERLINE_SCALE=full` asks it of a million rows instead of fifty thousand.

use ledgerline_kernel::ports::{Comparison, EntityList as _, Filter, ListQuery, Position, Sort};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::fields::Goods;
use super::{all_of, migrated, run};
use crate::PostgresViews;
use crate::list_sql::{ListSql, Statement};
use crate::session::{Plans, Session};

/// No page looks at more rows than this, nor sorts more.
///
/// A condition that one row in fifty passes is tried with a thousand rows; where fewer pass, all that
/// do are gathered.
fn most_rows(rows: u32) -> f64 {
    8_000.0 + f64::from(rows) / 50.0
}

/// Three in five are acme's, most of the rest globex's, and initech has hardly any; one in twenty is deleted; one in ten has no category or no price. All
/// have the word `colour`, a third `gold`, and one in ten thousand `unicorn`. What a word is found in
/// has nothing to do with the orders: where it has (`pendant`, by name), many may have to be gathered.
const FILL: &str = "
    INSERT INTO product (id, tenant_code, pk, sk, cpk, csk, code, name, version, is_deleted, payload_hash,
        created_at, created_by, created_ip, updated_at, updated_by, updated_ip, category, price, description)
    SELECT pk || '#' || sk, tenant, pk, sk, pk, sk || '@0000000001', 'C-' || n, word || ' ' || n, 1, mixed % 20 = 0,
        md5(n::text), moment, '', '', moment + '1 h', '', '',
        CASE WHEN mixed % 11 > 0 THEN 'category ' || mixed % 13 END,
        CASE WHEN mixed % 7 > 0 THEN mixed % 1000000 / 100.0 END,
        CASE WHEN n % 10000 = 7 THEN 'a unicorn of a colour' ELSE 'colour ' || mixed % 9 || CASE WHEN mixed % 3 = 0 THEN ' gold' ELSE '' END END
    FROM (
        SELECT n, mixed, 'PRODUCT#' || tenant AS pk, to_char(n, 'fm0000000') AS sk, tenant,
            (ARRAY['ring', 'pendant', 'brooch', 'chain'])[1 + mixed % 4] AS word,
            '2026-01-01T00:00Z'::timestamptz + mixed % 10000000 * '1 s'::interval AS moment
        FROM (
            SELECT n, abs(hashint4(n)) AS mixed, CASE WHEN n % 5000 = 0 THEN 'initech' WHEN n % 5 < 3 THEN 'acme' ELSE 'globex' END AS tenant
            FROM generate_series(1, ROWS) AS n
        ) AS numbers
    ) AS rows";

fn sorted(text: &str) -> Vec<Sort> {
    let fields = text.split(',').filter(|field| !field.is_empty());
    let sort =
        |field: &str| Sort { field: field.trim_start_matches('-').to_owned(), descending: field.starts_with('-') };
    fields.map(sort).collect()
}

fn filter(field: &str, comparison: Comparison, value: &str) -> Filter {
    Filter { field: field.to_owned(), comparison, value: value.to_owned() }
}

/// A place in the middle of a list of so many rows, and one among the rows without the field.
fn places(tenant: &str, sort: &[Sort], rows: u32) -> Vec<Option<Position>> {
    let value = |field: &str| match field {
        "code" => format!("C-{}", rows / 2),
        "name" => "chain 5".to_owned(),
        "category" => "category 5".to_owned(),
        "price" => "5000.5".to_owned(),
        _ => "2026-03-01T00:00:00Z".to_owned(),
    };
    let id = format!("PRODUCT#{tenant}#{:07}", rows / 2);
    let middle = Position { values: sort.iter().map(|sort| Some(value(&sort.field))).collect(), id: id.clone() };
    let mut places = vec![None, Some(middle)];
    if sort.iter().any(|sort| matches!(sort.field.as_str(), "price" | "category")) {
        places.push(Some(Position { values: vec![None; sort.len()], id }));
    }
    places
}

/// Every kind of list that this tenant can ask for, with a name.
fn lists(tenant: &str, rows: u32) -> Vec<(String, ListQuery)> {
    let price = |from: &str, to: &str| {
        vec![filter("price", Comparison::GreaterOrEqual, from), filter("price", Comparison::Less, to)]
    };
    let orders = [
        "",
        "code",
        "-code",
        "name",
        "-name",
        "createdAt",
        "-createdAt",
        "updatedAt",
        "-updatedAt",
        "category",
        "-category",
        "price",
        "-price",
    ];
    let conditions: [(&str, Vec<Filter>, &[&str]); 12] = [
        ("all", vec![], &[]),
        ("category", vec![filter("category", Comparison::Equal, "category 3")], &[]),
        ("no such category", vec![filter("category", Comparison::Equal, "none")], &[]),
        ("code", vec![filter("code", Comparison::Equal, "C-77")], &[]),
        ("name", vec![filter("name", Comparison::Equal, "ring 77")], &[]),
        ("few prices", price("100", "100.5"), &[]),
        ("most prices", price("10", "9999"), &[]),
        (
            "category and prices",
            [price("100", "9000"), vec![filter("category", Comparison::Equal, "category 3")]].concat(),
            &[],
        ),
        ("a word that all have", vec![], &["colour"]),
        ("a word that a third has", vec![], &["gol"]),
        ("a word that few have", vec![], &["unic"]),
        ("words and prices", price("10", "9999"), &["colour", "unic"]),
    ];
    let mut lists = Vec::new();
    for (name, filters, words) in conditions {
        for order in orders {
            let sort = sorted(order);
            for (number, after) in places(tenant, &sort, rows).into_iter().enumerate() {
                for include_deleted in [false, true] {
                    let words = words.iter().map(|word| (*word).to_owned()).collect();
                    let list = ListQuery {
                        filters: filters.clone(),
                        words,
                        sort: sort.clone(),
                        after: after.clone(),
                        limit: 20,
                        include_deleted,
                        with_total: order.is_empty() && number == 0,
                        ..all_of(tenant)
                    };
                    lists.push((
                        format!("{tenant}: {name}, sort={order}, place {number}, deleted {include_deleted}"),
                        list,
                    ));
                }
            }
        }
    }
    lists
}

/// What a plan came to.
#[derive(Debug, Default)]
struct Cost {
    scans_the_table: bool,
    rows_looked_at: f64,
    rows_sorted: f64,
}

impl Cost {
    fn add(&mut self, plan: &Value) {
        let number = |plan: &Value, name: &str| plan[name].as_f64().unwrap_or_default();
        let loops = number(plan, "Actual Loops");
        let kind = plan["Node Type"].as_str().unwrap_or_default();
        let inner = plan["Plans"].as_array().map_or(&[][..], Vec::as_slice);
        if kind == "Seq Scan" {
            self.scans_the_table = true;
        }
        if plan["Relation Name"] == "product" {
            let passed_over = number(plan, "Rows Removed by Filter") + number(plan, "Rows Removed by Index Recheck");
            self.rows_looked_at += loops * (number(plan, "Actual Rows") + passed_over);
        }
        if kind.ends_with("Sort") {
            self.rows_sorted +=
                inner.iter().map(|plan| number(plan, "Actual Loops") * number(plan, "Actual Rows")).sum::<f64>();
        }
        inner.iter().for_each(|plan| self.add(plan));
    }
}

/// What the statement costs this tenant when it runs, with a plan that was made for another one if that is
/// kept, and how many rows it answers with.
async fn run_and_explain(
    views: &PostgresViews,
    plans: Plans,
    [tenant, first_tenant]: [&str; 2],
    statement: &Statement,
) -> (Cost, f64, Value) {
    let first = first_tenant.parse().unwrap();
    let mut session = Session::begin_list(&views.pool, &first, views.read_limit, plans).await.unwrap();
    // Prepared, as an EXPLAIN with bound values plans for those even where plans are kept.
    let values: Vec<_> = statement.values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
    let values = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
    let prepare =
        format!("PREPARE list AS {}; EXPLAIN EXECUTE list{values}; SET LOCAL app.tenant = '{tenant}'", statement.text);
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(session.connection()).await.unwrap();
    let text = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE list{values}");
    let query = sqlx::query_scalar::<_, Value>(AssertSqlSafe(text)).persistent(false);
    let plan = query.fetch_one(session.connection()).await.unwrap()[0]["Plan"].take();
    sqlx::raw_sql("DEALLOCATE list").execute(session.connection()).await.unwrap();
    session.commit().await.unwrap();
    let mut cost = Cost::default();
    cost.add(&plan);
    let rows = plan["Actual Rows"].as_f64().unwrap_or_default();
    (cost, rows, plan)
}

/// The parts of a list that are asked for, and what each costs.
async fn costs(
    views: &PostgresViews,
    list: &ListQuery,
    sql: &ListSql<'_>,
    tenants: [&str; 2],
) -> Vec<(&'static str, Cost, Value)> {
    let mut costs = Vec::new();
    if let Some(glance) = &sql.glance() {
        let (cost, _, plan) = run_and_explain(views, sql.plans(), tenants, glance).await;
        costs.push(("glance", cost, plan));
    }
    let (cost, found, plan) = run_and_explain(views, sql.plans(), tenants, &sql.page()).await;
    costs.push(("page", cost, plan));
    if let Some(whole) = &sql.whole()
        && found <= list.limit as f64
    {
        let (cost, _, plan) = run_and_explain(views, sql.plans(), tenants, whole).await;
        costs.push(("whole", cost, plan));
    }
    if let Some(gathered) = &sql.gathered()
        && found <= list.limit as f64
    {
        let (cost, _, plan) = run_and_explain(views, sql.plans(), tenants, gathered).await;
        costs.push(("gathered", cost, plan));
    }
    if let Some(total) = &sql.total() {
        // Counting looks at all that match. An index has them, too.
        let (cost, _, plan) = run_and_explain(views, sql.plans(), tenants, total).await;
        costs.push(("total", Cost { rows_looked_at: 0.0, rows_sorted: 0.0, ..cost }, plan));
    }
    costs
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_found_by_an_index_and_looks_at_few_rows() {
    let (views, database) = migrated().await;
    if database.max_connections() == 1 {
        eprintln!("left out: the embedded server takes minutes for it");
        return;
    }
    let rows: u32 =
        if std::env::var("LEDGERLINE_SCALE").is_ok_and(|scale| scale == "full") { 1_000_000 } else { 50_000 };
    run(&views, &FILL.replace("ROWS", &rows.to_string())).await;
    // Written out first, or VACUUM does not yet take the rows for visible to all.
    run(&views, "CHECKPOINT").await;
    run(&views, "VACUUM (ANALYZE) product").await;
    let domain = Goods::new();
    let (mut count, mut most, mut bad) = (0, Cost::default(), Vec::new());
    // A plan that is kept serves whoever comes next on that connection.
    for [tenant, first] in [["acme", "acme"], ["acme", "initech"], ["globex", "acme"]] {
        for (name, list) in lists(tenant, rows) {
            let sql = ListSql::new(&domain, &list).unwrap();
            let others = ListQuery { tenant: first.parse().unwrap(), ..list.clone() };
            let others = ListSql::new(&domain, &others).unwrap();
            let is_shared = sql.plans() == Plans::Kept && sql.page().text == others.page().text;
            if tenant != first && !is_shared {
                continue;
            }
            for (part, cost, plan) in costs(&views, &list, &sql, [tenant, first]).await {
                count += 1;
                if cost.scans_the_table || cost.rows_looked_at > most_rows(rows) || cost.rows_sorted > most_rows(rows) {
                    bad.push(format!("{name}, planned for {first}, {part}: {cost:?}\n{plan:#}"));
                }
                most.rows_looked_at = most.rows_looked_at.max(cost.rows_looked_at);
                most.rows_sorted = most.rows_sorted.max(cost.rows_sorted);
            }
        }
    }
    eprintln!("{count} statements over {rows} rows; at most {most:?}");
    assert!(bad.is_empty(), "{} of {count}, such as {}", bad.len(), bad[..3.min(bad.len())].join("\n"));
}

/// How often a statement of a list was planned for its own values.
async fn plans_of_their_own(views: &PostgresViews) -> i64 {
    let count = "SELECT coalesce(sum(custom_plans), 0)::bigint
        FROM pg_prepared_statements WHERE statement LIKE '%product_of_tenant%'";
    sqlx::query_scalar(count).fetch_one(&views.pool).await.unwrap()
}

#[tokio::test]
async fn a_list_is_planned_once_unless_postgres_knows_something_of_its_filter() {
    let (_, database) = migrated().await;
    // One connection, whose statements can be asked about.
    let views = PostgresViews::lazy(database.url(), 1).unwrap();
    let domain = Goods::new();
    let known = ListQuery { filters: vec![filter("category", Comparison::Equal, "rings")], ..all_of("acme") };
    let number = ListQuery { filters: vec![filter("price", Comparison::Less, "9")], ..all_of("acme") };
    for (list, is_made_anew) in [(all_of("acme"), false), (known, true), (number, false)] {
        let before = plans_of_their_own(&views).await;
        views.list(&domain, &list).await.unwrap();
        assert_eq!(plans_of_their_own(&views).await > before, is_made_anew, "{list:?}");
    }
    views.pool.close().await;
}
