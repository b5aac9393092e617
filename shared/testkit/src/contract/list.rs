//! The contract of lists: [`EntityList`], over what a [`StateSink`] of the same store was given.
//!
//! The rows are notes ([`crate::note`]): columns `body text` and `stars numeric`.
#![expect(clippy::unwrap_used, reason = "a store that fails fails the test")]

use ledgerline_kernel::ports::{Comparison, EntityList, Filter, ListPage, ListQuery, Sort, StateSink};
use ledgerline_kernel::search::words;
use ledgerline_kernel::{EntityKey, SortKey, VersionItem};
use serde_json::json;

use super::entities::{apply, notes};
use super::ledger::of_tenant;
use crate::{note_key, version_items};

/// With nothing to sort by, the order is that of ids, by code points.
pub async fn without_a_sort_entities_come_by_id(store: &(impl StateSink + EntityList)) {
    fill(store).await;
    let page = list(store, &query(&[], &[])).await;
    assert_eq!(sks(&page), ["A", "B", "a", "b", "c", "é"]);
    assert_eq!((page.next, page.total), (None, None));
}

/// Page after page gives the same entities as one large page, whatever the page's size and order.
pub async fn pages_follow_each_other_without_gap_or_repeat(store: &(impl StateSink + EntityList)) {
    fill(store).await;
    let orders: [&[(&str, bool)]; 6] = [
        &[],
        &[("stars", false)],
        &[("stars", true)],
        &[("stars", true), ("name", false)],
        &[("name", true)],
        &[("updatedAt", true)],
    ];
    for (order, include_deleted) in orders.into_iter().flat_map(|order| [(order, false), (order, true)]) {
        let query = ListQuery { include_deleted, ..query(order, &[]) };
        let whole = list(store, &query).await;
        assert_eq!(whole.entities.len(), if include_deleted { 7 } else { 6 });
        for limit in 1..=3 {
            let mut pages = ListPage::default();
            let mut after = None;
            loop {
                let page = list(store, &ListQuery { limit, after, ..query.clone() }).await;
                assert!(page.entities.len() <= limit, "a page holds at most {limit}");
                pages.entities.extend(page.entities);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(sks(&pages), sks(&whole), "{order:?}, pages of {limit}");
        }
    }
}

/// An entity without the field comes after all that have it, ascending and descending.
pub async fn entities_without_the_sorted_field_come_last_either_way(store: &(impl StateSink + EntityList)) {
    fill(store).await;
    assert_eq!(sks(&list(store, &query(&[("stars", false)], &[])).await), ["c", "a", "b", "A", "B", "é"]);
    assert_eq!(sks(&list(store, &query(&[("stars", true)], &[])).await), ["A", "b", "a", "c", "é", "B"]);
}

/// 10 is more than 9.5, and 9.50 equals 9.5.
pub async fn numbers_are_sorted_and_compared_as_numbers(store: &(impl StateSink + EntityList)) {
    fill(store).await;
    let cases: [(Comparison, &str, &[&str]); 6] = [
        (Comparison::Equal, "9.5", &["a", "b"]),
        (Comparison::Greater, "9.5", &["A"]),
        (Comparison::GreaterOrEqual, "9.500", &["A", "a", "b"]),
        (Comparison::Less, "9.5", &["c"]),
        (Comparison::LessOrEqual, "-0.25", &["c"]),
        (Comparison::Greater, "10", &[]),
    ];
    for (comparison, value, expected) in cases {
        let page = list(store, &query(&[], &[("stars", comparison, value)])).await;
        assert_eq!(sks(&page), expected, "stars {comparison:?} {value}");
    }
}

/// Several filters narrow each other down; texts are compared by code points.
pub async fn filters_must_all_hold(store: &(impl StateSink + EntityList)) {
    fill(store).await;
    let page = list(store, &query(&[], &[("name", Comparison::Equal, "Same")])).await;
    assert_eq!(sks(&page), ["a", "b", "é"]);
    let both = [("name", Comparison::Equal, "Same"), ("stars", Comparison::Greater, "0")];
    assert_eq!(sks(&list(store, &query(&[], &both)).await), ["a", "b"]);
    let page = list(store, &query(&[], &[("body", Comparison::Less, "b")])).await;
    assert_eq!(sks(&page), ["A", "B", "a"]);
    let quote = [("body", Comparison::Equal, "' OR 1=1 --")];
    assert_eq!(sks(&list(store, &query(&[], &quote)).await), [""; 0]);
}

/// A deleted entity is left out unless asked for.
pub async fn deleted_entities_are_listed_only_on_request(store: &(impl StateSink + EntityList)) {
    fill(store).await;
    let page = list(store, &ListQuery { include_deleted: true, with_total: true, ..query(&[], &[]) }).await;
    assert_eq!(sks(&page), ["A", "B", "a", "b", "c", "gone", "é"]);
    assert_eq!(page.total, Some(7));
}

/// A tenant sees its own entities only, and nothing where it has none.
pub async fn another_tenant_or_type_is_never_listed(store: &(impl StateSink + EntityList)) {
    fill(store).await;
    let theirs = list(store, &ListQuery { tenant: "other".parse().unwrap(), ..query(&[], &[]) }).await;
    assert_eq!(sks(&theirs), ["theirs"]);
    let nobodys = list(store, &ListQuery { tenant: "nobody".parse().unwrap(), ..query(&[], &[]) }).await;
    assert_eq!(sks(&nobodys), [""; 0]);
}

/// The total counts what matches on all pages, only when asked for.
pub async fn the_total_counts_all_that_match(store: &(impl StateSink + EntityList)) {
    fill(store).await;
    let first = ListQuery { with_total: true, limit: 2, ..query(&[], &[("name", Comparison::Equal, "Same")]) };
    let page = list(store, &first).await;
    assert_eq!((sks(&page), page.total), (vec!["a", "b"], Some(3)));
    let page = list(store, &ListQuery { after: page.next, ..first }).await;
    assert_eq!((sks(&page), page.total), (vec!["é"], Some(3)));
}

/// Every word must begin a word of the code, the name or the body, whatever its case; together with
/// filters, an order, pages and a total.
pub async fn words_find_what_has_all_of_them(store: &(impl StateSink + EntityList)) {
    for (sk, name, body) in [
        ("1", "Éclat de Lune", "a ring, size 7"),
        ("2", "Solitaire", "Ring-shaped, ÉCLATANT"),
        ("3", "spring", "e\u{301}clat: 0.7ct"),
        ("4", "戒指 银色", "“quoted” & <b>bold</b>"),
    ] {
        apply(store, &[&note(&note_key(sk), name, body, Some("1"))]).await;
    }
    apply(store, &[&note(&of_tenant("other", "1"), "ring", "éclat", None)]).await;
    let cases: [(&str, &[&str]); 14] = [
        ("ring", &["1", "2"]),
        ("RIN", &["1", "2"]),
        ("ring 7", &["1"]),
        ("éclat", &["1", "2", "3"]),
        ("ÉCLAT", &["1", "2", "3"]),
        ("e\u{301}clat", &["1", "2", "3"]),
        ("eclat", &[]),
        ("pring", &[]),
        ("solit shap", &["2"]),
        ("银", &["4"]),
        ("quot' | b:* & !<->", &["4"]),
        ("7ct", &["3"]),
        ("C-3", &["3"]),
        ("ring nothing", &[]),
    ];
    for (text, expected) in cases {
        let page = list(store, &ListQuery { with_total: true, ..search(text) }).await;
        assert_eq!((sks(&page).as_slice(), page.total), (expected, Some(expected.len() as u64)), "{text}");
        let mut paged = Vec::new();
        let mut next = ListQuery { limit: 1, sort: sorted(&[("name", true)]), ..search(text) };
        loop {
            let page = list(store, &next).await;
            paged.extend(sks(&page).into_iter().map(str::to_owned));
            next.after = page.next;
            if next.after.is_none() {
                break;
            }
        }
        paged.sort();
        assert_eq!(paged, expected, "{text}, page by page");
    }
    let filters = query(&[], &[("name", Comparison::Equal, "Solitaire")]).filters;
    assert_eq!(sks(&list(store, &ListQuery { filters, ..search("ring") }).await), ["2"]);
}

/// The versions of what lists show, deleted or not; nothing of others.
pub async fn versions_are_those_that_lists_show(store: &(impl StateSink + EntityList)) {
    fill(store).await;
    for item in version_items(&note_key("v"), 3) {
        apply(store, &[&item]).await;
    }
    let asked: Vec<SortKey> = ["a", "v", "gone", "theirs", "none"].iter().map(|sk| sk.parse().unwrap()).collect();
    let versions = async |tenant: &str, sks: &[SortKey]| {
        let mut versions = store.versions(notes().as_ref(), &tenant.parse().unwrap(), sks).await.unwrap();
        versions.sort();
        versions.into_iter().map(|(sk, version)| (sk.to_string(), version.number())).collect::<Vec<_>>()
    };
    let expected = [("a", 1), ("gone", 1), ("v", 3)].map(|(sk, version)| (sk.to_owned(), version));
    assert_eq!(versions("acme", &asked).await, expected);
    assert_eq!(versions("other", &asked).await, [("theirs".to_owned(), 1)]);
    assert_eq!(versions("acme", &[]).await, []);
}

/// Six notes of `acme`, a deleted one, and one of another tenant.
async fn fill(store: &impl StateSink) {
    let items = [
        note(&note_key("b"), "Same", "b", Some("9.50")),
        note(&note_key("a"), "Same", "a", Some("9.5")),
        note(&note_key("B"), "Other", "B", None),
        note(&note_key("A"), "Another", "A", Some("10")),
        note(&note_key("c"), "Less", "c", Some("-0.25")),
        note(&note_key("é"), "Same", "é", None),
        VersionItem { is_deleted: true, ..note(&note_key("gone"), "Gone", "gone", Some("9.5")) },
        note(&of_tenant("other", "theirs"), "Same", "b", Some("9.5")),
    ];
    for item in &items {
        apply(store, &[item]).await;
    }
}

fn note(key: &EntityKey, name: &str, body: &str, stars: Option<&str>) -> VersionItem {
    let [item] = version_items(key, 1).try_into().unwrap();
    let attributes = match stars {
        Some(stars) => json!({"body": body, "stars": stars}),
        None => json!({"body": body}),
    };
    let state = json!({"code": item.code, "name": name, "isDeleted": false, "attributes": attributes});
    let item = VersionItem { name: name.to_owned(), state, ..item };
    VersionItem { hash: item.computed_hash().unwrap(), ..item }
}

fn query(order: &[(&str, bool)], filters: &[(&str, Comparison, &str)]) -> ListQuery {
    let filters = filters.iter().map(|(field, comparison, value)| Filter {
        field: (*field).to_owned(),
        comparison: *comparison,
        value: (*value).to_owned(),
    });
    ListQuery {
        tenant: "acme".parse().unwrap(),
        filters: filters.collect(),
        words: Vec::new(),
        sort: sorted(order),
        after: None,
        limit: 100,
        include_deleted: false,
        with_total: false,
    }
}

fn sorted(order: &[(&str, bool)]) -> Vec<Sort> {
    order.iter().map(|(field, descending)| Sort { field: (*field).to_owned(), descending: *descending }).collect()
}

fn search(text: &str) -> ListQuery {
    ListQuery { words: words(text).into_iter().collect(), ..query(&[], &[]) }
}

async fn list(store: &impl EntityList, query: &ListQuery) -> ListPage {
    store.list(notes().as_ref(), query).await.unwrap()
}

fn sks(page: &ListPage) -> Vec<&str> {
    page.entities.iter().map(|entity| entity.key.sk.as_str()).collect()
}
