//! The contract of delta projections' rows and positions: [`DeltaSink`], read through [`SummaryRead`].
//!
//! The projection is [`NoteTotals`]; the moves are made by hand.
#![expect(clippy::unwrap_used, reason = "a store that fails fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use ledgerline_kernel::ports::{DeltaMove, DeltaPosition, DeltaSink, StoreError, SummaryRead, SummaryRow};
use ledgerline_kernel::{DeltaChange, DynDelta, EntityKey, Hash, Version, delta};
use serde_json::json;

use super::ledger::{LOOKALIKES, of_tenant};
use crate::note::Note;
use crate::note_key;
use crate::note_totals::NoteTotals;

/// What was never taken in stands nowhere.
pub async fn an_entity_that_was_never_taken_in_has_no_position(deltas: &impl DeltaSink) {
    assert_eq!(deltas.positions(totals().as_ref(), &[note_key("n")]).await, Ok(BTreeMap::new()));
    assert_eq!(deltas.positions(totals().as_ref(), &[]).await, Ok(BTreeMap::new()));
}

/// A move that begins where its entity stands leaves its position and its changes.
pub async fn a_move_leaves_its_position_and_adds_its_changes(deltas: &(impl DeltaSink + SummaryRead)) {
    let key = note_key("n");
    let first = moving(&key, None, 3, &[total("a", "1", "5"), length("a", "5", "1")]);
    assert_eq!(advance(deltas, std::slice::from_ref(&first)).await, []);
    assert_eq!(position(deltas, &key).await, Some(first.to));
    let further = [total("a", "0", "2"), length("a", "5", "-1"), length("a", "7", "1")];
    let second = moving(&key, Some(3), 4, &further);
    assert_eq!(advance(deltas, std::slice::from_ref(&second)).await, []);
    assert_eq!(position(deltas, &key).await, Some(second.to));
    assert_eq!(rows(deltas, "acme").await, [row("a", "1", "7", "7", "7")]);
}

/// A move that begins elsewhere, in whatever direction, changes nothing and is named.
pub async fn a_move_from_elsewhere_is_lost_and_adds_nothing(deltas: &(impl DeltaSink + SummaryRead)) {
    let key = note_key("n");
    let early = moving(&key, Some(1), 2, &[total("a", "1", "1")]);
    assert_eq!(advance(deltas, &[early]).await, std::slice::from_ref(&key));
    assert_eq!((position(deltas, &key).await, rows(deltas, "acme").await), (None, vec![]));
    let two = moving(&key, None, 2, &[total("a", "1", "5"), length("a", "5", "1")]);
    advance(deltas, std::slice::from_ref(&two)).await;
    for (from, to) in [(None, 1), (None, 2), (Some(1), 2), (Some(1), 3), (Some(3), 4)] {
        let other = moving(&key, from, to, &[total("a", "1", "1")]);
        assert_eq!(advance(deltas, &[other]).await, std::slice::from_ref(&key), "{from:?} to {to}");
    }
    // The same version, of which something else is remembered: it would add something else.
    let from = DeltaPosition { memory: json!({"at": 2}), ..two.to.clone() };
    let other = DeltaMove { from: Some(from), ..moving(&key, Some(2), 3, &[total("a", "1", "1")]) };
    assert_eq!(advance(deltas, &[other]).await, std::slice::from_ref(&key));
    assert_eq!(position(deltas, &key).await, Some(two.to));
    assert_eq!(rows(deltas, "acme").await, [row("a", "1", "5", "5", "5")]);
}

