//! The contract of the ledger: [`LedgerRead`], [`LedgerWrite`], [`LedgerScan`] and [`LedgerAudit`].
#![expect(clippy::unwrap_used, reason = "a store that fails fails the test")]

use std::collections::BTreeMap;

use ledgerline_kernel::ports::{CommitError, LedgerAudit, LedgerRead, LedgerRow, LedgerScan, LedgerWrite};
use ledgerline_kernel::{
    Claim, ClaimChange, Commit, EntityKey, Hash, IdempotencyRecord, Stamp, TenantCode, Version, VersionItem,
};
use serde_json::json;

use crate::{append, fork_of, large_version_items, note_key, version_items};

/// An entity that was never written has no newest version, no first one and no history.
pub async fn an_entity_without_versions_has_no_newest(ledger: &impl LedgerRead) {
    let key = note_key("nobody");
    assert_eq!(ledger.newest(&key).await, Ok(None));
    assert_eq!(ledger.at(&key, Version::FIRST).await, Ok(None));
    assert_eq!(ledger.history(&key, None, 10).await, Ok(vec![]));
}

/// What was appended last is read back at once, in full.
pub async fn an_appended_version_is_the_newest(ledger: &(impl LedgerRead + LedgerWrite)) {
    let key = note_key("n");
    for item in version_items(&key, 3) {
        append(ledger, &item).await.unwrap();
        assert_eq!(ledger.newest(&key).await, Ok(Some(item)));
    }
}

/// Any version of the past can be read by its number; one that does not exist is `None`.
pub async fn each_version_can_be_read_by_its_number(ledger: &(impl LedgerRead + LedgerWrite)) {
    let key = note_key("n");
    let items = version_items(&key, 3);
    append_all(ledger, &items).await;
    for item in items {
        assert_eq!(ledger.at(&key, item.version).await, Ok(Some(item)));
    }
    assert_eq!(ledger.at(&key, Version::new(4).unwrap()).await, Ok(None));
}

/// Appending a version that exists changes nothing and answers with what is stored, all of it.
pub async fn an_existing_version_is_occupied_by_the_stored_item_in_full(ledger: &(impl LedgerRead + LedgerWrite)) {
    let key = note_key("n");
    let items = version_items(&key, 2);
    append_all(ledger, &items).await;
    for stored in &items {
        let occupied = Err(CommitError::Occupied(Box::new(stored.clone())));
        assert_eq!(append(ledger, &fork_of(stored)).await, occupied);
        assert_eq!(ledger.at(&key, stored.version).await, Ok(Some(stored.clone())));
    }
}

/// Appending what the same command has appended already is a success and changes nothing: the answer
/// to the first attempt was lost.
pub async fn a_version_of_the_same_command_is_a_success(ledger: &(impl LedgerRead + LedgerWrite)) {
    let key = note_key("n");
    let [one, two] = version_items(&key, 2).try_into().unwrap();
    append_all(ledger, &[one.clone(), two]).await;
    let later = Stamp { at: "2026-01-01T12:05:00Z".parse().unwrap(), ..one.updated.clone() };
    let again = VersionItem { updated: later, ..one.clone() };
    assert_eq!(append(ledger, &again).await, Ok(()));
    assert_eq!(ledger.at(&key, Version::FIRST).await, Ok(Some(one)));
}

/// Of writers that append the same version at once one succeeds, and the others learn of it.
pub async fn of_concurrent_appends_of_one_version_exactly_one_wins(ledger: &(impl LedgerRead + LedgerWrite)) {
    let key = note_key("n");
    let [one] = version_items(&key, 1).try_into().unwrap();
    let rivals: Vec<VersionItem> = (0..8)
        .map(|number| VersionItem { command_id: format!("rival {number}"), ..one.clone() })
        .map(|item| VersionItem { hash: item.computed_hash().unwrap(), ..item })
        .collect();
    let outcomes = futures::future::join_all(rivals.iter().map(|rival| append(ledger, rival))).await;
    let winners: Vec<_> = rivals.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).collect();
    let [(winner, _)] = winners.try_into().unwrap();
    assert_eq!(ledger.newest(&key).await, Ok(Some(winner.clone())));
    for lost in outcomes.iter().filter(|outcome| outcome.is_err()) {
        assert_eq!(*lost, Err(CommitError::Occupied(Box::new(winner.clone()))));
    }
}

