//! What a product's versions add to the totals of its category.

use std::collections::BTreeMap;

use ledgerline_kernel::{Aggregate, DeltaProjection};

use super::{Event, created, details_changed, price_changed, ring, value};
use crate::product::Product;
use crate::product::category_totals::CategoryTotals;

/// The rows after these versions, one event each, by table and key.
fn rows(events: &[Event]) -> BTreeMap<(usize, Vec<String>), Vec<String>> {
    let (mut memory, mut product) = (None, None);
    for event in events {
        product = Product::evolve(product, event);
        CategoryTotals::remember(&mut memory, std::slice::from_ref(event), product.as_ref().unwrap());
    }
    let changes = CategoryTotals::adds(&memory).into_iter();
    changes.map(|change| ((change.table, change.key), change.add.iter().map(ToString::to_string).collect())).collect()
}

fn expected(rows: &[(usize, &[&str], &[&str])]) -> BTreeMap<(usize, Vec<String>), Vec<String>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    rows.iter().map(|(table, key, sums)| ((*table, texts(key)), texts(sums))).collect()
}

fn priced(category: &str, price: &str) -> BTreeMap<(usize, Vec<String>), Vec<String>> {
    expected(&[(0, &[category], &["1", "1", price]), (1, &[category, price], &["1"])])
}

#[test]
fn a_product_counts_in_its_category_with_its_price() {
    assert_eq!(rows(&[created()]), priced("Ideal", "12.50"));
}

#[test]
fn a_price_change_moves_it_from_one_price_to_the_other() {
    assert_eq!(rows(&[created(), price_changed("12.50", "7.00")]), priced("Ideal", "7.00"));
}

#[test]
fn the_same_price_spelt_otherwise_is_the_same_contribution() {
    let after = |events: &[Event]| {
        let product = events.iter().fold(None, Product::evolve);
        let mut memory = None;
        CategoryTotals::remember(&mut memory, &[], product.as_ref().unwrap());
        memory
    };
    assert_eq!(after(&[created()]), after(&[created(), price_changed("12.50", "12.5")]));
    assert_ne!(after(&[created()]), after(&[created(), price_changed("12.50", "12.51")]));
}

#[test]
fn another_category_takes_it_along() {
    let moved = details_changed(|details| details.attributes.category = Some(value("Premium")));
    assert_eq!(rows(&[created(), moved]), priced("Premium", "12.50"));
    let homeless = details_changed(|details| details.attributes.category = None);
    assert_eq!(rows(&[created(), homeless]), priced("", "12.50"));
}

#[test]
fn a_product_without_a_price_counts_and_adds_nothing() {
    let mut details = ring();
    details.attributes.price = None;
    assert_eq!(rows(&[Event::ProductCreated(details)]), expected(&[(0, &["Ideal"], &["1", "0", "0"])]));
}

#[test]
fn a_deleted_or_merged_product_counts_no_more_and_a_restored_one_as_it_was() {
    let merged = Event::ProductMerged { into: "other".parse().unwrap() };
    for gone in [Event::ProductDeleted, merged] {
        assert_eq!(rows(&[created(), gone.clone()]), BTreeMap::new());
        assert_eq!(rows(&[created(), gone, Event::ProductRestored]), priced("Ideal", "12.50"));
    }
}
