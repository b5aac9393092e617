use ledgerline_kernel::{Action, DecisionContext, Domain, SortKey};
use ledgerline_testkit::state_after;

use super::super::{Attributes, Command, Details, Event, Product, ProductError};
use super::{created, price_changed, ring, value};

fn merge(product: &[Event], target: &[Event]) -> Result<Vec<Vec<Event>>, ProductError> {
    let context = DecisionContext {
        now: "2026-11-20T08:00:00Z".parse().unwrap(),
        tenant: "acme".parse().unwrap(),
        user: "ann".to_owned(),
    };
    let states = [state_after::<Product>(product), state_after::<Product>(target)];
    let states: Vec<Option<&Product>> = states.iter().map(Option::as_ref).collect();
    Product::decide_together(&states, &Command::MergeInto(target_key()), &context)
}

fn target_key() -> SortKey {
    "ring-8".parse().unwrap()
}

fn merged() -> Vec<Event> {
    vec![Event::ProductMerged { into: target_key() }]
}

fn bare(price: Option<&str>) -> Event {
    let attributes = Attributes { price: price.map(value), ..Attributes::default() };
    Event::ProductCreated(Details { code: value("R-8"), name: value("Band"), attributes })
}

#[test]
fn a_merged_product_goes_and_the_target_gets_what_it_lacks() {
    let [own, theirs] = merge(&[created()], &[bare(Some("99"))]).unwrap().try_into().unwrap();
    assert_eq!(own, merged());
    let ring = ring().attributes;
    let enriched = Event::DetailsChanged {
        code: value("R-8"),
        name: value("Band"),
        category: ring.category,
        description: ring.description,
        specification: ring.specification,
    };
    assert_eq!(theirs, [enriched], "its own price stays");
    let after = state_after::<Product>([&created(), &own[0]]).unwrap();
    assert!(after.is_deleted);
}

#[test]
fn a_target_without_a_price_gets_that_of_the_merged_product() {
    let [_, theirs] = merge(&[created()], &[bare(None)]).unwrap().try_into().unwrap();
    assert_eq!(theirs.last(), Some(&Event::PriceChanged { from: None, to: Some(value("12.50")) }));
}

#[test]
fn a_target_that_lacks_nothing_stays_as_it_is() {
    let history = [created(), price_changed("12.50", "13")];
    assert_eq!(merge(&[created()], &history), Ok(vec![merged(), vec![]]));
}

#[test]
fn neither_a_deleted_product_nor_one_into_a_deleted_product_is_merged() {
    let deleted = [created(), Event::ProductDeleted];
    assert_eq!(merge(&deleted, &[created()]), Err(ProductError::Deleted));
    assert_eq!(merge(&[created()], &deleted), Err(ProductError::TargetDeleted));
}

#[test]
fn a_product_that_does_not_exist_takes_no_part_in_a_merge() {
    assert_eq!(merge(&[], &[created()]), Err(ProductError::Missing));
    assert_eq!(merge(&[created()], &[]), Err(ProductError::Missing));
}

#[test]
fn a_merge_names_its_target_and_involves_it() {
    let domain = ledgerline_kernel::erase::<Product>().unwrap();
    let prepared = domain.prepare(Action::Named("merge-into"), r#"{"target": "ring-8", "version": 1}"#).unwrap();
    assert_eq!(prepared.command.involves(), [("target", target_key())]);
    assert!(domain.prepare(Action::Named("merge-into"), "{}").is_err());
    let alone = domain.prepare(Action::Delete, "").unwrap();
    assert_eq!(alone.command.involves(), []);
}

#[test]
fn a_product_has_its_code_to_itself() {
    assert_eq!(state_after::<Product>(&[created()]).unwrap().unique(), [("code", "R-7")]);
}
