//! Deliveries: again, late, twice at once, in the wrong order, or never.

use ledgerline_kernel::Action;
use ledgerline_kernel::ports::{CommitError, ImportJobs};
use ledgerline_testkit::next_version;
use serde_json::json;

use super::scheduler::{Dice, Task, alone, interleaved};
use super::*;
use crate::projector::tests::troubled::{Trouble, Troubled};

/// An import whose messages have been sent.
async fn split(world: &World, csv: &str, rows: usize) -> (ImportKey, Vec<Chunk>) {
    let job = world.ask(ImportMode::Upsert).await;
    assert_eq!(world.split(&job, csv, rows).await, Split::Done(ImportState::Running));
    (job.key, world.messages())
}

#[tokio::test]
async fn a_message_that_comes_again_changes_nothing() {
    let world = World::default();
    let (key, chunks) = split(&world, &csv(0..120, |number| number), 60).await;
    for _ in 0..3 {
        for chunk in &chunks {
            world.work(chunk).await;
        }
    }
    let before = (world.ledger.all(), world.ledger.outcomes_of_all());
    assert_eq!(world.status(&key).await.counts, counts(120, 0, 0, 0));
    assert_eq!(before.0.len(), 120);
    assert_eq!(world.work(&chunks[0]).await, ChunkWorked::Dropped, "it has come to its end");
    assert!(before == (world.ledger.all(), world.ledger.outcomes_of_all()));
}

