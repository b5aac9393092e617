//! The contract of lists in the order of keys: [`EntityRead::range`], over what a [`StateSink`] of the
//! same store was given.
#![expect(clippy::unwrap_used, reason = "a store that fails fails the test")]

use ledgerline_kernel::VersionItem;
use ledgerline_kernel::ports::{EntityRead, KeyPage, KeyQuery, KeyRange, StateSink};

use super::entities::apply;
use super::ledger::of_tenant;
use crate::{note_key, version_items};

/// By code points of the stored form: `@` is stored as `%40`, and so comes before letters and digits.
pub async fn keys_come_in_the_order_of_their_stored_form(store: &(impl StateSink + EntityRead)) {
    fill(store).await;
    assert_eq!(sks(&range(store, &all()).await), ["@x", "A", "a", "a@1", "a-1", "a-2", "b", "é"]);
}

/// A range begins with a key or a prefix, and ends before a key.
pub async fn a_range_is_a_prefix_or_from_one_key_to_before_another(store: &(impl StateSink + EntityRead)) {
    fill(store).await;
    let key = |sk: &str| Some(sk.parse().unwrap());
    let cases: [(KeyRange, &[&str]); 11] = [
        (KeyRange::Prefix("a".parse().unwrap()), &["a", "a@1", "a-1", "a-2"]),
        (KeyRange::Prefix("a@".parse().unwrap()), &["a@1"]),
        (KeyRange::Prefix("a-1".parse().unwrap()), &["a-1"]),
        (KeyRange::Prefix("%".parse().unwrap()), &[]),
        (KeyRange::Between(key("a-1"), None), &["a-1", "a-2", "b", "é"]),
        (KeyRange::Between(None, key("a-1")), &["@x", "A", "a", "a@1"]),
        (KeyRange::Between(key("a"), key("a-2")), &["a", "a@1", "a-1"]),
        (KeyRange::Between(key("a0"), key("z")), &["b"]),
        (KeyRange::Between(key("a"), key("a")), &[]),
        (KeyRange::Between(key("b"), key("a")), &[]),
        (KeyRange::Between(key("zz"), None), &["é"]),
    ];
    for (keys, expected) in cases {
        for limit in [1, 2, 100] {
            let found = pages(store, &KeyQuery { keys: keys.clone(), limit, ..all() }).await;
            assert_eq!(found, expected, "{keys:?}, pages of {limit}");
        }
    }
}

/// Pages follow each other without gap or repeat, and the last one says so.
pub async fn pages_of_a_range_follow_each_other(store: &(impl StateSink + EntityRead)) {
    fill(store).await;
    for (include_deleted, count) in [(false, 8), (true, 9)] {
        for limit in 1..=10 {
            let query = KeyQuery { limit, include_deleted, ..all() };
            let whole = range(store, &KeyQuery { limit: 100, ..query.clone() }).await;
            assert_eq!((whole.entities.len(), whole.next.clone()), (count, None));
            assert_eq!(pages(store, &query).await, sks(&whole), "pages of {limit}");
        }
    }
}

/// However many deleted ones lie between two that are not, a page that has a next one is not empty;
/// short of more than a request can look at.
pub async fn deleted_entities_leave_no_empty_pages(store: &(impl StateSink + EntityRead)) {
    for number in 0..60 {
        apply(store, &[&deleted(number % 29 != 0, &format!("{number:02}"))]).await;
    }
    for limit in [1, 2, 3] {
        let mut query = KeyQuery { limit, ..all() };
        let mut found = Vec::new();
        loop {
            let page = range(store, &query).await;
            found.extend(sks(&page).into_iter().map(str::to_owned));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
            assert_eq!(page.entities.len(), limit);
        }
        assert_eq!(found, ["00", "29", "58"]);
    }
}

/// Another tenant's or type's entities are never in range.
pub async fn another_tenants_keys_are_never_in_range(store: &(impl StateSink + EntityRead)) {
    fill(store).await;
    let theirs = KeyQuery { partition: of_tenant("other", "theirs").partition, ..all() };
    assert_eq!(sks(&range(store, &theirs).await), ["theirs"]);
    let nobodys = KeyQuery { partition: of_tenant("nobody", "x").partition, ..all() };
    assert_eq!(range(store, &nobodys).await, KeyPage::default());
}

async fn fill(store: &impl StateSink) {
    for sk in ["b", "a", "a-2", "a@1", "a-1", "A", "é", "@x"] {
        apply(store, &[&deleted(false, sk)]).await;
    }
    apply(store, &[&deleted(true, "a-3")]).await;
    let [theirs] = version_items(&of_tenant("other", "theirs"), 1).try_into().unwrap();
    apply(store, &[&theirs]).await;
}

fn deleted(is_deleted: bool, sk: &str) -> VersionItem {
    let [item] = version_items(&note_key(sk), 1).try_into().unwrap();
    VersionItem { is_deleted, ..item }
}

fn all() -> KeyQuery {
    KeyQuery {
        partition: note_key("x").partition,
        keys: KeyRange::Between(None, None),
        after: None,
        limit: 100,
        include_deleted: false,
    }
}

async fn range(store: &impl EntityRead, query: &KeyQuery) -> KeyPage {
    store.range(query).await.unwrap()
}

async fn pages(store: &impl EntityRead, query: &KeyQuery) -> Vec<String> {
    let mut query = query.clone();
    let mut found = Vec::new();
    loop {
        let page = range(store, &query).await;
        assert!(page.entities.len() <= query.limit, "a page holds at most {}", query.limit);
        found.extend(sks(&page).into_iter().map(str::to_owned));
        query.after = page.next;
        if query.after.is_none() {
            return found;
        }
    }
}

fn sks(page: &KeyPage) -> Vec<&str> {
    page.entities.iter().map(|entity| entity.key.sk.as_str()).collect()
}
