//! The contract of writing several things at once: [`LedgerWrite`].
#![expect(clippy::unwrap_used, clippy::panic, reason = "a store that fails fails the test")]

use futures::future::join_all;
use ledgerline_kernel::ports::{CommitError, LedgerRead, LedgerWrite, StoreError};
use ledgerline_kernel::{
    ClaimChange, Commit, Expiry, Hash, IdempotencyRecord, MAX_OPERATIONS, Produced, Timestamp, VersionItem,
};

use super::claims::{code, holder};
use super::ledger::of_tenant;
use crate::{append, fork_of, large_version_items, noon, note_key, version_items};

/// Nothing to write is written at once.
pub async fn an_empty_commit_is_a_success(ledger: &impl LedgerWrite) {
    assert_eq!(ledger.commit(&Commit::default(), noon()).await, Ok(()));
}

/// Versions of several entities, the values that they take, the request and an expiry: all there.
pub async fn a_commit_writes_all_of_it(ledger: &(impl LedgerRead + LedgerWrite)) {
    let [a1, a2, a3] = version_items(&note_key("a"), 3).try_into().unwrap();
    let b1 = first("b");
    append(ledger, &a1).await.unwrap();
    append(ledger, &a2).await.unwrap();
    let commit = Commit {
        versions: vec![a3.clone(), b1.clone()],
        claims: vec![ClaimChange::Take(code("A"), a3.key.clone()), ClaimChange::Take(code("B"), b1.key.clone())],
        idempotency: Some(record("k", &[&a3, &b1])),
        expiries: vec![Expiry { key: a2.key.clone(), version: a2.version, at: at("2026-02-01T12:00:00Z") }],
        imported: None,
    };
    assert_eq!(ledger.commit(&commit, noon()).await, Ok(()));
    assert_eq!(ledger.newest(&a3.key).await, Ok(Some(a3.clone())));
    assert_eq!(ledger.newest(&b1.key).await, Ok(Some(b1.clone())));
    assert_eq!(holder(ledger, "A").await, Some(a3.key));
    assert_eq!(holder(ledger, "B").await, Some(b1.key));
    assert_eq!(ledger.remembered(&a2.key.partition.tenant, "k", noon()).await, Ok(commit.idempotency));
    assert!(ledger.at(&a2.key, a2.version).await.unwrap().unwrap().ttl.is_some());
}

/// Where one condition fails nothing is written, whichever it is and whatever stands before it.
pub async fn a_commit_of_which_one_condition_fails_writes_nothing(ledger: &(impl LedgerRead + LedgerWrite)) {
    let (theirs, new) = (first("theirs"), first("new"));
    let held = Commit {
        claims: vec![ClaimChange::Take(code("HELD"), theirs.key.clone())],
        idempotency: Some(record("held", &[&theirs])),
        ..Commit::of(theirs.clone())
    };
    ledger.commit(&held, noon()).await.unwrap();
    let sound = Commit {
        versions: vec![new.clone()],
        claims: vec![ClaimChange::Take(code("FREE"), new.key.clone())],
        idempotency: Some(record("free", &[&new])),
        ..Commit::default()
    };
    let mut taken_version = sound.clone();
    taken_version.versions.push(fork_of(&theirs));
    let mut taken_claim = sound.clone();
    taken_claim.claims.push(ClaimChange::Take(code("HELD"), new.key.clone()));
    let taken_key = Commit { idempotency: Some(record("held", &[&new])), ..sound.clone() };
    let occupied = CommitError::Occupied(Box::new(theirs.clone()));
    let claimed = CommitError::Claimed { claim: Box::new(code("HELD")), holder: theirs.key.clone() };
    let remembered = CommitError::Remembered(Box::new(record("held", &[&theirs])));
    for (commit, error) in [(taken_version, occupied), (taken_claim, claimed), (taken_key, remembered)] {
        assert_eq!(ledger.commit(&commit, noon()).await, Err(error));
        assert_eq!(ledger.newest(&new.key).await, Ok(None));
        assert_eq!(ledger.remembered(&new.key.partition.tenant, "free", noon()).await, Ok(None));
    }
    assert_eq!(ledger.commit(&sound, noon()).await, Ok(()), "all that they would have taken is still free");
}

