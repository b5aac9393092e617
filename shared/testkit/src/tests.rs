use ledgerline_kernel::ports::{CommitError, LedgerRead, StoreError};
use ledgerline_kernel::{Aggregate, Decimal, DecisionContext, DeltaChange};
use serde::{Deserialize, Serialize};

use crate::note::{Note, NoteCommand, NoteEvent, NoteRefusal};
use crate::*;

mod memory_ledger_keeps_the_contract {
    async fn open() -> (crate::MemoryLedger, ()) {
        (crate::MemoryLedger::default(), ())
    }
    crate::ledger_contract!(open);
    crate::index_contract!(open);
    crate::imports_contract!(open);
}

mod memory_blobs_keep_the_contract {
    async fn open() -> (crate::MemoryBlobs, ()) {
        (crate::MemoryBlobs::default(), ())
    }
    crate::blobs_contract!(open);
}

mod memory_bus_keeps_the_contract {
    async fn open() -> (crate::MemoryBus, ()) {
        (crate::MemoryBus::default(), ())
    }
    crate::bus_contract!(open);
}

mod memory_queue_keeps_the_contract {
    async fn open() -> (crate::MemoryQueue, ()) {
        (crate::MemoryQueue::default(), ())
    }
    crate::queue_contract!(open);
}

mod memory_objects_keep_the_contract {
    async fn open() -> (crate::MemoryObjects, ()) {
        (crate::MemoryObjects::default(), ())
    }
    crate::objects_contract!(open);
}

mod memory_deltas_keep_the_contract {
    async fn open() -> (crate::MemoryDeltas, ()) {
        (crate::MemoryDeltas::default(), ())
    }
    crate::deltas_contract!(open);
}

mod memory_quarantine_keeps_the_contract {
    async fn open() -> (crate::MemoryQuarantine, ()) {
        (crate::MemoryQuarantine::default(), ())
    }
    crate::quarantine_contract!(open);
}

mod memory_entities_keep_the_contract {
    async fn open() -> (crate::MemoryEntities, ()) {
        (crate::MemoryEntities::default(), ())
    }
    crate::entities_contract!(open);
    crate::list_contract!(open);
    crate::ranges_contract!(open);
    crate::audit_contract!(open);
}

mod memory_resyncs_keep_the_contract {
    async fn open() -> (crate::MemoryResyncs, ()) {
        (crate::MemoryResyncs::default(), ())
    }
    crate::resyncs_contract!(open);
}

#[test]
fn what_versions_add_one_after_the_other_is_what_the_entity_adds() {
    let totals = ledgerline_kernel::delta::<Note, NoteTotals>();
    let mut items = version_items(&note_key("n"), 3);
    items[1].is_deleted = true;
    let (mut memory, mut added) = (None, Vec::<DeltaChange>::new());
    for item in &items {
        let step = totals.step(memory.as_ref(), item).unwrap();
        let again = totals.step(Some(&step.memory), item).unwrap();
        assert_eq!((again.changes, &again.memory), (vec![], &step.memory), "what is the same adds nothing");
        added.extend(step.changes);
        memory = Some(step.memory);
        let taken = totals.adds(memory.as_ref().unwrap()).unwrap().into_iter().map(DeltaChange::negated);
        let mut rows = std::collections::BTreeMap::new();
        for change in added.iter().cloned().chain(taken) {
            for (place, add) in change.add.into_iter().enumerate() {
                let sum = rows.entry((change.table, change.key.clone(), place)).or_insert(Decimal::from(0));
                *sum = sum.plus(&add);
            }
        }
        assert!(rows.values().all(|sum| *sum == Decimal::from(0)), "{rows:?}");
    }
    assert_eq!(totals.adds(&serde_json::json!({"nonsense": 1})), None);
}

fn written() -> NoteEvent {
    NoteEvent::Written { code: "N-1".into(), name: "Milk".into(), body: "2 litres".into() }
}

fn rewrite(body: &str) -> NoteCommand {
    NoteCommand::Rewrite { body: body.into() }
}

#[test]
fn the_same_text_again_changes_nothing() {
    given::<Note>([written()]).when(rewrite("2 litres")).then_nothing();
}

#[test]
fn a_note_that_does_not_exist_is_refused() {
    given::<Note>([]).when(rewrite("")).then_refused(NoteRefusal::Missing);
}

