use std::num::NonZeroU32;
use std::sync::Arc;

use ledgerline_kernel::ports::{Applied, EntityList, ListQuery, Sort, StateSink, StoreError};
use ledgerline_kernel::{
    Action, ColumnKind, ColumnSpec, Corrupt, Draft, DynDelta, DynDomain, Entity, EntityType, Hash, Prepared, Stamp,
    StoredEvent, TableSpec, Version, VersionItem, input::InputError,
};
use serde_json::{Value, json};

use super::{all_of, migrated};

/// A domain on the table `product`, of which the adapter sees nothing but its table.
#[derive(Debug)]
pub(super) struct Goods(EntityType);

impl Goods {
    pub(super) fn new() -> Self {
        Self("PRODUCT".parse().unwrap())
    }
}

impl DynDomain for Goods {
    fn entity_type(&self) -> &EntityType {
        &self.0
    }

    fn resource(&self) -> &'static str {
        "products"
    }

    fn commands(&self) -> &'static [&'static str] {
        &[]
    }

    fn table(&self) -> &'static TableSpec {
        &TableSpec {
            name: "product",
            columns: &[
                ColumnSpec { name: "category", kind: ColumnKind::Text },
                ColumnSpec { name: "price", kind: ColumnKind::Numeric },
                ColumnSpec { name: "description", kind: ColumnKind::Text },
                ColumnSpec { name: "specification", kind: ColumnKind::Json },
            ],
            indexed: &["category", "price"],
            searched: &["code", "name", "description"],
        }
    }

    fn prepare(&self, _: Action<'_>, _: &str) -> Result<Prepared, InputError> {
        Err(InputError::Invalid(Vec::new()))
    }

    fn retention_days(&self) -> Option<NonZeroU32> {
        None
    }

    fn has_large_states(&self) -> bool {
        false
    }

    fn deltas(&self) -> Vec<Arc<dyn DynDelta>> {
        Vec::new()
    }

    fn check_events(&self, _: &VersionItem) -> Result<(), Corrupt> {
        Ok(())
    }

    fn replay(&self, _: Option<&VersionItem>, _: &VersionItem) -> Result<(), Corrupt> {
        Ok(())
    }

    fn unique(&self, _: &VersionItem) -> Result<Vec<(&'static str, String)>, Corrupt> {
        Ok(Vec::new())
    }
}

/// Version 1 of a product of tenant `acme`, made `second` seconds after noon.
pub(super) fn product(sk: &str, second: u32, attributes: &Value) -> VersionItem {
    let at = format!("2026-11-20T12:00:{second:02}.123456Z").parse().unwrap();
    let draft = Draft {
        code: format!("C-{sk}"),
        name: format!("Name {}", second % 3),
        is_deleted: false,
        events: vec![StoredEvent { name: "ProductCreated".to_owned(), v: 1, data: json!({}) }],
        state: json!({"attributes": attributes}),
        command_id: "command".to_owned(),
        request_id: "request".to_owned(),
        source: "test".to_owned(),
        traceparent: None,
        stamp: Stamp { at, by: "ann".to_owned(), ip: "2001:db8::1".to_owned() },
    };
    VersionItem::chain(format!("PRODUCT#acme#{sk}").parse().unwrap(), Version::FIRST, None, draft).unwrap()
}

#[tokio::test]
async fn every_field_reads_back_exactly() {
    let (views, _database) = migrated().await;
    let attributes = [
        json!({"category": "Ideal", "price": "12.50", "description": "x", "specification": {"weight": "0.23", "n": 7}}),
        json!({"price": "99999999999999999999999999999999999999"}),
        json!({"price": "-0.00000000000000000000000000000000000001"}),
        json!({"price": "0.00", "description": "𝄞 \u{10FFFF} e\u{301}\n\t'\"\\{,}NULL", "category": "NULL"}),
        json!({"specification": [null, true, "é", {"a": [], "b": {}}, -5], "category": ""}),
        json!({}),
    ];
    let items: Vec<_> =
        attributes.iter().enumerate().map(|(number, it)| product(&number.to_string(), number as u32, it)).collect();
    let written = views.apply(&Goods::new(), &items.iter().collect::<Vec<_>>()).await;
    assert_eq!(written, Ok(Applied { written: 6, ..Applied::default() }));
    let page = views.list(&Goods::new(), &all_of("acme")).await.unwrap();
    assert_eq!(page.entities, items.iter().map(Entity::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_keys_are_stored_in_all_their_forms() {
    let (views, _database) = migrated().await;
    let item = product("a%40b", 0, &json!({}));
    views.apply(&Goods::new(), &[&item]).await.unwrap();
    let row: (String, String, String, String, String, String) =
        sqlx::query_as("SELECT id, tenant_code, pk, sk, cpk, csk FROM product").fetch_one(&views.pool).await.unwrap();
    let expected =
        ["PRODUCT#acme#a%40b", "acme", "PRODUCT#acme", "a%40b", "PRODUCT#acme", "a%40b@0000000001"].map(str::to_owned);
    assert_eq!([row.0, row.1, row.2, row.3, row.4, row.5], expected);
}

#[tokio::test]
async fn a_null_attribute_is_an_absent_one() {
    let (views, _database) = migrated().await;
    let item = product("a", 0, &json!({"category": null, "price": null, "specification": null}));
    views.apply(&Goods::new(), &[&item]).await.unwrap();
    let page = views.list(&Goods::new(), &all_of("acme")).await.unwrap();
    assert_eq!(page.entities[0].attributes, json!({}));
}

#[tokio::test]
async fn an_attribute_that_does_not_fit_its_column_is_rejected_and_nothing_is_written() {
    let (views, _database) = migrated().await;
    let good = product("good", 0, &json!({}));
    let misfits = [json!({"price": "NaN"}), json!({"price": true}), json!({"category": 7}), json!({"category": "\0"})];
    for attributes in misfits {
        let bad = product("bad", 0, &attributes);
        let outcome = views.apply(&Goods::new(), &[&bad, &good]).await;
        assert!(matches!(outcome, Err(StoreError::Rejected { .. })), "{attributes}: {outcome:?}");
    }
    assert_eq!(views.list(&Goods::new(), &all_of("acme")).await.unwrap().entities, []);
}

#[tokio::test]
async fn an_unknown_field_is_rejected_before_it_becomes_sql() {
    let (views, _database) = migrated().await;
    for field in ["specification", "payload_hash", "id\"; DROP TABLE product; --"] {
        let sort = vec![Sort { field: field.to_owned(), descending: false }];
        let outcome = views.list(&Goods::new(), &ListQuery { sort, ..all_of("acme") }).await;
        assert!(matches!(outcome, Err(StoreError::Rejected { .. })), "{field}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_empty_batch_writes_nothing() {
    let (views, _database) = migrated().await;
    assert_eq!(views.apply(&Goods::new(), &[]).await, Ok(Applied::default()));
}

#[tokio::test]
async fn a_forked_row_keeps_the_hash_that_came_first() {
    let (views, _database) = migrated().await;
    let first = product("a", 0, &json!({"category": "first"}));
    let second = product("a", 0, &json!({"category": "second"}));
    views.apply(&Goods::new(), &[&first]).await.unwrap();
    let outcome = views.apply(&Goods::new(), &[&second]).await;
    assert_eq!(outcome, Ok(Applied { forks: vec![first.key.clone()], ..Applied::default() }));
    let page = views.list(&Goods::new(), &all_of("acme")).await.unwrap();
    assert_eq!(page.entities.iter().map(|entity| &entity.hash).collect::<Vec<&Hash>>(), [&first.hash]);
}