/// Of several failed conditions the idempotency key's is reported, then a version's, then a claim's.
pub async fn a_used_key_is_reported_before_a_version_and_a_version_before_a_claim(
    ledger: &(impl LedgerRead + LedgerWrite),
) {
    let theirs = first("n");
    let held = Commit {
        claims: vec![ClaimChange::Take(code("HELD"), theirs.key.clone())],
        idempotency: Some(record("k", &[&theirs])),
        ..Commit::of(theirs.clone())
    };
    ledger.commit(&held, noon()).await.unwrap();
    let mut ours = Commit {
        claims: vec![ClaimChange::Take(code("HELD"), note_key("other"))],
        idempotency: Some(IdempotencyRecord { payload_hash: Hash::of("another"), ..record("k", &[]) }),
        ..Commit::of(fork_of(&theirs))
    };
    let remembered = CommitError::Remembered(Box::new(record("k", &[&theirs])));
    assert_eq!(ledger.commit(&ours, noon()).await, Err(remembered));
    ours.idempotency = None;
    assert_eq!(ledger.commit(&ours, noon()).await, Err(CommitError::Occupied(Box::new(theirs))));
}

/// The same commit again, later: its first answer was lost. A success, without a second effect and
/// also where the key is found in use, since it is our own use.
pub async fn the_lost_answer_of_a_commit_is_a_success(ledger: &(impl LedgerRead + LedgerWrite)) {
    let (a, b) = (first("a"), first("b"));
    let commit = Commit {
        versions: vec![a.clone(), b.clone()],
        claims: vec![ClaimChange::Take(code("A"), a.key.clone())],
        idempotency: Some(record("k", &[&a, &b])),
        ..Commit::default()
    };
    for now in ["2026-01-01T12:00:00Z", "2026-01-01T12:00:01Z"] {
        assert_eq!(ledger.commit(&commit, at(now)).await, Ok(()), "{now}");
    }
    let key_alone = Commit { idempotency: Some(record("alone", &[&a])), ..Commit::default() };
    for now in ["2026-01-01T12:00:00Z", "2026-01-01T12:00:01Z"] {
        assert_eq!(ledger.commit(&key_alone, at(now)).await, Ok(()), "{now}");
    }
    assert_eq!(ledger.history(&a.key, None, 10).await, Ok(vec![a]));
}

/// A request is remembered in full until its time is over, to the moment; then its key is free.
pub async fn a_request_is_remembered_until_it_expires(ledger: &impl LedgerWrite) {
    let acme = note_key("n").partition.tenant;
    let (n, m) = (first("n"), first("m"));
    let one = IdempotencyRecord { expires_at: at("2026-01-02T12:00:00.000001Z"), ..record("k #1", &[&n, &m]) };
    let two = IdempotencyRecord { payload_hash: Hash::of("another"), ..record("k #1", &[]) };
    assert_eq!(ledger.remembered(&acme, "k #1", noon()).await, Ok(None));
    let remember = |record: &IdempotencyRecord| Commit { idempotency: Some(record.clone()), ..Commit::default() };
    ledger.commit(&remember(&one), noon()).await.unwrap();
    let (before, over) = (at("2026-01-02T12:00:00Z"), at("2026-01-02T12:00:00.000001Z"));
    assert_eq!(ledger.remembered(&acme, "k #1", before).await, Ok(Some(one.clone())));
    assert_eq!(ledger.commit(&remember(&two), before).await, Err(CommitError::Remembered(Box::new(one))));
    assert_eq!(ledger.remembered(&acme, "k #1", over).await, Ok(None));
    assert_eq!(ledger.commit(&remember(&two), over).await, Ok(()));
    assert_eq!(ledger.remembered(&acme, "k #1", noon()).await, Ok(Some(two)));
}

/// A tenant's keys are its own.
pub async fn another_tenants_key_is_another_key(ledger: &impl LedgerWrite) {
    let [acme, other] = ["acme", "acme-2"].map(|tenant| of_tenant(tenant, "n").partition.tenant);
    let theirs = Commit { idempotency: Some(record("k", &[&first("n")])), ..Commit::default() };
    ledger.commit(&theirs, noon()).await.unwrap();
    assert_eq!(ledger.remembered(&other, "k", noon()).await, Ok(None));
    let ours = IdempotencyRecord { tenant: other.clone(), ..record("k", &[]) };
    let ours = Commit { idempotency: Some(ours.clone()), ..Commit::default() };
    assert_eq!(ledger.commit(&ours, noon()).await, Ok(()));
    assert_eq!(ledger.remembered(&other, "k", noon()).await, Ok(ours.idempotency));
    assert_eq!(ledger.remembered(&acme, "k", noon()).await, Ok(theirs.idempotency));
}

