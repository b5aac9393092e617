use std::collections::{HashMap, HashSet};

use super::*;

const RECEIVE: Receive = Receive { max: 10, hidden_for: 30_000, max_receive_count: None };

fn held(group: Option<&str>, body: &str) -> Held {
    let message = Message {
        message_id: body.to_owned(),
        body: body.to_owned(),
        body_md5: String::new(),
        receipt_handle: None,
        all_receipt_handles: Vec::new(),
        sender_id: String::new(),
        sent_timestamp: 0,
        approximate_first_receive_timestamp: None,
        approximate_receive_count: 0,
        visible_at: 0,
        message_attributes: HashMap::new(),
    };
    Held { message, group: group.map(str::to_owned), source: None }
}

fn queue(messages: impl IntoIterator<Item = Held>) -> FairQueue {
    let mut queue = FairQueue::new(7);
    for message in messages {
        queue.push(message, 0);
    }
    queue
}

fn bodies(held: &[Held]) -> Vec<&str> {
    held.iter().map(|held| held.message.body.as_str()).collect()
}

fn handle(held: &Held) -> String {
    held.message.receipt_handle.clone().unwrap()
}

#[test]
fn a_group_with_many_messages_holds_up_no_other() {
    let loud = (0..20_000).map(|number| held(Some("loud"), &format!("l{number}")));
    let quiet = (0..10).map(|number| held(Some("quiet"), &format!("q{number}")));
    let mut queue = queue(loud);
    // Somebody works on the first already when the other comes along.
    let mut received = queue.receive(RECEIVE, 1).0;
    for message in quiet {
        queue.push(message, 2);
    }
    received.extend(queue.receive(RECEIVE, 3).0);
    received.extend(queue.receive(RECEIVE, 4).0);
    let quiet = received.iter().filter(|held| held.group.as_deref() == Some("quiet")).count();
    assert_eq!(quiet, 10, "{:?}", bodies(&received));
    // Whose messages are all in flight holds up nobody either.
    assert_eq!(queue.receive(RECEIVE, 5).0.len(), 10);
}

#[test]
fn groups_take_turns_and_each_keeps_its_order() {
    let mut queue = queue(["a1", "a2", "a3", "b1", "c1", "c2"].map(|body| held(body.get(..1), body)));
    assert_eq!(bodies(&queue.receive(RECEIVE, 0).0), ["a1", "b1", "c1", "a2", "c2", "a3"]);
}

#[test]
fn messages_without_a_group_come_in_their_order() {
    let mut queue = queue(["1", "2", "3"].map(|body| held(None, body)));
    assert_eq!(bodies(&queue.receive(Receive { max: 2, ..RECEIVE }, 0).0), ["1", "2"]);
    assert_eq!(bodies(&queue.receive(RECEIVE, 0).0), ["3"]);
}

#[test]
fn what_was_received_is_hidden_and_comes_again_in_its_place_unless_it_is_deleted() {
    let mut queue = queue(["1", "2", "3"].map(|body| held(Some("a"), body)));
    let first = queue.receive(Receive { max: 2, ..RECEIVE }, 1000).0;
    assert_eq!(queue.counts(1000), Counts { visible: 1, in_flight: 2, delayed: 0 });
    queue.delete(&handle(&first[0]), 1001).unwrap();
    assert_eq!(bodies(&queue.receive(RECEIVE, 30_999).0), ["3"]);
    let again = queue.receive(RECEIVE, 31_000).0;
    assert_eq!(bodies(&again), ["2"]);
    assert_eq!(again[0].message.approximate_receive_count, 2);
    assert_eq!(again[0].message.approximate_first_receive_timestamp, Some(1000));
}

#[test]
fn the_handle_of_an_earlier_receive_deletes_nothing_and_a_foreign_one_is_refused() {
    let mut queue = queue([held(None, "1")]);
    let first = handle(&queue.receive(RECEIVE, 0).0[0]);
    let second = handle(&queue.receive(RECEIVE, 30_000).0[0]);
    assert_eq!(queue.delete(&first, 30_001), Ok(()));
    assert_eq!(queue.counts(30_001).in_flight, 1);
    assert_eq!(queue.delete(&second, 30_002), Ok(()));
    assert_eq!(queue.delete(&second, 30_003), Ok(()), "a second time");
    assert_eq!(queue.counts(30_003), Counts::default());
    let mut other = FairQueue::new(8);
    other.push(held(None, "1"), 0);
    let foreign = handle(&other.receive(RECEIVE, 0).0[0]);
    for unknown in [foreign.as_str(), "", "x", "é".repeat(20).as_str()] {
        assert_eq!(queue.delete(unknown, 0), Err(UnknownHandle), "{unknown}");
    }
}

