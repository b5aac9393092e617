use ledgerline_kernel::ports::{Poison, Quarantine as _, STRIKES};
use ledgerline_kernel::{Version, VersionItem};
use ledgerline_testkit::MemoryQuarantine;
use serde_json::Value;

use super::*;
use crate::projector::tests::troubled::{DELTA, Step, Trouble, World};

use Step::{Made, Priced};

const TWO: [Step<'_>; 2] = [Made("Ideal", "1"), Priced("2")];

async fn quarantined(quarantine: &MemoryQuarantine, projection: &str, item: &VersionItem) {
    let version = Some((item.key.clone(), item.version));
    let poison =
        Poison { record: item.key.to_string(), version, error: "it does not fit".to_owned(), image: Value::Null };
    for _ in 0..STRIKES {
        quarantine.strike(projection, &poison).await.unwrap();
    }
}

fn redrive(world: &World, quarantine: &MemoryQuarantine) -> Redrive {
    Redrive::new(world.projector.clone(), Arc::new(world.ledger.clone()), Arc::new(quarantine.clone()))
}

fn healed(healed: usize, refused: usize, unknown: usize) -> Redriven {
    Redriven { healed, refused, unknown }
}

#[tokio::test]
async fn what_goes_through_now_is_quarantined_no_more_and_only_its_own_read_model_is_written() {
    let (world, quarantine) = (World::new(), MemoryQuarantine::default());
    let items = world.written(&[("a", &TWO), ("b", &TWO)]);
    quarantined(&quarantine, "table", &items[0][1]).await;
    quarantined(&quarantine, DELTA, &items[1][1]).await;
    assert_eq!(redrive(&world, &quarantine).redrive(None, None).await, Ok(healed(2, 0, 0)));
    assert_eq!(quarantine.all(), []);
    assert_eq!(world.versions(&world.table), [("a".to_owned(), 2)]);
    assert_eq!(world.versions(&world.views), []);
    assert_eq!(world.summary().await, [r#""Ideal" 1 1 2 2 2"#]);
}

#[tokio::test]
async fn what_is_still_refused_stays_and_holds_up_no_other() {
    let (world, quarantine) = (World::new(), MemoryQuarantine::default());
    let items = world.written(&[("a", &TWO), ("b", &TWO), ("c", &TWO)]);
    for item in &items {
        quarantined(&quarantine, "table", &item[1]).await;
    }
    world.table.set(Trouble::refusing(&["b"]));
    assert_eq!(redrive(&world, &quarantine).redrive(None, None).await, Ok(healed(2, 1, 0)));
    assert_eq!(quarantine.all().len(), 1);
    world.table.set(Trouble::default());
    assert_eq!(redrive(&world, &quarantine).redrive(None, None).await, Ok(healed(1, 0, 0)));
}

#[tokio::test]
async fn it_is_done_for_one_tenant_or_one_entity_if_that_is_asked_for() {
    let (world, quarantine) = (World::new(), MemoryQuarantine::default());
    let items = world.written(&[("a", &TWO), ("b", &TWO)]);
    quarantined(&quarantine, "table", &items[0][1]).await;
    quarantined(&quarantine, "table", &items[1][1]).await;
    let redrive = redrive(&world, &quarantine);
    let (acme, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
    assert_eq!(redrive.redrive(Some(&other), None).await, Ok(healed(0, 0, 0)));
    assert_eq!(redrive.redrive(Some(&other), Some(&items[0][0].key)).await, Ok(healed(0, 0, 0)));
    assert_eq!(redrive.redrive(Some(&acme), Some(&items[0][0].key)).await, Ok(healed(1, 0, 0)));
    assert_eq!(redrive.redrive(Some(&acme), None).await, Ok(healed(1, 0, 0)));
}

#[tokio::test]
async fn an_unreadable_record_is_made_up_for_by_what_the_ledger_says_of_its_entity() {
    let (world, quarantine) = (World::new(), MemoryQuarantine::default());
    let items = world.written(&[("a", &TWO)]).remove(0);
    quarantined(&quarantine, UNREADABLE, &items[0]).await;
    let nameless = Poison { record: "49000".to_owned(), version: None, error: String::new(), image: Value::Null };
    for _ in 0..STRIKES {
        quarantine.strike(UNREADABLE, &nameless).await.unwrap();
    }
    assert_eq!(redrive(&world, &quarantine).redrive(None, None).await, Ok(healed(1, 0, 1)));
    assert_eq!(world.versions(&world.table), world.versions(&world.views));
    assert_eq!(world.summary().await, [r#""Ideal" 1 1 2 2 2"#]);
}

#[tokio::test]
async fn what_the_ledger_has_altered_or_not_that_far_is_not_projected_and_what_it_has_not_at_all_is_released() {
    let (world, quarantine) = (World::new(), MemoryQuarantine::default());
    let absent = crate::projector::tests::troubled::history("absent", &TWO);
    quarantined(&quarantine, "table", &absent[1]).await;
    let mut altered = crate::projector::tests::troubled::history("altered", &TWO).remove(0);
    altered.state["attributes"]["price"] = "1000".into();
    world.ledger.store.insert(altered.clone());
    quarantined(&quarantine, UNREADABLE, &altered).await;
    let ahead = VersionItem { version: Version::new(9).unwrap(), ..world.written(&[("b", &TWO)])[0][1].clone() };
    quarantined(&quarantine, "table", &ahead).await;
    assert_eq!(redrive(&world, &quarantine).redrive(None, None).await, Ok(healed(1, 1, 1)));
    assert_eq!((quarantine.all().len(), world.versions(&world.table).len()), (2, 0));
}

#[tokio::test]
async fn a_store_that_is_away_ends_it_and_nothing_is_forgotten() {
    let (world, quarantine) = (World::new(), MemoryQuarantine::default());
    let items = world.written(&[("a", &TWO)]).remove(0);
    quarantined(&quarantine, "table", &items[1]).await;
    world.table.set(Trouble { is_away: true, ..Trouble::default() });
    assert!(matches!(redrive(&world, &quarantine).redrive(None, None).await, Err(StoreError::Unavailable { .. })));
    assert_eq!(quarantine.all().len(), 1);
}

#[tokio::test]
async fn more_than_a_page_is_redriven_and_each_counted_once() {
    let (world, quarantine) = (World::new(), MemoryQuarantine::default());
    let sks: Vec<String> = (0..250).map(|number| format!("p{number}")).collect();
    let histories: Vec<(&str, &[Step<'_>])> = sks.iter().map(|sk| (sk.as_str(), &TWO[..])).collect();
    for items in world.written(&histories) {
        quarantined(&quarantine, "views", &items[1]).await;
    }
    world.views.set(Trouble::refusing(&["p7", "p249"]));
    assert_eq!(redrive(&world, &quarantine).redrive(None, None).await, Ok(healed(248, 2, 0)));
}

#[tokio::test]
async fn a_redrive_moves_the_position_of_no_other_entity() {
    let (world, quarantine) = (World::new(), MemoryQuarantine::default());
    let items = world.written(&[("a", &TWO), ("b", &TWO)]);
    world.projector.apply(&items[1][..1]).await.unwrap();
    quarantined(&quarantine, DELTA, &items[0][1]).await;
    redrive(&world, &quarantine).redrive(None, None).await.unwrap();
    assert_eq!(world.summary().await, [r#""Ideal" 2 2 3 1 2"#], "b is where its own records have brought it");
    world.projector.apply(&items[1]).await.unwrap();
    assert_eq!(world.summary().await, [r#""Ideal" 2 2 4 2 2"#]);
}
