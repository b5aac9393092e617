use std::cmp::Ordering;
use std::collections::BTreeSet;

use ledgerline_kernel::ports::{EntityList, ListQuery, Sort, StateSink};
use ledgerline_kernel::{Decimal, Entity, VersionItem};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row as _};

use super::fields::{Goods, product};
use super::{all_of, migrated, run};
use crate::PostgresViews;
use crate::list_sql::{ListSql, Statement};
use crate::session::{Plans, Session};

/// Sixty products with few different prices and categories, and some without.
fn stock() -> Vec<VersionItem> {
    let prices = [None, Some("5"), Some("5.00"), Some("10"), Some("-1"), Some("9.99"), None];
    let categories = [Some("b"), None, Some("B"), Some("é"), Some("a")];
    let item = |number: u32| {
        let mut attributes = json!({});
        if let Some(price) = prices[number as usize % prices.len()] {
            attributes["price"] = price.into();
        }
        if let Some(category) = categories[number as usize / 2 % categories.len()] {
            attributes["category"] = category.into();
        }
        product(&format!("{:02}", number * 37 % 60), number % 10, &attributes)
    };
    (0..60).map(item).collect()
}

/// The order that a list must have, said in another way than SQL.
fn compare(one: &Entity, other: &Entity, sort: &[Sort]) -> Ordering {
    let absent_last = |one: Option<&Value>, other: Option<&Value>, compare: &dyn Fn(&str, &str) -> Ordering| match (
        one.and_then(Value::as_str),
        other.and_then(Value::as_str),
    ) {
        (Some(one), Some(other)) => (compare(one, other), true),
        (one, other) => (one.is_none().cmp(&other.is_none()), false),
    };
    for Sort { field, descending } in sort {
        let (order, may_turn) = match field.as_str() {
            "code" => (one.code.cmp(&other.code), true),
            "name" => (one.name.cmp(&other.name), true),
            "createdAt" => (one.created.at.cmp(&other.created.at), true),
            own => absent_last(one.attributes.get(own), other.attributes.get(own), &|one, other| match own {
                "price" => one.parse::<Decimal>().unwrap().cmp(&other.parse().unwrap()),
                _ => one.cmp(other),
            }),
        };
        let order = if *descending && may_turn { order.reverse() } else { order };
        if order != Ordering::Equal {
            return order;
        }
    }
    let order = one.key.to_string().cmp(&other.key.to_string());
    if sort.last().is_some_and(|last| last.descending) { order.reverse() } else { order }
}

#[tokio::test]
async fn a_sorted_list_is_paged_through_without_gap_or_repeat() {
    let (views, _database) = migrated().await;
    let items = stock();
    views.apply(&Goods::new(), &items.iter().collect::<Vec<_>>()).await.unwrap();
    let orders = [
        "",
        "price",
        "-price",
        "category",
        "-category",
        "name",
        "-name",
        "createdAt",
        "-createdAt",
        "code,price",
        "category,-price",
        "-category,price",
        "-price,-name",
        "name,price,-category",
        "-createdAt,category,-price",
    ];
    for order in orders {
        let sort: Vec<Sort> = order
            .split(',')
            .filter(|field| !field.is_empty())
            .map(|field| Sort { field: field.trim_start_matches('-').to_owned(), descending: field.starts_with('-') })
            .collect();
        let mut expected: Vec<Entity> = items.iter().map(Entity::from).collect();
        expected.sort_by(|one, other| compare(one, other, &sort));
        for limit in [1, 7, 60] {
            let mut query = ListQuery { sort: sort.clone(), limit, with_total: limit == 7, ..all_of("acme") };
            let mut found = Vec::new();
            loop {
                let page = views.list(&Goods::new(), &query).await.unwrap();
                assert_eq!(page.total, query.with_total.then_some(60));
                assert!(!page.entities.is_empty() && page.entities.len() <= limit);
                found.extend(page.entities);
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
            let ids = |entities: &[Entity]| entities.iter().map(|entity| entity.key.to_string()).collect::<Vec<_>>();
            assert_eq!(ids(&found), ids(&expected), "sort={order} limit={limit}");
        }
    }
}

/// What a statement shows, by a connection of its own.
async fn ids(views: &PostgresViews, statement: &Statement) -> Vec<String> {
    let mut session =
        Session::begin_list(&views.pool, &"acme".parse().unwrap(), views.read_limit, Plans::Kept).await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(statement.text.clone())).fetch_all(session.connection()).await.unwrap();
    session.commit().await.unwrap();
    rows.iter().map(|row| row.get("id")).collect()
}

#[tokio::test]
async fn an_entity_that_gains_the_field_while_a_page_is_made_is_on_it() {
    let (views, _database) = migrated().await;
    let items = stock();
    views.apply(&Goods::new(), &items.iter().collect::<Vec<_>>()).await.unwrap();
    let sort = vec![Sort { field: "price".to_owned(), descending: true }];
    let query = ListQuery { sort, limit: 100, ..all_of("acme") };
    let goods = Goods::new();
    let sql = ListSql::new(&goods, &query).unwrap();
    let with_price = ids(&views, &sql.page()).await;
    assert!(!with_price.is_empty() && with_price.len() < 60, "the page is not full");
    let gains = items.iter().map(|item| item.key.to_string()).find(|id| !with_price.contains(id)).unwrap();
    run(&views, &format!("UPDATE product SET price = 7 WHERE id = '{gains}'")).await;
    let all: BTreeSet<String> = ids(&views, &sql.whole().unwrap()).await.into_iter().collect();
    assert_eq!(all.len(), 60);
}

#[tokio::test]
async fn a_position_of_another_order_is_rejected() {
    let (views, _database) = migrated().await;
    let items = stock();
    views.apply(&Goods::new(), &items.iter().collect::<Vec<_>>()).await.unwrap();
    let page = views.list(&Goods::new(), &ListQuery { limit: 1, ..all_of("acme") }).await.unwrap();
    let sort = vec![Sort { field: "price".to_owned(), descending: false }];
    views.list(&Goods::new(), &ListQuery { sort, after: page.next, ..all_of("acme") }).await.unwrap_err();
}