/// Of requests that come with the same key at once exactly one has an effect; the others learn which.
pub async fn of_concurrent_requests_with_one_key_exactly_one_wins(ledger: &(impl LedgerRead + LedgerWrite)) {
    let items: Vec<_> = (0..8).map(|number| first(&format!("n-{number}"))).collect();
    let commits: Vec<_> = items
        .iter()
        .map(|item| Commit { idempotency: Some(record("k", &[item])), ..Commit::of(item.clone()) })
        .collect();
    let outcomes = join_all(commits.iter().map(|commit| ledger.commit(commit, noon()))).await;
    let winners: Vec<_> = items.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).collect();
    let [(winner, _)] = winners.try_into().unwrap();
    let remembered = Err(CommitError::Remembered(Box::new(record("k", &[winner]))));
    for (item, outcome) in items.iter().zip(&outcomes) {
        let won = item == winner;
        assert_eq!(*outcome, if won { Ok(()) } else { remembered.clone() });
        assert_eq!(ledger.newest(&item.key).await, Ok(won.then(|| item.clone())));
    }
}

/// A version that may expire has the time in whole seconds, never before its own, and is otherwise
/// as it was: its hash still holds.
pub async fn a_version_that_may_expire_is_otherwise_unchanged(ledger: &(impl LedgerRead + LedgerWrite)) {
    let [one, two, three] = version_items(&note_key("n"), 3).try_into().unwrap();
    append(ledger, &one).await.unwrap();
    append(ledger, &two).await.unwrap();
    let expiry = |at| Expiry { key: two.key.clone(), version: two.version, at };
    let commit = Commit { expiries: vec![expiry(at("2026-02-01T00:00:00.5Z"))], ..Commit::of(three.clone()) };
    ledger.commit(&commit, noon()).await.unwrap();
    let stored = ledger.at(&two.key, two.version).await.unwrap().unwrap();
    assert_eq!(stored.computed_hash().as_ref(), Ok(&two.hash));
    assert_eq!(stored, VersionItem { ttl: Some(1_769_904_001), ..two.clone() });
    let alone = Commit { expiries: vec![expiry(at("2026-03-01T00:00:00Z"))], ..Commit::default() };
    ledger.commit(&alone, noon()).await.unwrap();
    assert_eq!(ledger.at(&two.key, two.version).await.unwrap().unwrap().ttl, Some(1_772_323_200));
    assert_eq!(ledger.history(&one.key, None, 10).await.unwrap().len(), 3);
}

/// A version that does not exist cannot be made to expire, and is not made by trying.
pub async fn the_expiry_of_a_missing_version_is_rejected(ledger: &(impl LedgerRead + LedgerWrite)) {
    let [one, two] = version_items(&note_key("n"), 2).try_into().unwrap();
    let expiry = Expiry { key: two.key.clone(), version: two.version, at: noon() };
    let commit = Commit { expiries: vec![expiry], ..Commit::of(one.clone()) };
    let rejected = ledger.commit(&commit, noon()).await;
    assert!(matches!(rejected, Err(CommitError::Store(StoreError::Rejected { .. }))), "{rejected:?}");
    assert_eq!(ledger.history(&one.key, None, 10).await, Ok(vec![]));
}

