//! The contract of unique values: [`LedgerWrite`].
#![expect(clippy::unwrap_used, reason = "a store that fails fails the test")]

use futures::future::join_all;
use ledgerline_kernel::ports::{CommitError, LedgerRead, LedgerWrite};
use ledgerline_kernel::{Claim, ClaimChange, Commit, EntityKey, VersionItem};

use super::commits::first;
use crate::{noon, note_key, version_items};

/// A value that one entity has taken is refused to others, who learn who has it; the entity itself
/// may take it again.
pub async fn a_taken_value_is_refused_to_others(ledger: &impl LedgerWrite) {
    change(ledger, ClaimChange::Take(code("R-7"), note_key("a"))).await.unwrap();
    assert_eq!(holder(ledger, "R-7").await, Some(note_key("a")));
    assert_eq!(change(ledger, ClaimChange::Take(code("R-7"), note_key("a"))).await, Ok(()));
}

/// A value that was given up is free; nobody gives up what another has; what is free already may be
/// given up.
pub async fn a_released_value_is_free(ledger: &impl LedgerWrite) {
    change(ledger, ClaimChange::Take(code("R-7"), note_key("a"))).await.unwrap();
    let refused = CommitError::Claimed { claim: Box::new(code("R-7")), holder: note_key("a") };
    assert_eq!(change(ledger, ClaimChange::Release(code("R-7"), note_key("b"))).await, Err(refused));
    assert_eq!(holder(ledger, "R-7").await, Some(note_key("a")));
    for _ in 0..2 {
        assert_eq!(change(ledger, ClaimChange::Release(code("R-7"), note_key("a"))).await, Ok(()));
    }
    assert_eq!(holder(ledger, "R-7").await, None);
}

/// A value goes from one entity to another without ever being free, also when it went already or
/// nobody had it; not if a third has it.
pub async fn a_transferred_value_changes_hands(ledger: &impl LedgerWrite) {
    let transfer = |from, to| ClaimChange::Transfer { claim: code("R-7"), from: note_key(from), to: note_key(to) };
    change(ledger, ClaimChange::Take(code("R-7"), note_key("a"))).await.unwrap();
    for _ in 0..2 {
        assert_eq!(change(ledger, transfer("a", "b")).await, Ok(()));
        assert_eq!(holder(ledger, "R-7").await, Some(note_key("b")));
    }
    let refused = CommitError::Claimed { claim: Box::new(code("R-7")), holder: note_key("b") };
    assert_eq!(change(ledger, transfer("c", "d")).await, Err(refused));
    change(ledger, ClaimChange::Release(code("R-7"), note_key("b"))).await.unwrap();
    assert_eq!(change(ledger, transfer("c", "d")).await, Ok(()));
    assert_eq!(holder(ledger, "R-7").await, Some(note_key("d")));
}

/// A deleted entity's value can be taken by another, and the first gets it back only once it is
/// free again.
pub async fn a_deleted_entitys_value_is_taken_and_not_given_back(ledger: &(impl LedgerRead + LedgerWrite)) {
    let [a1, a2, a3] = version_items(&note_key("a"), 3).try_into().unwrap();
    let [b1, b2] = version_items(&note_key("b"), 2).try_into().unwrap();
    let (take_a, release_a) =
        (ClaimChange::Take(code("R-7"), note_key("a")), ClaimChange::Release(code("R-7"), note_key("a")));
    let (take_b, release_b) =
        (ClaimChange::Take(code("R-7"), note_key("b")), ClaimChange::Release(code("R-7"), note_key("b")));
    let with =
        |item: &VersionItem, change: &ClaimChange| Commit { claims: vec![change.clone()], ..Commit::of(item.clone()) };
    ledger.commit(&with(&a1, &take_a), noon()).await.unwrap();
    ledger.commit(&with(&a2, &release_a), noon()).await.unwrap();
    ledger.commit(&with(&b1, &take_b), noon()).await.unwrap();
    let refused = CommitError::Claimed { claim: Box::new(code("R-7")), holder: note_key("b") };
    assert_eq!(ledger.commit(&with(&a3, &take_a), noon()).await, Err(refused));
    assert_eq!(ledger.newest(&a2.key).await, Ok(Some(a2)));
    ledger.commit(&with(&b2, &release_b), noon()).await.unwrap();
    assert_eq!(ledger.commit(&with(&a3, &take_a), noon()).await, Ok(()));
    assert_eq!(holder(ledger, "R-7").await, Some(note_key("a")));
}

/// The same value in another field, type or tenant is another value, and so is one that a careless
/// encoding would confuse with it.
pub async fn values_that_look_alike_are_different_values(ledger: &impl LedgerWrite) {
    let plain = code("a");
    let claims = [
        code(""),
        code("a#b"),
        code("a%23b"),
        code("a@b"),
        code("A"),
        code("é"),
        Claim { field: "name".to_owned(), ..plain.clone() },
        Claim { entity_type: "OTHER".parse().unwrap(), ..plain.clone() },
        Claim { tenant: "acme-2".parse().unwrap(), ..plain.clone() },
        plain,
    ];
    for (number, claim) in claims.into_iter().enumerate() {
        let taken = change(ledger, ClaimChange::Take(claim.clone(), note_key(&format!("n-{number}")))).await;
        assert_eq!(taken, Ok(()), "{claim}");
    }
}

/// Of entities that take the same value at once exactly one gets it, and only its version is there.
pub async fn of_concurrent_takers_of_a_value_exactly_one_wins(ledger: &(impl LedgerRead + LedgerWrite)) {
    let items: Vec<_> = (0..8).map(|number| first(&format!("n-{number}"))).collect();
    let commits: Vec<_> = items
        .iter()
        .map(|item| Commit {
            claims: vec![ClaimChange::Take(code("R-7"), item.key.clone())],
            ..Commit::of(item.clone())
        })
        .collect();
    let outcomes = join_all(commits.iter().map(|commit| ledger.commit(commit, noon()))).await;
    let winners: Vec<_> = items.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).collect();
    let [(winner, _)] = winners.try_into().unwrap();
    let claimed = Err(CommitError::Claimed { claim: Box::new(code("R-7")), holder: winner.key.clone() });
    for (item, outcome) in items.iter().zip(&outcomes) {
        let won = item == winner;
        assert_eq!(*outcome, if won { Ok(()) } else { claimed.clone() });
        assert_eq!(ledger.newest(&item.key).await, Ok(won.then(|| item.clone())));
    }
}

pub(super) fn code(value: &str) -> Claim {
    let partition = note_key("n").partition;
    Claim {
        tenant: partition.tenant,
        entity_type: partition.entity_type,
        field: "code".to_owned(),
        value: value.to_owned(),
    }
}

async fn change(ledger: &impl LedgerWrite, change: ClaimChange) -> Result<(), CommitError> {
    ledger.commit(&Commit { claims: vec![change], ..Commit::default() }, noon()).await
}

/// Who has this code: asked for by taking it, and giving it back at once where that succeeds.
pub(super) async fn holder(ledger: &impl LedgerWrite, value: &str) -> Option<EntityKey> {
    let curious = note_key("curious");
    match change(ledger, ClaimChange::Take(code(value), curious.clone())).await {
        Err(CommitError::Claimed { holder, .. }) => Some(holder),
        other => {
            assert_eq!(other, Ok(()));
            change(ledger, ClaimChange::Release(code(value), curious)).await.unwrap();
            None
        }
    }
}
