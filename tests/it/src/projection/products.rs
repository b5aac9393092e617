//! Histories of products, and the events that tell of them.

use ledgerline_app::Registry;
use ledgerline_kernel::{Action, EntityKey, VersionItem};
use ledgerline_testkit::next_version;
use serde_json::{Value, json};

const CATEGORIES: [Option<&str>; 4] = [None, Some("Ideal"), Some("Premium"), Some("鍵")];
const PRICES: [Option<&str>; 5] = [None, Some("1.10"), Some("1.1"), Some("12.50"), Some("99999999999999999999.01")];

/// The chained versions of a product: made, then repriced, moved, deleted and restored as the seed has
/// it.
pub(crate) fn history(tenant: &str, sk: &str, count: u64, seed: u64) -> Vec<VersionItem> {
    let mut random = fastrand::Rng::with_seed(seed);
    let key: EntityKey = format!("PRODUCT#{tenant}#{sk}").parse().unwrap();
    let registry = Registry::shipped().unwrap();
    let domain = registry.by_resource("products").unwrap();
    let mut items: Vec<VersionItem> = Vec::new();
    while (items.len() as u64) < count {
        let is_deleted = items.last().is_some_and(|item| item.is_deleted);
        let (category, price) = (CATEGORIES[random.usize(..4)], PRICES[random.usize(..5)]);
        let (action, body) = match random.u32(..8) {
            _ if items.is_empty() => {
                let mut attributes = json!({"category": category, "price": price});
                attributes.as_object_mut().unwrap().retain(|_, value| !value.is_null());
                (Action::Create, json!({"code": format!("C-{sk}"), "name": "指輪", "attributes": attributes}))
            }
            _ if is_deleted => (Action::Restore, Value::Null),
            0 => (Action::Delete, Value::Null),
            1 | 2 => (Action::Update, json!({"attributes": {"category": category, "price": price}})),
            _ => (
                Action::Named("change-price"),
                json!({"price": format!("{}.{}", random.u32(..1000), random.u32(..100))}),
            ),
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let at = "2026-11-20T08:00:00Z".parse().unwrap();
        // None where there was nothing to do.
        items.extend(next_version(domain.as_ref(), &key, items.last(), (action, &body), at));
    }
    items
}

/// As many histories of the same length.
pub(crate) fn histories(tenant: &str, products: usize, versions: u64, seed: u64) -> Vec<Vec<VersionItem>> {
    (0..products).map(|number| history(tenant, &format!("p{number:04}"), versions, seed + number as u64)).collect()
}

/// A record of a stream.
pub(crate) fn record(number: usize, item: &VersionItem) -> Value {
    let image: serde_dynamo::Item = serde_dynamo::to_item(item).unwrap();
    json!({
        "eventID": number.to_string(), "eventName": "INSERT", "eventSource": "aws:dynamodb",
        "dynamodb": {"NewImage": image, "SequenceNumber": number.to_string(), "StreamViewType": "NEW_IMAGE"},
    })
}

/// The event that Lambda would be invoked with.
pub(crate) fn event(items: &[&VersionItem]) -> String {
    let records: Vec<Value> = items.iter().enumerate().map(|(number, item)| record(100 + number, item)).collect();
    json!({ "Records": records }).to_string()
}
