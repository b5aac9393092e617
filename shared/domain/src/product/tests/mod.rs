mod category_totals;
mod decisions;
mod input;
mod merge;
mod stored;

use ledgerline_kernel::input::FromJson;

use super::{Attributes, Details, Event, Measure, Specification};

/// A value as a request would give it.
fn value<T: FromJson>(text: &str) -> T {
    T::from_json(&serde_json::Value::from(text).to_string()).unwrap()
}

fn ring() -> Details {
    Details {
        code: value("R-7"),
        name: value("Ring"),
        attributes: Attributes {
            category: Some(value("Ideal")),
            price: Some(value("12.50")),
            description: Some(value("Colour E")),
            specification: Some(Specification { weight: Some(value("0.71 ct")), dimensions: None }),
        },
    }
}

fn created() -> Event {
    Event::ProductCreated(ring())
}

fn price_changed(from: &str, to: &str) -> Event {
    Event::PriceChanged { from: Some(value(from)), to: Some(value(to)) }
}

/// `DetailsChanged` to what `ring` holds, with `change` made to it.
fn details_changed(change: impl FnOnce(&mut Details)) -> Event {
    let mut details = ring();
    change(&mut details);
    Event::DetailsChanged {
        code: details.code,
        name: details.name,
        category: details.attributes.category,
        description: details.attributes.description,
        specification: details.attributes.specification,
    }
}

fn weight(text: &str) -> Option<Measure> {
    Some(value(text))
}