/// A history longer than a store's page (1 MB in DynamoDB) comes whole, newest first.
pub async fn history_is_newest_first_over_all_pages(ledger: &(impl LedgerRead + LedgerWrite)) {
    let key = note_key("n");
    let mut items = large_version_items(&key, 12, 100_000);
    append_all(ledger, &items).await;
    assert_eq!(ledger.newest(&key).await.unwrap().as_ref(), items.last());
    items.reverse();
    assert!(ledger.history(&key, None, 100).await.unwrap() == items, "all 12 versions, newest first");
    assert!(ledger.history(&key, None, 12).await.unwrap() == items, "as many as there are");
}

/// A page of history begins below `before` and is shorter than `limit` only at the end.
pub async fn history_begins_below_before_and_holds_at_most_limit(ledger: &(impl LedgerRead + LedgerWrite)) {
    let key = note_key("n");
    append_all(ledger, &version_items(&key, 11)).await;
    let cases: [(Option<u64>, usize, &[u64]); 8] = [
        (None, 3, &[11, 10, 9]),
        (Some(9), 3, &[8, 7, 6]),
        (Some(3), 3, &[2, 1]),
        (Some(2), 3, &[1]),
        (Some(1), 3, &[]),
        (Some(12), 1, &[11]),
        (Some(9_999_999_999), 2, &[11, 10]),
        (None, 0, &[]),
    ];
    for (before, limit, expected) in cases {
        let page = ledger.history(&key, before.map(|number| Version::new(number).unwrap()), limit).await.unwrap();
        let numbers: Vec<_> = page.iter().map(|item| item.version.number()).collect();
        assert_eq!(numbers, expected, "before {before:?}, limit {limit}");
    }
}

/// Entities whose keys begin alike, look like encoded or versioned keys, or belong to another
/// tenant are never mixed up.
pub async fn keys_that_look_alike_never_see_each_other(ledger: &(impl LedgerRead + LedgerWrite)) {
    let mut keys: Vec<EntityKey> = LOOKALIKES.into_iter().map(note_key).collect();
    keys.extend(["acme-2", "acm"].map(|tenant| of_tenant(tenant, "a")));
    for (key, count) in keys.iter().zip(1..) {
        append_all(ledger, &version_items(key, count)).await;
    }
    for (key, count) in keys.iter().zip(1..) {
        let items = version_items(key, count);
        assert_eq!(ledger.newest(key).await.unwrap().as_ref(), items.last(), "{key}");
        let history = ledger.history(key, None, 1000).await.unwrap();
        assert!(history.iter().rev().eq(&items), "the history of {key} is its own");
    }
}

/// A scan meets each version of each entity exactly once, over as many pages as it takes.
pub async fn a_scan_meets_every_version_once(ledger: &(impl LedgerWrite + LedgerScan)) {
    let mut expected = BTreeMap::new();
    for (sk, count, bytes) in [("a", 9, 0), ("b", 11, 110_000), ("c", 1, 0)] {
        let items = large_version_items(&note_key(sk), count, bytes);
        append_all(ledger, &items).await;
        expected.extend(items.into_iter().map(|item| (item.key.at(item.version), item)));
    }
    let mut met = BTreeMap::new();
    let mut pages = 0;
    let mut from = None;
    loop {
        let (items, next) = ledger.scan(from).await.unwrap();
        pages += 1;
        for item in items {
            let again = met.insert(item.key.at(item.version), item);
            assert!(again.is_none(), "an item came twice");
        }
        from = next;
        if from.is_none() {
            break;
        }
    }
    assert!(pages > 1, "the items do not fit on one page");
    assert!(met == expected, "every item came, as it was stored");
}

