use super::{Attributes, Event, Product};

pub(super) fn evolve(state: Option<Product>, event: &Event) -> Option<Product> {
    if let Event::ProductCreated(details) = event {
        return Some(Product {
            code: details.code.clone(),
            name: details.name.clone(),
            is_deleted: false,
            attributes: details.attributes.clone(),
        });
    }
    let mut product = state?;
    match event {
        Event::ProductCreated(_) => {}
        Event::DetailsChanged { code, name, category, description, specification } => {
            product.code = code.clone();
            product.name = name.clone();
            product.attributes = Attributes {
                category: category.clone(),
                description: description.clone(),
                specification: specification.clone(),
                price: product.attributes.price,
            };
        }
        Event::PriceChanged { to, .. } => product.attributes.price.clone_from(to),
        Event::ProductDeleted | Event::ProductMerged { .. } => product.is_deleted = true,
        Event::ProductRestored => product.is_deleted = false,
    }
    Some(product)
}