#[tokio::test]
async fn a_row_that_somebody_changed_between_two_deliveries_is_not_applied_again() {
    let world = World::default();
    let (key, chunks) = split(&world, &csv(0..60, |number| number), 60).await;
    let ports = Arc::new(Frail::over(&world).meets(5, frail::Fate::DiesAfter));
    let worker = world.worker_on(&ports);
    assert!(ports.survive(worker.work(&chunks[0], &|| true)).await.is_none());
    let ring = world.by_code("R-1");
    let changed = next_version(
        registry().by_resource("products").unwrap().as_ref(),
        &ring.key,
        Some(&ring),
        (Action::Update, r#"{"attributes": {"price": "77"}}"#),
        world.environment.now(),
    );
    world.ledger.insert(changed.unwrap());
    assert_eq!(world.work(&chunks[0]).await, ChunkWorked::Done);
    assert_eq!(world.status(&key).await.counts, counts(60, 0, 0, 0));
    assert_eq!(world.prices()[1], ("R-1".to_owned(), json!("77")), "shown, and not undone");
}

#[tokio::test]
async fn a_message_of_an_import_that_there_is_not_is_dropped() {
    let world = World::default();
    let (_, chunks) = split(&world, &csv(0..3, |number| number), 60).await;
    let other_tenant = Chunk { tenant: "other".parse().unwrap(), ..chunks[0].clone() };
    let other_import = Chunk { import: "no id".to_owned(), ..chunks[0].clone() };
    for chunk in [other_tenant, other_import] {
        assert_eq!(world.work(&chunk).await, ChunkWorked::Dropped);
    }
    assert_eq!(world.ledger.all().len(), 0);
}

#[tokio::test]
async fn a_cancelled_import_takes_no_more_parts_and_keeps_what_it_has() {
    let world = World::default();
    let (key, chunks) = split(&world, &csv(0..200, |number| number), 100).await;
    let cancelling = world.clone();
    let job = key.clone();
    world.ledger.before_next_commit(move |_| {
        assert!(alone(cancelling.imports().cancel(&job)).is_ok());
    });
    assert_eq!(world.work(&chunks[0]).await, ChunkWorked::Dropped);
    assert_eq!(world.work(&chunks[1]).await, ChunkWorked::Dropped);
    let status = world.status(&key).await;
    assert_eq!((status.job.state, status.counts), (ImportState::Cancelled, counts(49, 0, 0, 0)));
    assert_eq!(world.prices().len(), 49, "the part that was under way, shown");
}

#[tokio::test]
async fn a_worker_without_time_gives_the_rest_back() {
    let world = World::default();
    let (key, chunks) = split(&world, &csv(0..120, |number| number), 120).await;
    let one_part = || world.ledger.outcomes_of_all().is_empty();
    assert_eq!(world.worker().work(&chunks[0], &one_part).await, Ok(ChunkWorked::OutOfTime));
    let status = world.status(&key).await;
    assert_eq!((status.job.state, status.counts.total()), (ImportState::Running, 49));
    assert_eq!(world.prices().len(), 49);
    assert_eq!(world.work(&chunks[0]).await, ChunkWorked::Done);
    assert_eq!(world.status(&key).await.counts, counts(120, 0, 0, 0));
}

#[tokio::test]
async fn an_import_is_not_completed_before_the_read_models_show_it() {
    let world = World::default();
    let (key, chunks) = split(&world, &csv(0..60, |number| number), 60).await;
    let sink = Troubled::<MemoryEntities>::named("away");
    sink.set(Trouble { is_away: true, ..Trouble::default() });
    let ports = world.ports();
    let projector = Projector::new(registry(), vec![ports.clone(), Arc::new(sink.clone())]);
    let parts = (registry(), projector);
    let commands = Commands::new(ports.clone(), world.environment.clone());
    let worker =
        ImportWorker::new(commands, (ports.clone(), ports.clone()), ports.clone(), parts, world.environment.clone());
    assert!(worker.work(&chunks[0], &|| true).await.is_err());
    let status = world.status(&key).await;
    assert_eq!((status.job.state, status.counts.total()), (ImportState::Running, 60));
    sink.set(Trouble::default());
    let commits = world.ledger.commits();
    assert_eq!(worker.work(&chunks[0], &|| true).await, Ok(ChunkWorked::Done));
    assert_eq!(world.ledger.commits(), commits, "it was written before");
    assert_eq!((sink.store.all().len(), world.status(&key).await.job.state), (60, ImportState::Completed));
}

#[tokio::test]
async fn what_a_read_model_never_takes_holds_up_no_import() {
    let world = World::default();
    let (key, chunks) = split(&world, "sk,code,name\na,A,A\nb,B,B\n", 60).await;
    let sink = Troubled::<MemoryEntities>::named("picky");
    sink.set(Trouble::refusing(&["a"]));
    let ports = world.ports();
    let parts = (registry(), Projector::new(registry(), vec![Arc::new(sink.clone())]));
    let commands = Commands::new(ports.clone(), world.environment.clone());
    let worker =
        ImportWorker::new(commands, (ports.clone(), ports.clone()), ports.clone(), parts, world.environment.clone());
    assert_eq!(worker.work(&chunks[0], &|| true).await, Ok(ChunkWorked::Done));
    assert_eq!((sink.store.all().len(), world.status(&key).await.job.state), (1, ImportState::Completed));
}

#[tokio::test]
async fn a_part_that_others_keep_in_the_way_of_is_given_back() {
    let world = World::default();
    let (key, chunks) = split(&world, &csv(0..60, |number| number), 60).await;
    for _ in 0..6 {
        world.ledger.fail_next_commit(CommitError::Contended);
    }
    assert!(world.worker().work(&chunks[0], &|| true).await.is_err());
    assert_eq!(world.ledger.outcomes_of_all(), []);
    world.ledger.fail_next_commit(CommitError::Contended);
    assert_eq!(world.work(&chunks[0]).await, ChunkWorked::Done);
    assert_eq!(world.status(&key).await.counts, counts(60, 0, 0, 0));
}

#[tokio::test]
async fn a_part_whose_answer_was_lost_is_written_once() {
    let world = World::default();
    let (key, chunks) = split(&world, &csv(0..120, |number| number), 120).await;
    for _ in 0..3 {
        world.ledger.lose_next_answer();
    }
    assert_eq!(world.work(&chunks[0]).await, ChunkWorked::Done);
    assert_eq!((world.ledger.all().len(), world.status(&key).await.counts), (120, counts(120, 0, 0, 0)));
}

/// Whoever is the last to do something completes it; nobody has to ask.
#[test]
fn the_last_worker_completes_the_import_in_whatever_order_messages_come() {
    for seed in 0..20 {
        let mut dice = Dice::of(seed);
        let world = World::default();
        let (key, mut chunks) = alone(split(&world, &csv(0..90, |number| number), 30));
        while !chunks.is_empty() {
            let chunk = chunks.swap_remove(dice.below(chunks.len()));
            alone(world.work(&chunk));
        }
        let job = alone(ImportJobs::get(&world.ledger, &key)).unwrap().unwrap();
        assert_eq!((job.state, job.counts), (ImportState::Completed, Some(counts(90, 0, 0, 0))), "{seed}");
    }
}

/// Several workers, each message now and then twice, and twice at once: each row once, counters exact.
#[test]
fn messages_that_are_delivered_twice_and_at_once_count_once() {
    for seed in 0..40 {
        let mut dice = Dice::of(seed);
        let world = World::default();
        // Some are there already.
        alone(world.import(ImportMode::Upsert, &csv(0..40, |number| number % 2)));
        let file = csv(0..160, |number| number.min(100) % 2).replace("R-150,Ring 150,", "R-150,Ring 150,x");
        let (key, chunks) = alone(split(&world, &file, 40));
        let mut deliveries: Vec<&Chunk> = chunks.iter().collect();
        deliveries.extend(chunks.iter().filter(|_| dice.below(5) == 0));
        deliveries.push(&chunks[dice.below(4)]);
        let workers: Vec<Task<'_, _>> =
            deliveries.into_iter().map(|chunk| Box::pin(world.work(chunk)) as Task<'_, _>).collect();
        interleaved(&mut dice, workers);
        let status = alone(world.status(&key));
        assert_eq!(status.job.state, ImportState::Completed, "{seed}");
        assert_eq!(status.counts, counts(119, 0, 40, 1), "{seed}");
        assert_eq!((world.ledger.all().len(), world.prices().len()), (159, 159), "{seed}");
    }
}
