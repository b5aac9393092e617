use ledgerline_kernel::input::Patch;
use ledgerline_testkit::{given, laws};
use proptest::prelude::*;

use super::super::{AttributesPatch, Command, Event, Product, ProductError, Specification, SpecificationPatch};
use super::{created, details_changed, price_changed, ring, value, weight};

fn patch(attributes: AttributesPatch) -> Command {
    Command::Update { code: None, name: None, attributes }
}

#[test]
fn a_product_is_created_with_all_that_was_given() {
    given::<Product>([]).when(Command::Create(ring())).then([created()]);
}

#[test]
fn a_product_is_not_created_twice() {
    given::<Product>([created()]).when(Command::Create(ring())).then_refused(ProductError::Exists);
}

#[test]
fn a_deleted_product_is_not_created_again_either() {
    let history = [created(), Event::ProductDeleted];
    given::<Product>(history).when(Command::Create(ring())).then_refused(ProductError::Exists);
}

#[test]
fn nothing_can_be_done_with_a_product_that_does_not_exist() {
    let patch = patch(AttributesPatch::default());
    let commands =
        [Command::Replace(ring()), patch, Command::ChangePrice(value("1")), Command::Delete, Command::Restore];
    for command in commands {
        given::<Product>([]).when(command).then_refused(ProductError::Missing);
    }
}

#[test]
fn a_replacement_removes_what_it_leaves_out() {
    let mut plain = ring();
    plain.attributes = super::Attributes { price: plain.attributes.price, ..Default::default() };
    given::<Product>([created()]).when(Command::Replace(plain)).then([details_changed(|details| {
        details.attributes = super::Attributes::default();
    })]);
}

#[test]
fn a_replacement_that_changes_details_and_price_is_two_facts() {
    let mut other = ring();
    other.name = value("Band");
    other.attributes.price = Some(value("13"));
    let renamed = details_changed(|details| details.name = value("Band"));
    given::<Product>([created()]).when(Command::Replace(other)).then([renamed, price_changed("12.50", "13")]);
}

#[test]
fn a_replacement_with_what_is_there_changes_nothing() {
    given::<Product>([created()]).when(Command::Replace(ring())).then_nothing();
}

#[test]
fn a_patch_changes_what_it_names_and_keeps_the_rest() {
    let command = Command::Update { code: Some(value("R-8")), name: None, attributes: AttributesPatch::default() };
    given::<Product>([created()]).when(command).then([details_changed(|details| details.code = value("R-8"))]);
}

#[test]
fn a_patch_reaches_into_the_specification() {
    let dimensions = SpecificationPatch { weight: Patch::Keep, dimensions: Patch::Set(value("5 x 5 mm")) };
    let command = patch(AttributesPatch { specification: Patch::Set(dimensions), ..Default::default() });
    given::<Product>([created()]).when(command).then([details_changed(|details| {
        details.attributes.specification =
            Some(Specification { weight: weight("0.71 ct"), dimensions: Some(value("5 x 5 mm")) });
    })]);
}

#[test]
fn a_patch_removes_what_it_nulls() {
    let command = patch(AttributesPatch {
        category: Patch::Remove,
        price: Patch::Remove,
        specification: Patch::Remove,
        ..Default::default()
    });
    let emptied = details_changed(|details| {
        details.attributes.category = None;
        details.attributes.specification = None;
    });
    let unpriced = Event::PriceChanged { from: Some(value("12.50")), to: None };
    given::<Product>([created()]).when(command).then([emptied, unpriced]);
}

#[test]
fn an_empty_patch_changes_nothing() {
    given::<Product>([created()]).when(patch(AttributesPatch::default())).then_nothing();
}

#[test]
fn a_price_is_changed() {
    given::<Product>([created()]).when(Command::ChangePrice(value("13"))).then([price_changed("12.50", "13")]);
}

#[test]
fn the_same_price_in_another_spelling_is_no_change() {
    given::<Product>([created()]).when(Command::ChangePrice(value("12.5"))).then_nothing();
}

#[test]
fn a_first_price_comes_from_none() {
    let mut unpriced = ring();
    unpriced.attributes.price = None;
    let set = Event::PriceChanged { from: None, to: Some(value("0")) };
    given::<Product>([Event::ProductCreated(unpriced)]).when(Command::ChangePrice(value("0"))).then([set]);
}

#[test]
fn a_product_is_deleted_once() {
    given::<Product>([created()]).when(Command::Delete).then([Event::ProductDeleted]);
    given::<Product>([created(), Event::ProductDeleted]).when(Command::Delete).then_nothing();
}

#[test]
fn a_deleted_product_refuses_every_change() {
    let renamed = Command::Update { code: None, name: Some(value("Band")), attributes: AttributesPatch::default() };
    for command in [Command::Replace(ring()), renamed, Command::ChangePrice(value("1"))] {
        given::<Product>([created(), Event::ProductDeleted]).when(command).then_refused(ProductError::Deleted);
    }
}

#[test]
fn a_deleted_product_is_restored_with_all_it_had() {
    let history = [created(), price_changed("12.50", "13"), Event::ProductDeleted];
    given::<Product>(history.clone()).when(Command::Restore).then([Event::ProductRestored]);
    let restored = ledgerline_testkit::state_after::<Product>(history.iter().chain([&Event::ProductRestored])).unwrap();
    assert!(!restored.is_deleted);
    assert_eq!(restored.attributes.price, Some(value("13")));
}

#[test]
fn a_living_product_is_not_restored() {
    given::<Product>([created()]).when(Command::Restore).then_nothing();
}

fn any_command() -> impl Strategy<Value = Command> {
    let price = prop::sample::select(vec!["0", "12.50", "12.5", "99999999999999999999999999999999999999"]);
    let name = prop::sample::select(vec!["Ring", "Band", "Änderung 指輪"]);
    prop_oneof![
        Just(Command::Create(ring())),
        name.clone().prop_map(|name| Command::Replace(super::Details { name: value(name), ..ring() })),
        name.prop_map(|name| Command::Update {
            code: None,
            name: Some(value(name)),
            attributes: AttributesPatch::default()
        }),
        price.prop_map(|price| Command::ChangePrice(value(price))),
        Just(patch(AttributesPatch { specification: Patch::Remove, price: Patch::Remove, ..Default::default() })),
        Just(Command::Delete),
        Just(Command::Restore),
    ]
}

proptest! {
    #[test]
    fn the_laws_hold_whatever_commands_came(commands in prop::collection::vec(any_command(), 0..30)) {
        let context = ledgerline_kernel::DecisionContext {
            now: "2026-11-20T08:00:00Z".parse().unwrap(),
            tenant: "acme".parse().unwrap(),
            user: "ann".to_owned(),
        };
        let mut history = vec![created()];
        for command in commands {
            let state = ledgerline_testkit::state_after::<Product>(&history);
            let decided = <Product as ledgerline_kernel::Aggregate>::decide(state.as_ref(), &command, &context);
            history.extend(decided.unwrap_or_default());
        }
        laws::hold_for::<Product>(&history);
    }
}
