use ledgerline_kernel::input::Patch;

use super::command::{AttributesPatch, SpecificationPatch};
use super::{Attributes, Command, Details, Event, Product, ProductError, Specification};

pub(super) fn decide(state: Option<&Product>, command: &Command) -> Result<Vec<Event>, ProductError> {
    let product = match (state, command) {
        (None, Command::Create(details)) => return Ok(vec![Event::ProductCreated(details.clone())]),
        (None, _) => return Err(ProductError::Missing),
        (Some(_), Command::Create(_)) => return Err(ProductError::Exists),
        (Some(product), Command::Delete) => return Ok(only_if(!product.is_deleted, Event::ProductDeleted)),
        (Some(product), Command::Restore) => return Ok(only_if(product.is_deleted, Event::ProductRestored)),
        (Some(product), _) if product.is_deleted => return Err(ProductError::Deleted),
        (Some(product), _) => product,
    };
    Ok(match command {
        Command::Replace(details) => changes(product, details),
        Command::Update { code, name, attributes } => {
            let details = Details {
                code: code.as_ref().unwrap_or(&product.code).clone(),
                name: name.as_ref().unwrap_or(&product.name).clone(),
                attributes: patched(&product.attributes, attributes),
            };
            changes(product, &details)
        }
        Command::ChangePrice(price) => {
            let attributes = Attributes { price: Some(price.clone()), ..product.attributes.clone() };
            changes(product, &Details { code: product.code.clone(), name: product.name.clone(), attributes })
        }
        Command::MergeInto(target) => vec![Event::ProductMerged { into: target.clone() }],
        Command::Create(_) | Command::Delete | Command::Restore => Vec::new(), // decided above
    })
}

/// A merge is decided on both: the one goes, and the other gets what it lacks.
pub(super) fn merge(
    product: Option<&Product>,
    target: Option<&Product>,
    command: &Command,
) -> Result<[Vec<Event>; 2], ProductError> {
    let merged = decide(product, command)?;
    let (Some(product), Some(target)) = (product, target) else { return Err(ProductError::Missing) };
    if target.is_deleted {
        return Err(ProductError::TargetDeleted);
    }
    let (own, theirs) = (target.attributes.clone(), product.attributes.clone());
    let attributes = Attributes {
        category: own.category.or(theirs.category),
        price: own.price.or(theirs.price),
        description: own.description.or(theirs.description),
        specification: own.specification.or(theirs.specification),
    };
    let wanted = Details { code: target.code.clone(), name: target.name.clone(), attributes };
    Ok([merged, changes(target, &wanted)])
}

fn only_if(happens: bool, event: Event) -> Vec<Event> {
    if happens { vec![event] } else { Vec::new() }
}

/// The facts that lead from `product` to `wanted`; none if it is like that already.
fn changes(product: &Product, wanted: &Details) -> Vec<Event> {
    let (before, after) = (&product.attributes, &wanted.attributes);
    let details_differ = (&product.code, &product.name) != (&wanted.code, &wanted.name)
        || Attributes { price: None, ..before.clone() } != Attributes { price: None, ..after.clone() };
    let mut events = Vec::new();
    if details_differ {
        events.push(Event::DetailsChanged {
            code: wanted.code.clone(),
            name: wanted.name.clone(),
            category: after.category.clone(),
            description: after.description.clone(),
            specification: after.specification.clone(),
        });
    }
    // Compared by value: 12.5 instead of 12.50 is no change.
    if before.price != after.price {
        events.push(Event::PriceChanged { from: before.price.clone(), to: after.price.clone() });
    }
    events
}

fn patched(current: &Attributes, patch: &AttributesPatch) -> Attributes {
    Attributes {
        category: patch.category.applied_to(current.category.as_ref()),
        price: patch.price.applied_to(current.price.as_ref()),
        description: patch.description.applied_to(current.description.as_ref()),
        specification: match &patch.specification {
            Patch::Keep => current.specification.clone(),
            Patch::Remove => None,
            Patch::Set(patch) => Some(patched_specification(current.specification.as_ref(), patch)),
        },
    }
}

fn patched_specification(current: Option<&Specification>, patch: &SpecificationPatch) -> Specification {
    Specification {
        weight: patch.weight.applied_to(current.and_then(|now| now.weight.as_ref())),
        dimensions: patch.dimensions.applied_to(current.and_then(|now| now.dimensions.as_ref())),
    }
}
