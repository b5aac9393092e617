//! A crash, or an error, at every single call of a port: each row ends once, and the counters are exact.

use super::frail::{FATES, Fate};
use super::*;

/// Of sixty products twenty are there: half of them as they are to be, half with another price.
const FILE_ROWS: u32 = 60;

fn file_of_all() -> String {
    csv(0..FILE_ROWS, |number| number).replace("R-33,Ring 33,33\n", "R-33,,33\n")
}

async fn world_with_some() -> World {
    let world = World::default();
    world.import(ImportMode::Upsert, &csv(0..20, |number| if number % 2 == 0 { number } else { 1000 })).await;
    world
}

async fn assert_accounted(world: &World, key: &ImportKey, what: &str) {
    let status = world.status(key).await;
    assert_eq!(status.job.state, ImportState::Completed, "{what}");
    assert_eq!(status.counts, counts(39, 10, 10, 1), "{what}");
    let versions = world.ledger.all().len();
    assert_eq!(versions, 20 + 39 + 10, "{what}: each row was applied once");
    assert_eq!(world.prices().len(), 59, "{what}");
    assert_eq!(world.failed(key).await, [(35, "VALIDATION_ERROR".to_owned())], "{what}");
}

#[tokio::test]
async fn a_worker_that_fails_or_dies_at_any_call_leaves_nothing_undone_and_nothing_done_twice() {
    for fate in FATES {
        let mut reached = 0;
        for call in 0.. {
            let world = world_with_some().await;
            let job = world.ask(ImportMode::Upsert).await;
            world.split(&job, &file_of_all(), 60).await;
            let [chunk] = world.messages().try_into().unwrap();
            let ports = Arc::new(Frail::over(&world).meets(call, fate));
            let worker = world.worker_on(&ports);
            let worked = ports.survive(worker.work(&chunk, &|| true)).await;
            if !ports.has_met() {
                reached = ports.calls();
                break;
            }
            assert_eq!(matches!(fate, Fate::DiesBefore | Fate::DiesAfter), worked.is_none(), "call {call}: {worked:?}");
            if !matches!(worked, Some(Ok(_))) {
                let again = world.work(&chunk).await;
                assert!(matches!(again, ChunkWorked::Done | ChunkWorked::Dropped), "call {call}: {again:?}");
            }
            assert_accounted(&world, &job.key, &format!("{fate:?} at call {call}")).await;
        }
        assert!(reached > 30, "{fate:?}: every one of {reached} calls was met");
    }
}

#[tokio::test]
async fn a_splitter_that_fails_or_dies_at_any_call_loses_no_row_and_no_message_is_one_too_many() {
    for fate in FATES {
        let mut reached = 0;
        for call in 0.. {
            let world = world_with_some().await;
            let job = world.ask(ImportMode::Upsert).await;
            let ports = Arc::new(Frail::over(&world).meets(call, fate));
            let split = ports.survive(world.split_on(&ports, &job, &file_of_all(), 7)).await;
            if !ports.has_met() {
                reached = ports.calls();
                break;
            }
            if !matches!(split, Some(Ok(_))) {
                world.split(&job, &file_of_all(), 7).await;
            }
            for chunk in world.messages() {
                world.work(&chunk).await;
            }
            assert_accounted(&world, &job.key, &format!("{fate:?} at call {call}")).await;
        }
        assert!(reached > 8, "{fate:?}: every one of {reached} calls was met");
    }
}
