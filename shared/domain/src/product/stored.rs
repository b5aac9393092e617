//! Events as the ledger keeps them: shapes of their own, so that the domain's types can change
//! while what was written stays readable for good.
//!
//! A shape that has been released is never edited. A changed event gets a new shape with the next
//! `v`; `from_stored` keeps reading the old ones. Each shape has a golden file under
//! `events/stored/product/`.

use ledgerline_kernel::{SortKey, StoredEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Attributes, Category, Description, Details, Event, Price, ProductCode, ProductName, Specification};

#[derive(Serialize, Deserialize)]
struct ProductCreatedV1 {
    code: ProductCode,
    name: ProductName,
    attributes: Attributes,
}

#[derive(Serialize, Deserialize)]
struct DetailsChangedV1 {
    code: ProductCode,
    name: ProductName,
    category: Option<Category>,
    description: Option<Description>,
    specification: Option<Specification>,
}

#[derive(Serialize, Deserialize)]
struct PriceChangedV1 {
    from: Option<Price>,
    to: Option<Price>,
}

#[derive(Serialize, Deserialize)]
struct ProductMergedV1 {
    into: SortKey,
}

pub(super) fn to_stored(event: &Event) -> StoredEvent {
    let (name, v, data) = match event.clone() {
        Event::ProductCreated(Details { code, name, attributes }) => {
            ("ProductCreated", 1, json(&ProductCreatedV1 { code, name, attributes }))
        }
        Event::DetailsChanged { code, name, category, description, specification } => {
            ("DetailsChanged", 1, json(&DetailsChangedV1 { code, name, category, description, specification }))
        }
        Event::PriceChanged { from, to } => ("PriceChanged", 1, json(&PriceChangedV1 { from, to })),
        Event::ProductDeleted => ("ProductDeleted", 1, json!({})),
        Event::ProductRestored => ("ProductRestored", 1, json!({})),
        Event::ProductMerged { into } => ("ProductMerged", 1, json(&ProductMergedV1 { into })),
    };
    StoredEvent { name: name.to_owned(), v, data }
}

pub(super) fn from_stored(stored: &StoredEvent) -> Option<Event> {
    let data = &stored.data;
    Some(match (stored.name.as_str(), stored.v) {
        ("ProductCreated", 1) => {
            let ProductCreatedV1 { code, name, attributes } = read(data)?;
            Event::ProductCreated(Details { code, name, attributes })
        }
        ("DetailsChanged", 1) => {
            let DetailsChangedV1 { code, name, category, description, specification } = read(data)?;
            Event::DetailsChanged { code, name, category, description, specification }
        }
        ("PriceChanged", 1) => {
            let PriceChangedV1 { from, to } = read(data)?;
            Event::PriceChanged { from, to }
        }
        ("ProductDeleted", 1) => Event::ProductDeleted,
        ("ProductRestored", 1) => Event::ProductRestored,
        ("ProductMerged", 1) => {
            let ProductMergedV1 { into } = read(data)?;
            Event::ProductMerged { into }
        }
        _ => return None,
    })
}

/// Plain structs of texts: there is nothing in them that JSON could refuse.
fn json(data: &impl Serialize) -> Value {
    serde_json::to_value(data).unwrap_or_default()
}

fn read<'a, T: Deserialize<'a>>(data: &'a Value) -> Option<T> {
    T::deserialize(data).ok()
}