#[test]
fn what_becomes_visible_early_or_late_does() {
    let mut queue = queue([held(None, "1")]);
    let received = handle(&queue.receive(RECEIVE, 0).0[0]);
    queue.hide_until(&received, 90_000, 10).unwrap();
    assert_eq!(queue.receive(RECEIVE, 89_999).0.len(), 0);
    queue.hide_until(&received, 89_999, 89_999).unwrap();
    assert_eq!(queue.counts(89_999).visible, 1);
    // It is not in flight any more.
    queue.hide_until(&received, 200_000, 89_999).unwrap();
    assert_eq!(queue.receive(RECEIVE, 89_999).0.len(), 1);
}

#[test]
fn what_is_received_too_often_is_handed_out_for_good() {
    let how = Receive { max_receive_count: Some(2), hidden_for: 0, ..RECEIVE };
    let mut queue = queue([held(Some("a"), "1")]);
    for _ in 0..2 {
        assert_eq!(queue.receive(how, 0).0.len(), 1);
    }
    let (received, dead) = queue.receive(how, 0);
    assert!(received.is_empty());
    assert_eq!((bodies(&dead), dead[0].message.approximate_receive_count), (vec!["1"], 2));
    assert_eq!(queue.counts(0), Counts::default());
}

#[test]
fn what_is_delayed_is_seen_later_also_when_its_group_was_empty_meanwhile() {
    let mut queue = queue([held(Some("a"), "now")]);
    let mut later = held(Some("a"), "later");
    later.message.visible_at = 5000;
    queue.push(later, 0);
    assert_eq!(queue.counts(0), Counts { visible: 1, in_flight: 0, delayed: 1 });
    let now = queue.receive(RECEIVE, 0).0;
    queue.delete(&handle(&now[0]), 0).unwrap();
    assert_eq!(queue.receive(RECEIVE, 4999).0.len(), 0);
    assert_eq!(bodies(&queue.receive(RECEIVE, 5000).0), ["later"]);
}

#[test]
fn in_any_weather_every_message_is_deleted_once_and_none_is_lost() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut queue = queue((0..200).map(|number| held(Some(&format!("g{}", number % 7)), &number.to_string())));
        let (mut now, mut deleted, mut old) = (0, HashSet::new(), Vec::new());
        while deleted.len() < 200 {
            now += random.i64(0..3000);
            let how = Receive { max: random.usize(1..=10), hidden_for: random.i64(0..5000), max_receive_count: None };
            for held in queue.receive(how, now).0 {
                match random.u8(0..4) {
                    0 => old.push(handle(&held)),
                    1 => queue.hide_until(&handle(&held), now + random.i64(0..9000), now).unwrap(),
                    _ => {
                        queue.delete(&handle(&held), now).unwrap();
                        assert!(deleted.insert(held.message.body.clone()), "{} twice, seed {seed}", held.message.body);
                    }
                }
            }
            let counts = queue.counts(now);
            assert_eq!(counts.visible + counts.in_flight, 200 - deleted.len(), "seed {seed}");
            assert_eq!(counts.delayed, 0, "seed {seed}");
            // Of what was received since, an old handle deletes nothing; else it counts.
            if let Some(handle) = old.pop().filter(|_| random.bool()) {
                let before = queue.messages.len();
                let body = queue.find(&handle).unwrap().map(|number| queue.messages[&number].message.body.clone());
                queue.delete(&handle, now).unwrap();
                assert_eq!(before - queue.messages.len(), usize::from(body.is_some()));
                deleted.extend(body);
            }
        }
        assert!(queue.groups.is_empty() && queue.hidden.is_empty(), "nothing is left over, seed {seed}");
    }
}
