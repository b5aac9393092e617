use ledgerline_kernel::ports::EntityRead;
use ledgerline_kernel::{Entity, EntityKey, VersionItem};
use ledgerline_testkit::note::Note;
use ledgerline_testkit::{MemoryEntities, MemoryLedger, fork_of, note_key, version_items};

use super::*;
use crate::reproject;

#[path = "projector/conformance.rs"]
mod conformance;
#[path = "projector/delta_tests.rs"]
mod deltas_keep_up;
#[path = "projector/isolation_tests.rs"]
mod isolation;
#[path = "projector/troubled.rs"]
pub(crate) mod troubled;

fn projector(rows: &MemoryEntities) -> Projector {
    Projector::new(Registry::default().with::<Note>().unwrap(), vec![Arc::new(rows.clone())])
}

async fn row(rows: &MemoryEntities, key: &EntityKey) -> Option<Entity> {
    rows.get(key).await.unwrap()
}

#[tokio::test]
async fn the_newest_version_of_each_entity_wins_within_a_batch() {
    let rows = MemoryEntities::default();
    let (a, b) = (version_items(&note_key("a"), 3), version_items(&note_key("b"), 2));
    let batch = [a[2].clone(), b[0].clone(), a[0].clone(), b[1].clone(), a[1].clone()];
    let report = projector(&rows).apply(&batch).await.unwrap();
    assert_eq!((report.written, report.unchanged), (2, 0));
    assert_eq!(row(&rows, &note_key("a")).await, Some(Entity::from(&a[2])));
    assert_eq!(row(&rows, &note_key("b")).await, Some(Entity::from(&b[1])));
}

#[tokio::test]
async fn a_latecomer_and_a_duplicate_change_nothing() {
    let rows = MemoryEntities::default();
    let items = version_items(&note_key("a"), 3);
    let projector = projector(&rows);
    projector.apply(&items[2..]).await.unwrap();
    for late in &items {
        let report = projector.apply(std::slice::from_ref(late)).await.unwrap();
        assert_eq!((report.written, report.unchanged), (0, 1));
    }
    assert_eq!(row(&rows, &note_key("a")).await, Some(Entity::from(&items[2])));
}

#[tokio::test]
async fn a_fork_is_reported_and_never_written() {
    let rows = MemoryEntities::default();
    let item = version_items(&note_key("a"), 1).remove(0);
    let projector = projector(&rows);
    projector.apply(std::slice::from_ref(&item)).await.unwrap();
    let report = projector.apply(&[fork_of(&item)]).await.unwrap();
    assert_eq!((report.written, report.forks), (0, vec![note_key("a")]));
    assert_eq!(row(&rows, &note_key("a")).await, Some(Entity::from(&item)));
}

#[tokio::test]
async fn a_fork_within_one_batch_is_reported_too() {
    let rows = MemoryEntities::default();
    let item = version_items(&note_key("a"), 1).remove(0);
    let report = projector(&rows).apply(&[item.clone(), fork_of(&item), item.clone()]).await.unwrap();
    assert_eq!(report.forks, [note_key("a")]);
    assert_eq!(row(&rows, &note_key("a")).await, Some(Entity::from(&item)));
}

#[tokio::test]
async fn an_item_of_an_unknown_type_or_event_or_content_is_told_apart_before_the_batch() {
    let rows = MemoryEntities::default();
    let projector = projector(&rows);
    let good = version_items(&note_key("a"), 1).remove(0);
    assert_eq!(projector.verify(&good), Ok(()));
    let mut unknown_event = good.clone();
    unknown_event.events[0].name = "Shredded".into();
    assert!(matches!(projector.check(&unknown_event), Err(BadRecord::Corrupt(_))));
    assert!(matches!(projector.verify(&unknown_event), Err(BadRecord::Altered(_))));
    unknown_event.hash = unknown_event.computed_hash().unwrap();
    assert!(matches!(projector.verify(&unknown_event), Err(BadRecord::Corrupt(_))));
    let unknown_type = VersionItem { key: "CHAT#acme#a".parse().unwrap(), ..good };
    assert!(matches!(projector.check(&unknown_type), Err(BadRecord::UnknownType(_))));
}

#[tokio::test]
async fn projecting_it_all_again_reads_the_whole_ledger_and_names_what_it_cannot_take() {
    let rows = MemoryEntities::default();
    let ledger = MemoryLedger::default();
    for number in 0..40 {
        for item in version_items(&note_key(&format!("n{number}")), 2) {
            ledger.insert(item);
        }
    }
    let mut bad = version_items(&note_key("bad"), 1).remove(0);
    bad.events[0].name = "Shredded".into();
    ledger.insert(bad);
    let mut seen = Vec::new();
    let done = reproject(&ledger, &projector(&rows), |scanned| seen.push(scanned)).await.unwrap();
    assert_eq!((done.scanned, done.bad.len(), rows.all().len()), (81, 1, 40));
    assert!(rows.all().iter().all(|row| row.version.number() == 2));
    assert_eq!(seen.last(), Some(&81));
}
