use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::*;
use crate::event_source::{InvokeError, SequenceNumber, StreamSource as _};

/// Remembers what it was invoked with: the sort keys, by partition key, and each invocation.
#[derive(Default)]
struct Memory {
    seen: Mutex<BTreeMap<String, Vec<u64>>>,
    invocations: Mutex<Vec<Vec<String>>>,
    poison: Option<u64>,
}

#[async_trait]
impl Invoke for Memory {
    async fn invoke(&self, _: &str, event: String) -> Result<String, InvokeError> {
        let event: Value = serde_json::from_str(&event).unwrap();
        let records = event["Records"].as_array().unwrap();
        let text = |record: &Value, key: &str| record["dynamodb"]["Keys"][key]["S"].as_str().unwrap().to_owned();
        let numbers: Vec<String> = records.iter().map(|record| text(record, "sk")).collect();
        self.invocations.lock().unwrap().push(numbers.clone());
        if numbers.iter().any(|number| self.poison == Some(number.parse().unwrap())) {
            return Err(InvokeError::Failed("poison".to_owned()));
        }
        let mut seen = self.seen.lock().unwrap();
        for record in records {
            seen.entry(text(record, "pk")).or_default().push(text(record, "sk").parse().unwrap());
        }
        Ok(r#"{"batchItemFailures":[]}"#.to_owned())
    }
}

impl Memory {
    fn distinct(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.seen.lock().unwrap().values().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether the records of each partition were first seen in their order.
    fn is_in_order(&self) -> bool {
        self.seen.lock().unwrap().values().all(|numbers| {
            let mut first = Vec::new();
            numbers.iter().for_each(|number| {
                if !first.contains(number) {
                    first.push(*number);
                }
            });
            first.is_sorted()
        })
    }
}

fn mapping(parallelization_factor: usize) -> Mapping {
    Mapping {
        parallelization_factor,
        batch_size: 7,
        maximum_retry_attempts: None,
        reports_item_failures: true,
        ..Mapping::new("Sync.Ledger", "sync")
    }
}

fn storm() -> Weather {
    Weather { refused: 0.2, unanswered: 0.2, delay: Duration::from_secs(3) }
}

fn put(simulation: &Simulation, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let image = json!({"pk": {"S": format!("p{}", number % 11)}, "sk": {"S": number.to_string()}});
        simulation.stream.put(&image, simulation.clock.now());
    }
}

#[tokio::test]
async fn in_a_storm_with_splits_and_crashes_everything_arrives_and_partitions_keep_their_order() {
    for seed in 0..20 {
        let simulation = Simulation::new(seed, mapping(1), 3, storm());
        let function = Arc::new(Memory::default());
        for round in 0..5 {
            put(&simulation, round * 60..(round + 1) * 60);
            let source = simulation.start(Arc::<Memory>::clone(&function)).await.unwrap();
            for _ in 0..fastrand::Rng::with_seed(seed + round).usize(1..60) {
                simulation.step().await;
            }
            source.kill().await;
            simulation.stream.split();
        }
        let source = simulation.start(Arc::<Memory>::clone(&function)).await.unwrap();
        simulation.settle(&source).await.unwrap();
        source.stop().await;
        assert_eq!(function.distinct(), (0..300).collect::<Vec<_>>(), "seed {seed}");
        assert!(function.is_in_order(), "seed {seed}");
        assert!(function.seen.lock().unwrap().values().flatten().count() > 300, "some came twice, seed {seed}");
    }
}

#[tokio::test]
async fn what_never_gets_there_fails_soon_and_says_with_which_seed() {
    let simulation = Simulation::new(11, mapping(1), 1, Weather { refused: 1.0, ..storm() });
    put(&simulation, 0..1);
    let source = simulation.start(Arc::new(Memory::default())).await.unwrap();
    let begun = simulation.clock.now();
    let hangs = simulation.settle(&source).await.unwrap_err().to_string();
    assert!(hangs.contains("seed 11"), "{hangs}");
    // Each move is a second or a little less here. A million of them took minutes.
    let waited = (simulation.clock.now() - begun).num_seconds();
    assert!((1_000..300_000).contains(&waited), "{waited} s by its clock");
    source.stop().await;
}

#[tokio::test]
async fn with_several_invocations_for_a_shard_items_of_one_partition_overtake_each_other() {
    let simulation = Simulation::new(3, mapping(10), 1, storm());
    let function = Arc::new(Memory::default());
    put(&simulation, 0..300);
    let source = simulation.start(Arc::<Memory>::clone(&function)).await.unwrap();
    simulation.settle(&source).await.unwrap();
    source.stop().await;
    assert_eq!(function.distinct(), (0..300).collect::<Vec<_>>());
    assert!(!function.is_in_order());
}

#[tokio::test]
async fn the_same_seed_leads_to_the_same_invocations() {
    let mut runs = Vec::new();
    for seed in [5, 5, 6] {
        let simulation = Simulation::new(seed, mapping(4), 2, storm());
        let function = Arc::new(Memory::default());
        put(&simulation, 0..100);
        let source = simulation.start(Arc::<Memory>::clone(&function)).await.unwrap();
        simulation.settle(&source).await.unwrap();
        source.stop().await;
        runs.push(function.invocations.lock().unwrap().clone());
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn what_was_trimmed_or_lost_never_comes_and_holds_up_nothing() {
    let simulation = Simulation::new(1, mapping(1), 2, Weather::default());
    put(&simulation, 0..50);
    simulation.clock.advance(Duration::from_secs(26 * 60 * 60));
    put(&simulation, 50..150);
    simulation.stream.trim(simulation.clock.now() - Duration::from_secs(24 * 60 * 60));
    let lost = simulation.stream.lose(0.2);
    let function = Arc::new(Memory::default());
    let source = simulation.start(Arc::<Memory>::clone(&function)).await.unwrap();
    simulation.settle(&source).await.unwrap();
    source.stop().await;
    let seen = function.distinct();
    assert!((1..100).contains(&lost) && seen.len() == 100 - lost && seen.iter().all(|number| *number >= 50));
}

#[tokio::test]
async fn a_maximum_age_gives_up_what_an_outage_made_too_old() {
    let settings = Mapping { maximum_record_age: Some(Duration::from_secs(3600)), ..mapping(1) };
    let simulation = Simulation::new(1, settings, 1, Weather::default());
    put(&simulation, 0..10);
    simulation.clock.advance(Duration::from_secs(3000));
    put(&simulation, 10..20);
    simulation.clock.advance(Duration::from_secs(1000));
    let function = Arc::new(Memory::default());
    let source = simulation.start(Arc::<Memory>::clone(&function)).await.unwrap();
    simulation.settle(&source).await.unwrap();
    source.stop().await;
    assert_eq!(function.distinct(), (10..20).collect::<Vec<_>>());
    let given_up: usize = simulation.failures.all().iter().map(|discarded| discarded.records.len()).sum();
    let message = simulation.failures.all()[0].message.clone();
    assert_eq!((given_up, &message["requestContext"]["condition"]), (10, &json!("RecordAgeExceeded")));
    assert!(message.get("responseContext").is_none(), "nothing was invoked: {message}");
}

#[tokio::test]
async fn a_reader_says_how_far_behind_a_mapping_is_and_what_holds_it_up() {
    let settings = Mapping { maximum_retry_attempts: Some(2), bisect: true, ..mapping(1) };
    let simulation = Simulation::new(1, settings, 1, Weather::default());
    put(&simulation, 0..10);
    simulation.clock.advance(Duration::from_secs(90));
    let function = Arc::new(Memory { poison: Some(4), ..Memory::default() });
    let source = simulation.start(Arc::<Memory>::clone(&function)).await.unwrap();
    let before = source.reader().read().await.unwrap();
    assert_eq!((before.records_behind, before.lag_seconds, before.position), (10, 90.0, None));
    simulation.settle(&source).await.unwrap();
    let after = source.reader().read().await.unwrap();
    assert_eq!((after.records_behind, after.lag_seconds, after.given_up, after.failure_depth), (0, 0.0, 1, 1));
    assert!(after.last_error.unwrap().contains("poison") && after.invocations > 4);
    assert_eq!(after.position.as_deref(), simulation.stream.records().last().map(|last| last.sequence_number.as_str()));
    source.stop().await;
}

#[tokio::test]
async fn the_position_of_several_shards_is_the_newest_by_value_however_many_digits_it_has() {
    let simulation = Simulation::new(1, mapping(1), 2, Weather::default());
    put(&simulation, 0..22);
    // One partition goes on, and with it one shard, to numbers of one digit more.
    (2..200).for_each(|turn| put(&simulation, turn * 11..turn * 11 + 1));
    let source = simulation.start(Arc::new(Memory::default())).await.unwrap();
    simulation.settle(&source).await.unwrap();
    let mut newest = BTreeSet::new();
    for shard in simulation.stream.shards().await.unwrap() {
        newest.extend(simulation.stream.newest(&shard.id).await.unwrap());
    }
    let digits: Vec<usize> = newest.iter().map(|number| number.as_str().len()).collect();
    assert_eq!(digits, [21, 22], "as texts they would be out of order");
    let status = source.reader().read().await.unwrap();
    assert_eq!(status.position.as_deref(), newest.last().map(SequenceNumber::as_str));
    source.stop().await;
}