/// An audit meets the key of each version and each claim with its holder exactly once, over as many
/// pages as it takes, and no idempotency record.
pub async fn an_audit_meets_every_version_and_claim_once_and_no_idempotency_record(
    ledger: &(impl LedgerWrite + LedgerAudit),
) {
    let mut expected = Vec::new();
    for (sk, count, bytes) in [("a", 9, 0), ("b", 11, 110_000), ("c%@#", 1, 0)] {
        let items = large_version_items(&note_key(sk), count, bytes);
        append_all(ledger, &items).await;
        expected.extend(items.into_iter().map(|item| LedgerRow::Version(item.key, item.version)));
    }
    let [item] = version_items(&note_key("claimant"), 1).try_into().unwrap();
    let (tenant, key, now) = (item.key.partition.tenant.clone(), item.key.clone(), item.updated.at);
    let entity_type = key.partition.entity_type.clone();
    let claim = Claim { tenant: tenant.clone(), entity_type, field: "code".to_owned(), value: "50% #@".to_owned() };
    expected.extend([LedgerRow::Version(key.clone(), item.version), LedgerRow::Claim(claim.clone(), key.clone())]);
    let record = IdempotencyRecord {
        tenant,
        key: "k".to_owned(),
        payload_hash: Hash::of("payload"),
        produced: Vec::new(),
        expires_at: now,
    };
    let claims = vec![ClaimChange::Take(claim, key)];
    let commit = Commit { claims, idempotency: Some(record), ..Commit::of(item) };
    ledger.commit(&commit, now).await.unwrap();
    let (mut met, mut pages, mut from) = (Vec::new(), 0, None);
    loop {
        let (rows, next) = ledger.rows(from).await.unwrap();
        pages += 1;
        met.extend(rows);
        from = next;
        if from.is_none() {
            break;
        }
    }
    assert!(pages > 1, "the rows do not fit on one page");
    met.sort();
    expected.sort();
    assert_eq!(met, expected);
}

/// Texts of any characters, empty ones, nested empty lists and objects, and the largest and
/// smallest whole numbers come back as they were.
pub async fn any_text_and_any_whole_number_reads_back_unchanged(ledger: &(impl LedgerRead + LedgerWrite)) {
    let key = note_key("ключ/鍵 🔑\u{85}\n%@#\"\\");
    let [mut item] = version_items(&key, 1).try_into().unwrap();
    item.code = "é\u{10FFFF}\t".to_owned();
    item.name = String::new();
    item.updated.ip = String::new();
    item.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    item.state = json!({
        "attributes": {
            "empty": "", "é": [[], {}, null, true, "𝄞"], "decimal": "12.50",
            "largest": u64::MAX, "smallest": i64::MIN, "zero": 0,
        }
    });
    item.ttl = Some(4_102_444_800);
    item.hash = item.computed_hash().unwrap();
    append(ledger, &item).await.unwrap();
    let stored = ledger.newest(&key).await.unwrap().unwrap();
    assert_eq!(stored, item);
    assert_eq!(stored.computed_hash().unwrap(), item.hash);
}

/// An item above DynamoDB's 400 KB is refused with its size, and nothing of it is stored.
pub async fn an_item_that_is_too_large_is_refused_and_not_stored(ledger: &(impl LedgerRead + LedgerWrite)) {
    let key = note_key("n");
    let [small] = large_version_items(&key, 1, 150_000).try_into().unwrap();
    append(ledger, &small).await.unwrap();
    // The text is in the state and in the event: 500,000 bytes in all.
    let [_, large] = large_version_items(&key, 2, 250_000).try_into().unwrap();
    let refused = append(ledger, &large).await;
    assert!(
        matches!(refused, Err(CommitError::TooLarge { bytes, limit }) if bytes > 500_000 && limit == 409_600),
        "too large"
    );
    assert!(ledger.newest(&key).await.unwrap() == Some(small), "the newest is still the one before");
}

/// Sort keys that a careless encoding or range would mix up.
pub(super) const LOOKALIKES: [&str; 10] =
    ["a", "a@", "a#b", "a%40", "a@0000000001", "a%", "a%2540", "aa", "a/b", "a@9999999999"];

pub(super) fn of_tenant(tenant: &str, sk: &str) -> EntityKey {
    let mut key = note_key(sk);
    key.partition.tenant = tenant.parse::<TenantCode>().unwrap();
    key
}

async fn append_all(ledger: &impl LedgerWrite, items: &[VersionItem]) {
    for item in items {
        append(ledger, item).await.unwrap();
    }
}
