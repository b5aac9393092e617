use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

fn number(number: u64) -> SequenceNumber {
    SequenceNumber::parse(&number.to_string()).unwrap()
}

fn record(place: u64, item: &str) -> Record {
    Record { sequence_number: number(place), item: item.to_owned(), created: now(), json: "{}".to_owned() }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn mapping(parallelization_factor: usize) -> Mapping {
    Mapping { parallelization_factor, batch_size: 4, ..Mapping::new("m", "f") }
}

fn places(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.sequence_number.as_str().parse().unwrap()).collect()
}

#[test]
fn one_lane_keeps_the_order_of_the_shard_and_has_one_batch_at_a_time() {
    let mapping = mapping(1);
    let mut backlog = Backlog::new(&mapping, None);
    backlog.take_in((1..=6).map(|place| record(place, &place.to_string())).collect(), &mapping, now());
    let (lane, batch) = backlog.due(&mapping, now()).unwrap();
    assert_eq!((places(&batch), backlog.due(&mapping, now())), (vec![1, 2, 3, 4], None));
    backlog.done(&[number(1), number(2)]);
    assert_eq!(backlog.checkpoint(), Some(&number(2)));
    backlog.done(&[number(3), number(4)]);
    backlog.free(lane);
    assert_eq!(places(&backlog.due(&mapping, now()).unwrap().1), [5, 6]);
}

#[test]
fn records_of_one_item_are_in_one_lane_in_order_and_others_are_delivered_at_the_same_time() {
    let mapping = mapping(10);
    let mut backlog = Backlog::new(&mapping, None);
    let items = ["a", "b", "c", "d", "e", "f"];
    let records = (0..60).map(|place| record(place, items[usize::try_from(place).unwrap() % items.len()]));
    backlog.take_in(records.collect(), &mapping, now());
    let (mut lanes, mut seen) = (BTreeSet::new(), BTreeMap::<String, Vec<u64>>::new());
    while !backlog.is_empty() {
        let due: Vec<_> = std::iter::from_fn(|| backlog.due(&mapping, now())).collect();
        lanes.insert(due.len());
        let in_flight: Vec<_> = due.iter().map(|(_, batch)| items_of(batch)).collect();
        for (place, items) in in_flight.iter().enumerate() {
            assert!(in_flight[..place].iter().all(|others| others.is_disjoint(items)));
        }
        for (lane, batch) in due {
            for record in &batch {
                seen.entry(record.item.clone()).or_default().extend(places(std::slice::from_ref(record)));
                backlog.done(std::slice::from_ref(&record.sequence_number));
            }
            backlog.free(lane);
        }
    }
    assert!(lanes.iter().any(|lanes| *lanes > 1), "several at a time");
    assert!(seen.len() == items.len() && seen.values().all(|places| places.len() == 10 && places.is_sorted()));
}

fn items_of(batch: &[Record]) -> BTreeSet<String> {
    batch.iter().map(|record| record.item.clone()).collect()
}

#[test]
fn the_checkpoint_stays_before_the_first_record_that_is_not_done_whichever_lane_has_it() {
    let mapping = mapping(1);
    let mut backlog = Backlog::new(&mapping, Some(number(7)));
    backlog.take_in((8..=11).map(|place| record(place, "a")).collect(), &mapping, now());
    backlog.done(&[number(9), number(11)]);
    assert_eq!(backlog.checkpoint(), Some(&number(7)));
    backlog.done(&[number(8)]);
    assert_eq!((backlog.checkpoint(), backlog.is_empty()), (Some(&number(9)), false));
    backlog.done(&[number(10)]);
    assert_eq!((backlog.checkpoint(), backlog.is_empty()), (Some(&number(11)), true));
}

#[test]
fn a_batch_waits_for_its_window_unless_it_is_full() {
    let mapping = Mapping { window: Duration::from_secs(10), ..mapping(1) };
    let mut backlog = Backlog::new(&mapping, None);
    backlog.take_in((1..=3).map(|place| record(place, "a")).collect(), &mapping, now());
    assert_eq!(backlog.due(&mapping, now() + Duration::from_secs(9)), None);
    backlog.take_in(vec![record(4, "a")], &mapping, now() + Duration::from_secs(9));
    let (lane, batch) = backlog.due(&mapping, now() + Duration::from_secs(9)).unwrap();
    assert_eq!(places(&batch), [1, 2, 3, 4]);
    backlog.free(lane);
    backlog.take_in(vec![record(5, "a")], &mapping, now() + Duration::from_secs(9));
    assert!(backlog.due(&mapping, now() + Duration::from_secs(18)).is_none());
    assert!(backlog.due(&mapping, now() + Duration::from_secs(19)).is_some());
}

#[test]
fn a_batch_is_never_more_than_lambda_takes() {
    let mapping = Mapping { batch_size: 100, ..mapping(1) };
    let mut backlog = Backlog::new(&mapping, None);
    let large = |place| Record { json: "x".repeat(390_000), ..record(place, "a") };
    backlog.take_in((1..=20).map(large).collect(), &mapping, now());
    let (_, batch) = backlog.due(&mapping, now()).unwrap();
    let bytes: usize = batch.iter().map(|record| record.json.len() + 1).sum();
    assert!((10..20).contains(&batch.len()) && bytes < PAYLOAD_LIMIT, "{} records", batch.len());
}