/// Two operations on one item are the caller's mistake, which the answer names.
pub async fn an_item_that_is_written_twice_in_one_commit_is_rejected(ledger: &(impl LedgerRead + LedgerWrite)) {
    let one = first("n");
    let twice = [
        Commit { versions: vec![one.clone(), fork_of(&one)], ..Commit::default() },
        Commit {
            claims: vec![ClaimChange::Release(code("A"), note_key("a")), ClaimChange::Take(code("A"), note_key("b"))],
            ..Commit::of(one.clone())
        },
        Commit {
            expiries: vec![Expiry { key: one.key.clone(), version: one.version, at: noon() }],
            ..Commit::of(one.clone())
        },
    ];
    for (commit, named) in twice.iter().zip(["NOTE#acme#n", "code \"A\"", "NOTE#acme#n"]) {
        match ledger.commit(commit, noon()).await {
            Err(CommitError::Store(StoreError::Rejected { reason, .. })) => assert!(reason.contains(named), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ledger.newest(&one.key).await, Ok(None));
}

/// As many operations as a transaction takes are written, all of them; one more is refused, all of
/// them, whatever kind they are.
pub async fn a_hundred_operations_are_written_and_one_more_is_refused(ledger: &(impl LedgerRead + LedgerWrite)) {
    let items: Vec<_> = (0..50).map(|number| first(&format!("n-{number}"))).collect();
    let takes = items.iter().map(|item| ClaimChange::Take(code(item.key.sk.as_str()), item.key.clone()));
    let mut commit = Commit { versions: items.clone(), claims: takes.collect(), ..Commit::default() };
    commit.idempotency = Some(record("k", &[]));
    assert_eq!(commit.operations(), 101);
    let refused = CommitError::TooMany { operations: 101, limit: MAX_OPERATIONS };
    assert_eq!(ledger.commit(&commit, noon()).await, Err(refused));
    for item in &items {
        assert_eq!(ledger.newest(&item.key).await, Ok(None));
    }
    commit.idempotency = None;
    assert_eq!(ledger.commit(&commit, noon()).await, Ok(()));
    for item in &items {
        assert_eq!(ledger.newest(&item.key).await, Ok(Some(item.clone())));
        assert_eq!(holder(ledger, item.key.sk.as_str()).await, Some(item.key.clone()));
    }
}

/// An item of exactly 400 KB is written and one of a byte more refused, alone or with others.
pub async fn an_item_is_written_up_to_its_limit_and_not_a_byte_beyond(ledger: &(impl LedgerRead + LedgerWrite)) {
    const LIMIT: usize = 400 * 1024;
    let with_another = |item: VersionItem| Commit { versions: vec![first("z"), item], ..Commit::default() };
    let shapes: [(&str, &dyn Fn(VersionItem) -> Commit); 2] = [("a", &Commit::of), ("b", &with_another)];
    for (sk, shape) in shapes {
        let mut item = named(first(sk), LIMIT);
        let Err(CommitError::TooLarge { bytes, limit: LIMIT }) = ledger.commit(&shape(item.clone()), noon()).await
        else {
            panic!("too large");
        };
        item = named(item, LIMIT - (bytes - LIMIT) + 1);
        let refused = CommitError::TooLarge { bytes: LIMIT + 1, limit: LIMIT };
        assert_eq!(ledger.commit(&shape(item.clone()), noon()).await, Err(refused));
        assert_eq!(ledger.newest(&item.key).await, Ok(None));
        item = named(item, LIMIT - (bytes - LIMIT));
        assert_eq!(ledger.commit(&shape(item.clone()), noon()).await, Ok(()));
        assert!(ledger.newest(&item.key).await.unwrap() == Some(item));
    }
}

/// Items of exactly 4 MB together are written and those of a byte more refused, all of them.
pub async fn a_commit_is_written_up_to_its_limit_and_not_a_byte_beyond(ledger: &(impl LedgerRead + LedgerWrite)) {
    const LIMIT: usize = 4 * 1024 * 1024;
    let last = first("last");
    let rest = (0..11).flat_map(|number| large_version_items(&note_key(&format!("n-{number}")), 1, 180_000));
    let rest: Vec<_> = rest.collect();
    let commit = |name: usize| {
        let versions = rest.iter().cloned().chain([named(last.clone(), name)]).collect();
        Commit { versions, ..Commit::default() }
    };
    let Err(CommitError::TooLarge { bytes, limit: LIMIT }) = ledger.commit(&commit(300_000), noon()).await else {
        panic!("too large");
    };
    let fitting = 300_000 - (bytes - LIMIT);
    let refused = CommitError::TooLarge { bytes: LIMIT + 1, limit: LIMIT };
    assert_eq!(ledger.commit(&commit(fitting + 1), noon()).await, Err(refused));
    for item in rest.iter().chain([&last]) {
        assert_eq!(ledger.newest(&item.key).await, Ok(None));
    }
    assert_eq!(ledger.commit(&commit(fitting), noon()).await, Ok(()));
    for item in &rest {
        assert!(ledger.newest(&item.key).await.unwrap().as_ref() == Some(item));
    }
}

pub(super) fn first(sk: &str) -> VersionItem {
    let [item] = version_items(&note_key(sk), 1).try_into().unwrap();
    item
}

/// With a name of so many bytes, which occurs once in an item.
fn named(item: VersionItem, bytes: usize) -> VersionItem {
    let item = VersionItem { name: "x".repeat(bytes), ..item };
    VersionItem { hash: item.computed_hash().unwrap(), ..item }
}

fn at(moment: &str) -> Timestamp {
    moment.parse().unwrap()
}

fn record(key: &str, items: &[&VersionItem]) -> IdempotencyRecord {
    let produced = |item: &&VersionItem| Produced { id: item.key.clone(), version: item.version, changed: true };
    IdempotencyRecord {
        tenant: note_key("n").partition.tenant,
        key: key.to_owned(),
        payload_hash: Hash::of(key),
        produced: items.iter().map(produced).collect(),
        expires_at: at("2026-01-02T12:00:00Z"),
    }
}