/// Of many moves in one call each is judged by itself, and those on one row are added up.
pub async fn of_many_moves_those_that_stand_are_made(deltas: &(impl DeltaSink + SummaryRead)) {
    let keys: Vec<EntityKey> = LOOKALIKES.into_iter().map(note_key).collect();
    let ahead = keys.first().unwrap();
    advance(deltas, &[moving(ahead, None, 9, &[total("a", "1", "100"), length("a", "100", "1")])]).await;
    let moves: Vec<DeltaMove> =
        keys.iter().rev().map(|key| moving(key, None, 1, &[total("a", "1", "3"), length("a", "3", "1")])).collect();
    assert_eq!(advance(deltas, &moves).await, std::slice::from_ref(ahead));
    let moved = (keys.len() - 1).to_string();
    let letters = (3 * (keys.len() - 1) + 100).to_string();
    assert_eq!(rows(deltas, "acme").await, [row("a", &keys.len().to_string(), &letters, "3", "100")], "{moved} moved");
    assert_eq!(deltas.positions(totals().as_ref(), &keys).await.unwrap().len(), keys.len());
}

/// A number is one key however it is spelt.
pub async fn a_number_is_one_key_however_it_is_spelt(deltas: &(impl DeltaSink + SummaryRead)) {
    let changes = [total("a", "1", "12.50"), length("a", "12.50", "1")];
    advance(deltas, &[moving(&note_key("n"), None, 1, &changes)]).await;
    let changes = [total("a", "1", "0"), length("a", "12.5", "1"), length("a", "12.500", "-2"), length("a", "3", "1")];
    advance(deltas, &[moving(&note_key("m"), None, 1, &changes)]).await;
    assert_eq!(rows(deltas, "acme").await, [row("a", "2", "12.50", "3", "3")]);
}

/// A row whose sums are all zero is not there; one of which some are not is.
pub async fn a_row_whose_sums_are_all_zero_is_gone(deltas: &(impl DeltaSink + SummaryRead)) {
    let key = note_key("n");
    advance(deltas, &[moving(&key, None, 1, &[total("a", "1", "0"), total("b", "2", "4"), total("c", "0", "0")])])
        .await;
    let none =
        |shelf: &str, notes: &str, letters: &str| SummaryRow { extremes: None, ..row(shelf, notes, letters, "", "") };
    assert_eq!(rows(deltas, "acme").await, [none("a", "1", "0"), none("b", "2", "4")]);
    advance(deltas, &[moving(&key, Some(1), 2, &[total("a", "-1", "0"), total("b", "-2", "0")])]).await;
    assert_eq!(rows(deltas, "acme").await, [none("b", "0", "4")]);
    advance(deltas, &[moving(&key, Some(2), 3, &[total("b", "0", "-4.00")])]).await;
    assert_eq!(rows(deltas, "acme").await, []);
}

/// However many try at once, an entity moves once, and those that lost add nothing.
pub async fn of_concurrent_moves_of_an_entity_exactly_one_wins(deltas: &(impl DeltaSink + SummaryRead)) {
    let key = note_key("n");
    for from in [None, Some(1), Some(2)] {
        let next = from.unwrap_or(0) + 1;
        let attempts = (0..8)
            .map(|_| async { advance(deltas, &[moving(&key, from, next, &[total("a", "1", "2")])]).await.is_empty() });
        let won = join_all(attempts).await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1, "from {from:?}");
    }
    assert_eq!(rows(deltas, "acme").await.pop().unwrap().sums, ["3", "6"]);
}

/// What cannot be stored moves nobody, not even the others of the call.
pub async fn a_change_that_cannot_be_stored_moves_nobody(deltas: &(impl DeltaSink + SummaryRead)) {
    let good = moving(&note_key("a"), None, 1, &[total("a", "1", "1")]);
    let mut short = total("a", "1", "1");
    short.add.pop();
    for bad in [length("a", "many", "1"), short] {
        let moves = [good.clone(), moving(&note_key("b"), None, 1, &[bad])];
        let refused = deltas.advance(totals().as_ref(), &moves).await;
        assert!(matches!(refused, Err(StoreError::Rejected { .. })), "{refused:?}");
    }
    assert_eq!((position(deltas, &note_key("a")).await, rows(deltas, "acme").await), (None, vec![]));
}

