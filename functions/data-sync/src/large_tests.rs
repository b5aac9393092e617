//! Versions whose content is kept beside the ledger.

use ledgerline_app::LargeStates;
use ledgerline_kernel::Commit;
use ledgerline_kernel::ports::LedgerWrite as _;
use ledgerline_testkit::tome::Tome;
use ledgerline_testkit::{MemoryBlobs, MemoryLedger, large_version_items, noon};

use super::*;

struct World {
    registry: Registry,
    blobs: MemoryBlobs,
    states: LargeStates,
    stored: MemoryLedger,
}

fn world() -> World {
    let registry = Registry::default().with::<Note>().unwrap().with::<Tome>().unwrap();
    let blobs = MemoryBlobs::default();
    let states = LargeStates::new(registry.clone(), Arc::new(blobs.clone()));
    World { registry, blobs, states, stored: MemoryLedger::default() }
}

impl World {
    /// Writes this many versions of the tome `sk`, of 3 MB each, so that two are held at once: events
    /// and state have the text.
    async fn write(&self, sk: &str, versions: u64) {
        let ledger = self.states.over(self.stored.clone());
        for item in large_version_items(&format!("TOME#acme#{sk}").parse().unwrap(), versions, 1_500_000) {
            ledger.commit(&Commit::of(item), noon()).await.unwrap();
        }
    }

    /// What the stream tells of all that was written, numbered from 0.
    fn records(&self) -> Vec<Value> {
        let image = |item| serde_json::to_value(serde_dynamo::to_item::<_, serde_dynamo::Item>(item).unwrap()).unwrap();
        let images = self.stored.all().into_iter().map(image).enumerate();
        images.map(|(number, image)| record(&number.to_string(), &image)).collect()
    }

    async fn invoke(&self, sink: &Sink, records: &[Value]) -> Vec<String> {
        let projector = Projector::new(self.registry.clone(), vec![Arc::new(sink.clone())]);
        let quarantine = Arc::new(sink.quarantine.clone());
        let deps = Deps { large_states: self.states.clone(), ..Deps::new(projector, quarantine) };
        let event = RawValue::from_string(json!({"Records": records}).to_string()).unwrap();
        let response = service(deps).oneshot(LambdaEvent::new(event, Context::default())).await.unwrap();
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }
}

#[tokio::test]
async fn no_more_large_states_are_held_at_once_than_there_is_room_for() {
    let (world, sink) = (world(), Sink::default());
    for sk in ["a", "b", "c"] {
        world.write(sk, 1).await;
    }
    assert_eq!(world.invoke(&sink, &world.records()).await, Vec::<String>::new());
    assert_eq!(sink.rows(), rows(&[("a", 1), ("b", 1), ("c", 1)]));
    assert_eq!(*sink.batches.lock().unwrap(), 2);
}

#[tokio::test]
async fn what_a_read_model_refuses_of_an_entity_in_several_slices_gets_one_strike_a_delivery() {
    let (world, sink) = (world(), Sink::with(&[Trouble::Rejects("a")]));
    world.write("a", 3).await;
    for expected in [&["0", "1", "2"][..], &["0", "1", "2"], &[]] {
        assert_eq!(sink.quarantine.all(), []);
        assert_eq!(world.invoke(&sink, &world.records()).await, expected);
    }
    let held = sink.quarantine.list(&everything()).await.unwrap().remove(0);
    assert_eq!((held.version.unwrap().1.number(), held.attempts), (3, 3));
}

#[tokio::test]
async fn what_a_later_slice_makes_up_for_is_passed_over() {
    let (world, sink) = (world(), Sink::with(&[Trouble::RejectsVersion("a", 2)]));
    world.write("a", 3).await;
    assert_eq!(world.invoke(&sink, &world.records()).await, Vec::<String>::new());
    assert_eq!((sink.rows(), sink.quarantine.all()), (rows(&[("a", 3)]), vec![]));
}

#[tokio::test]
async fn while_their_store_is_away_large_states_are_asked_for_once_and_small_ones_do_not_wait() {
    let (world, sink) = (world(), Sink::default());
    world.write("a", 1).await;
    world.write("b", 1).await;
    world.blobs.set_away(true);
    let mut records = world.records();
    records.push(good("9", "z"));
    let asked = world.blobs.calls().1;
    for delivery in 1..=5 {
        assert_eq!(world.invoke(&sink, &records).await, ["0", "1"]);
        assert_eq!((sink.rows(), world.blobs.calls().1), (rows(&[("z", 1)]), asked + delivery));
    }
    world.blobs.set_away(false);
    assert_eq!(world.invoke(&sink, &records).await, Vec::<String>::new());
    assert_eq!(sink.rows(), rows(&[("z", 1), ("a", 1), ("b", 1)]));
}