#[test]
fn the_note_domain_keeps_the_laws() {
    let rated = NoteEvent::Rated { stars: "4.50".parse().unwrap() };
    laws::hold_for::<Note>(&[written(), rated, NoteEvent::Rewritten { body: "é".into() }, NoteEvent::Erased]);
}

#[test]
fn the_tome_domain_keeps_the_laws_and_may_be_large() {
    let rewritten = NoteEvent::Rewritten { body: "é".repeat(400_000) };
    laws::hold_for::<tome::Tome>(&[written(), rewritten, NoteEvent::Erased]);
    const { assert!(<tome::Tome as ledgerline_kernel::Domain>::LARGE_STATES) }
}

#[test]
#[should_panic(expected = "after Rewrite")]
fn another_event_than_the_expected_one_fails() {
    given::<Note>([written()]).when(rewrite("1 litre")).then([NoteEvent::Erased]);
}

#[test]
#[should_panic(expected = "after Rewrite")]
fn another_refusal_than_the_expected_one_fails() {
    given::<Note>([]).when(rewrite("")).then_refused(NoteRefusal::Erased);
}

#[test]
#[should_panic(expected = "after Rewrite")]
fn an_event_where_nothing_was_expected_fails() {
    given::<Note>([written()]).when(rewrite("1 litre")).then_nothing();
}

/// Breaks one law after the other: `skipped` is not stored, `ratio` is a float.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Broken {
    #[serde(skip)]
    skipped: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    ratio: Option<f64>,
    attributes: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Breach {
    None,
    NotStored,
    Float,
    NoAttributes,
}

impl Aggregate for Broken {
    type Command = Breach;
    type Event = Breach;
    type Error = NoteRefusal;

    fn decide(_: Option<&Self>, breach: &Breach, _: &DecisionContext) -> Result<Vec<Breach>, NoteRefusal> {
        Ok(vec![breach.clone()])
    }

    fn evolve(_: Option<Self>, breach: &Breach) -> Option<Self> {
        Some(Self {
            skipped: u32::from(*breach == Breach::NotStored),
            ratio: (*breach == Breach::Float).then_some(0.5),
            attributes: (*breach != Breach::NoAttributes).then(serde_json::Map::new),
        })
    }

    fn code(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        ""
    }

    fn is_deleted(&self) -> bool {
        false
    }
}

#[test]
fn an_aggregate_that_breaks_no_law_passes() {
    given::<Broken>([Breach::None]).when(Breach::None).then([Breach::None]);
}

#[test]
#[should_panic(expected = "a state must survive JSON")]
fn a_state_with_a_field_that_is_not_stored_fails() {
    given::<Broken>([]).when(Breach::NotStored).then([Breach::NotStored]);
}

#[test]
#[should_panic(expected = "a stored number is a whole number")]
fn a_state_with_a_float_fails() {
    given::<Broken>([]).when(Breach::Float).then([Breach::Float]);
}

#[test]
#[should_panic(expected = "an object `attributes`")]
fn a_state_without_attributes_fails_even_before_the_command() {
    drop(given::<Broken>([Breach::NoAttributes]));
}

#[tokio::test]
async fn a_writer_that_was_let_in_first_wins() {
    let ledger = MemoryLedger::default();
    let [one] = version_items(&note_key("n"), 1).try_into().unwrap();
    let rival = fork_of(&one);
    let first = rival.clone();
    ledger.before_next_commit(move |ledger| ledger.insert(first));
    assert_eq!(append(&ledger, &one).await, Err(CommitError::Occupied(Box::new(rival.clone()))));
    assert_eq!((ledger.all(), ledger.commits()), (vec![rival], 1));
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_is_stored_and_a_success_when_retried() {
    let ledger = MemoryLedger::default();
    let [one] = version_items(&note_key("n"), 1).try_into().unwrap();
    ledger.lose_next_answer();
    assert_eq!(append(&ledger, &one).await, Ok(()));
    assert_eq!(ledger.newest(&one.key).await, Ok(Some(one)));
}

#[tokio::test]
async fn an_append_that_was_made_to_fail_stores_nothing_and_the_next_one_works() {
    let ledger = MemoryLedger::default();
    let [one] = version_items(&note_key("n"), 1).try_into().unwrap();
    let down = StoreError::Unavailable { store: "the ledger", reason: "test".into() };
    ledger.fail_next_commit(down.clone().into());
    assert_eq!(append(&ledger, &one).await, Err(CommitError::Store(down)));
    assert_eq!(ledger.all(), []);
    assert_eq!(append(&ledger, &one).await, Ok(()));
}