/// The rows of a tenant are its own.
pub async fn another_tenants_rows_are_other_rows(deltas: &(impl DeltaSink + SummaryRead)) {
    let moves = ["acme", "acme-2"]
        .map(|tenant| moving(&of_tenant(tenant, "n"), None, 1, &[total("a", "1", "2"), length("a", "2", "1")]));
    assert_eq!(advance(deltas, &moves).await, []);
    for tenant in ["acme", "acme-2"] {
        assert_eq!(rows(deltas, tenant).await, [row("a", "1", "2", "2", "2")], "{tenant}");
    }
    assert_eq!(rows(deltas, "acm").await, []);
}

/// A summary goes on after a key, in code point order, a page at a time.
pub async fn a_summary_is_read_page_by_page_in_the_order_of_its_keys(deltas: &(impl DeltaSink + SummaryRead)) {
    let shelves = ["", "A", "Z", "a", "é", "鍵", "🔑"];
    let changes: Vec<DeltaChange> = shelves.iter().map(|shelf| total(shelf, "1", "1")).collect();
    advance(deltas, &[moving(&note_key("n"), None, 1, &changes)]).await;
    let (spec, tenant) = (totals().summary().unwrap(), "acme".parse().unwrap());
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = deltas.summary(&spec, &tenant, after.as_deref(), 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        read.extend(page.into_iter().flat_map(|row| row.key));
    }
    assert_eq!(read, shelves);
}

/// Sums are exact, beyond what one number may have.
pub async fn sums_are_exact_however_many_digits_they_take(deltas: &(impl DeltaSink + SummaryRead)) {
    let (huge, tiny) = ("99999999999999999999999999999999999999", "0.00000000000000000000000000000000000001");
    for (number, letters) in [huge, huge, tiny].iter().enumerate() {
        let key = note_key(&format!("n{number}"));
        advance(deltas, &[moving(&key, None, 1, &[total("a", "1", letters)])]).await;
    }
    let sums = rows(deltas, "acme").await.pop().unwrap().sums;
    assert_eq!(sums, ["3", "199999999999999999999999999999999999998.00000000000000000000000000000000000001"]);
}

fn totals() -> Arc<dyn DynDelta> {
    delta::<Note, NoteTotals>()
}

fn total(shelf: &str, notes: &str, letters: &str) -> DeltaChange {
    DeltaChange { table: 0, key: vec![shelf.to_owned()], add: vec![notes.parse().unwrap(), letters.parse().unwrap()] }
}

fn length(shelf: &str, letters: &str, notes: &str) -> DeltaChange {
    DeltaChange { table: 1, key: vec![shelf.to_owned(), letters.to_owned()], add: vec![notes.parse().unwrap()] }
}

fn moving(key: &EntityKey, from: Option<u64>, to: u64, changes: &[DeltaChange]) -> DeltaMove {
    let position = |number| {
        let memory = json!({"text": "ключ 🔑 \"\\", "at": number, "amount": "12.50"});
        DeltaPosition { version: Version::new(number).unwrap(), hash: Hash::of(&format!("{key}@{number}")), memory }
    };
    DeltaMove { key: key.clone(), from: from.map(position), to: position(to), changes: changes.to_vec() }
}

async fn advance(deltas: &impl DeltaSink, moves: &[DeltaMove]) -> Vec<EntityKey> {
    deltas.advance(totals().as_ref(), moves).await.unwrap()
}

async fn position(deltas: &impl DeltaSink, key: &EntityKey) -> Option<DeltaPosition> {
    deltas.positions(totals().as_ref(), std::slice::from_ref(key)).await.unwrap().remove(key)
}

async fn rows(deltas: &impl SummaryRead, tenant: &str) -> Vec<SummaryRow> {
    deltas.summary(&totals().summary().unwrap(), &tenant.parse().unwrap(), None, 100).await.unwrap()
}

fn row(shelf: &str, notes: &str, letters: &str, least: &str, greatest: &str) -> SummaryRow {
    let sums = vec![notes.to_owned(), letters.to_owned()];
    SummaryRow { key: vec![shelf.to_owned()], sums, extremes: Some((least.to_owned(), greatest.to_owned())) }
}
