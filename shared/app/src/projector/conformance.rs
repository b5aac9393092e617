//! What MBC CQRS Serverless promises of its projection, case by case (44 to 54, and the gaps 104,
//! 105, 106 and 111), and where this differs on purpose.
//!
//! There, every version is a workflow of its own that checks its predecessor, waits for it if need be,
//! and then copies. Here a version's message is a doorbell: whatever it brings, the projector goes from
//! what a read model has to what the ledger has. So there is nothing to check, to wait for or to get
//! stuck on, and each case is about the rows that it leads to.

use ledgerline_kernel::ports::StateSink;

use super::troubled::{DELTA, Step, Trouble, World, history};
use super::*;

use Step::{Deleted, Made, Priced, Restored};

const FOUR: [Step<'_>; 4] = [Made("Ideal", "1"), Priced("2"), Deleted, Restored];

async fn after(world: &World, items: &[VersionItem]) -> (Vec<(String, u64)>, Vec<String>) {
    world.projector.apply(items).await.unwrap();
    assert_eq!(world.versions(&world.table), world.versions(&world.views));
    (world.versions(&world.table), world.summary().await)
}

fn standing(sk: &str, version: u64) -> Vec<(String, u64)> {
    vec![(sk.to_owned(), version)]
}

#[tokio::test]
async fn case_44_the_next_version_proceeds() {
    let world = World::new();
    let items = world.written(&[("p", &FOUR)]).remove(0);
    for (item, version) in items.iter().zip(1..) {
        assert_eq!(after(&world, std::slice::from_ref(item)).await.0, standing("p", version));
    }
    assert_eq!(world.ledger.calls(), 0, "nothing had to be looked up");
}

/// MBC waits for the predecessor's workflow to finish. Here nobody waits: a row of states needs no
/// predecessor, and a sum pulls what is missing.
#[tokio::test]
async fn case_45_a_gap_is_closed_at_once_instead_of_waited_for() {
    let world = World::new();
    let items = world.written(&[("p", &FOUR)]).remove(0);
    after(&world, &items[..1]).await;
    assert_eq!(after(&world, &items[3..]).await, (standing("p", 4), vec![r#""Ideal" 1 1 2 2 2"#.to_owned()]));
}

/// MBC fails the workflow and raises an alarm. Deliveries are at least once and in any order, so here
/// a latecomer is nothing special: it changes nothing.
#[tokio::test]
async fn case_46_a_stale_version_changes_nothing_and_alarms_nobody() {
    let world = World::new();
    let items = world.written(&[("p", &FOUR)]).remove(0);
    let expected = after(&world, &items).await;
    for item in &items {
        let projection = world.projector.project(std::slice::from_ref(item), &|| true).await;
        assert!(projection.read_models.iter().all(|report| (report.written, report.unchanged) == (0, 1)));
        assert_eq!(after(&world, std::slice::from_ref(item)).await, expected);
    }
}

/// MBC copies the old row to a history table before it overwrites it. Here the ledger is the history:
/// every version was there before any read model heard of it, and none is ever changed.
#[tokio::test]
async fn case_47_history_is_there_before_the_rows_are() {
    let world = World::new();
    let items = world.written(&[("p", &FOUR)]).remove(0);
    world.table.set(Trouble { is_away: true, ..Trouble::default() });
    world.projector.project(&items, &|| true).await;
    let history = world.ledger.history(&items[0].key, None, 10).await.unwrap();
    assert_eq!(history.into_iter().rev().collect::<Vec<_>>(), items);
}

#[tokio::test]
async fn case_48_every_read_model_is_called_once_for_a_version() {
    let world = World::new();
    let items = world.written(&[("p", &FOUR[..1])]).remove(0);
    after(&world, &items).await;
    assert_eq!((world.table.calls(), world.views.calls(), world.deltas.calls()), (1, 1, 1));
}

/// Of an unknown type or event: told apart before the batch, and quarantined by `data-sync`, which
/// logs it as an error; an alarm of the template counts these.
#[tokio::test]
async fn case_49_what_nobody_handles_is_an_error_and_not_skipped_in_silence() {
    let world = World::new();
    let mut item = history("p", &FOUR[..1]).remove(0);
    item.events[0].name = "Teleported".to_owned();
    assert!(matches!(world.projector.check(&item), Err(BadRecord::Corrupt(_))));
    item.key = "CHAT#acme#p".parse().unwrap();
    assert!(matches!(world.projector.check(&item), Err(BadRecord::UnknownType(_))));
}

#[tokio::test]
async fn case_50_a_version_is_routed_to_its_own_domain_only() {
    use ledgerline_testkit::{note::Note, note_key, version_items};
    let world = World::new();
    let registry = Registry::shipped().unwrap().with::<Note>().unwrap();
    let sinks: Vec<Arc<dyn StateSink>> = vec![Arc::new(world.table.clone())];
    let projector =
        Projector::new(registry, sinks).with_deltas(Arc::new(world.ledger.clone()), Arc::new(world.deltas.clone()));
    let notes = version_items(&note_key("n"), 2);
    let projection = projector.project(&notes, &|| true).await;
    assert_eq!(projection.read_models.len(), 1, "notes have no delta projection");
    assert_eq!((world.deltas.calls(), world.summary().await), (0, Vec::new()));
    let mixed: Vec<VersionItem> = notes.into_iter().chain(history("p", &FOUR)).collect();
    projector.apply(&mixed).await.unwrap();
    assert_eq!(world.summary().await, [r#""Ideal" 1 1 2 2 2"#]);
}

#[tokio::test]
async fn case_51_who_made_an_entity_stays_and_who_changed_it_last_is_replaced() {
    use ledgerline_testkit::{MemoryEntities, note_key, version_items};
    let rows = MemoryEntities::default();
    let items = version_items(&note_key("n"), 3);
    projector(&rows).apply(&items).await.unwrap();
    let row = row(&rows, &note_key("n")).await.unwrap();
    assert_eq!((&row.created, &row.updated), (&items[0].created, &items[2].updated));
    assert_ne!(row.created.at, row.updated.at);
}

#[tokio::test]
async fn case_52_a_delete_arrives_everywhere_as_a_version_of_its_own() {
    let world = World::new();
    let items = world.written(&[("p", &FOUR)]).remove(0);
    after(&world, &items[..3]).await;
    assert!(world.table.store.all()[0].is_deleted);
    assert_eq!(world.summary().await, Vec::<String>::new());
    after(&world, &items[3..]).await;
    assert!(!world.table.store.all()[0].is_deleted);
}

/// MBC names a workflow after the keys and drops names of more than 80 characters. Here there are no
/// workflows to name: an entity's key is its whole identity, at whatever length.
#[tokio::test]
async fn case_53_keys_of_every_length_that_there_can_be_are_projected() {
    let world = World::new();
    for length in [1, 79, 80, 81, 128] {
        let sk = "鍵".repeat(length);
        let items = history(&sk, &FOUR[..1]);
        world.projector.apply(&items).await.unwrap();
        assert!(world.versions(&world.table).contains(&(sk, 1)), "{length}");
    }
}

#[tokio::test]
async fn case_54_a_version_without_any_predecessor_in_the_read_model_proceeds() {
    let world = World::new();
    let items = world.written(&[("p", &FOUR)]).remove(0);
    assert_eq!(after(&world, &items[3..]).await, (standing("p", 4), vec![r#""Ideal" 1 1 2 2 2"#.to_owned()]));
}

/// The stall that MBC has published: a successor asks for its predecessor just as that one ends, and
/// waits for ever. Here the two may interleave as they like.
#[tokio::test]
async fn case_104_a_predecessor_that_ends_at_any_instant_stalls_nobody() {
    for first in 0..4 {
        for second in 0..4 {
            let world = World::new();
            let items = world.written(&[("p", &FOUR)]).remove(0);
            let both = [first, second].map(|index| world.projector.apply(std::slice::from_ref(&items[index])));
            let both = futures::future::join_all(both).await;
            assert!(both.iter().all(Result::is_ok), "{both:?}");
            let newest = items[first].version.max(items[second].version).number();
            assert_eq!(world.versions(&world.table), standing("p", newest), "{first} and {second}");
            assert_eq!(after(&world, &items[3..]).await.0, standing("p", 4));
        }
    }
}

/// MBC's synchronous publish writes three stores one after the other and wedges the entity when it
/// dies in between. Here a death between any two read models is made up for by the next delivery.
#[tokio::test]
async fn case_105_a_death_between_any_two_writes_is_made_up_for() {
    for calls in 0..3 {
        let world = World::new();
        let items = world.written(&[("p", &FOUR)]).remove(0);
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let until = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < calls;
        world.projector.project(&items, &until).await;
        assert_eq!(after(&world, &items).await, (standing("p", 4), vec![r#""Ideal" 1 1 2 2 2"#.to_owned()]), "{calls}");
    }
}

#[tokio::test]
async fn case_106_repeated_and_reordered_deliveries_never_take_a_row_back() {
    let world = World::new();
    let items = world.written(&[("p", &FOUR)]).remove(0);
    let mut newest = 0;
    for index in [1, 0, 1, 3, 2, 0, 3, 1] {
        newest = items[index].version.number().max(newest);
        assert_eq!(after(&world, std::slice::from_ref(&items[index])).await.0, standing("p", newest));
    }
    assert_eq!(world.summary().await, [r#""Ideal" 1 1 2 2 2"#]);
}

#[tokio::test]
async fn case_111_poison_stops_its_own_entity_in_its_own_read_model_and_nothing_else() {
    let world = World::new();
    let items: Vec<VersionItem> =
        world.written(&[("a", &FOUR), ("b", &FOUR), ("c", &FOUR)]).into_iter().flatten().collect();
    world.deltas.set(Trouble::refusing(&["b"]));
    let projection = world.projector.project(&items, &|| true).await;
    let refused: Vec<_> = projection.read_models.iter().flat_map(|report| &report.refused).collect();
    assert_eq!(refused.iter().map(|refused| refused.key.sk.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(world.versions(&world.table).len(), 3);
    assert_eq!(world.summary().await, [r#""Ideal" 2 2 4 2 2"#]);
    world.deltas.set(Trouble::default());
    world.projector.project_into(DELTA, &items).await.complete().unwrap();
    assert_eq!(world.summary().await, [r#""Ideal" 3 3 6 2 2"#]);
}
