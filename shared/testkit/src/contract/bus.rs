//! What every [`EventBus`] does.

use std::collections::BTreeSet;

use async_trait::async_trait;
use ledgerline_kernel::ports::{BusMessage, EventBus, StoreError};

use crate::note_key;

/// The other end of a bus.
#[async_trait]
pub trait Subscriber: EventBus {
    /// All that has arrived: each message with its attributes as they were sent.
    async fn arrived(&self) -> Vec<Arrived>;
}

/// A message at the other end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrived {
    /// What it says.
    pub body: String,
    /// Its attributes.
    pub attributes: BTreeSet<(String, String)>,
}

impl From<&BusMessage> for Arrived {
    fn from(message: &BusMessage) -> Self {
        let attributes = message.attributes().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { body: message.body.clone(), attributes: attributes.into() }
    }
}

fn message(number: usize, body: &str) -> BusMessage {
    let entity = note_key(&format!("n{number}"));
    BusMessage {
        dedupe_id: format!("{entity}@1#0"),
        entity,
        event: "Written".to_owned(),
        body: format!(r#"{{"number":{number},"text":"{body}"}}"#),
    }
}

/// The largest message that the bus takes.
fn largest(bus: &impl EventBus, number: usize) -> BusMessage {
    let sized = |bytes: usize| message(number, &"x".repeat(bytes));
    let (mut fits, mut too_large) = (0, 16 * 1024 * 1024);
    while too_large - fits > 1 {
        let middle = fits + (too_large - fits) / 2;
        *(if bus.takes(&sized(middle)) { &mut fits } else { &mut too_large }) = middle;
    }
    sized(fits)
}

#[track_caller]
fn assert_same(arrived: Vec<Arrived>, sent: &[BusMessage]) {
    let mut sent: Vec<Arrived> = sent.iter().map(Arrived::from).collect();
    let mut arrived = arrived;
    sent.sort();
    arrived.sort();
    assert!(arrived == sent, "{} of {} arrived, or they differ", arrived.len(), sent.len());
}

/// Nothing published, nothing arrives.
///
/// # Panics
/// If it is not so.
pub async fn nothing_published_is_nothing_to_answer(bus: &impl Subscriber) {
    assert_eq!(bus.publish(&[]).await, []);
    assert_same(bus.arrived().await, &[]);
}

/// More than a request takes.
///
/// # Panics
/// If it is not so.
pub async fn every_message_arrives_as_it_was_sent(bus: &impl Subscriber) {
    let text = "指輪 „Émile“ + & % = < > \u{1F48D} \\u0007 \\\\ \\\"";
    let messages: Vec<_> = (0..25).map(|number| message(number, text)).collect();
    assert_eq!(bus.publish(&messages).await, vec![Ok(()); 25]);
    assert_same(bus.arrived().await, &messages);
}

/// Several that do not fit into one request together.
///
/// # Panics
/// If it is not so.
pub async fn messages_of_the_largest_size_arrive(bus: &impl Subscriber) {
    let messages = [largest(bus, 1), largest(bus, 2), message(3, "small"), message(4, &"x".repeat(200_000))];
    assert_eq!(bus.publish(&messages).await, vec![Ok(()); 4]);
    assert_same(bus.arrived().await, &messages);
}

/// Its neighbours arrive.
///
/// # Panics
/// If it is not so.
pub async fn a_message_that_is_too_large_is_rejected_alone(bus: &impl Subscriber) {
    let mut too_large = largest(bus, 2);
    too_large.body.push(' ');
    assert!(!bus.takes(&too_large));
    let messages = [message(1, "a"), too_large, message(3, "b")];
    let answers = bus.publish(&messages).await;
    assert!(
        matches!(answers.as_slice(), [Ok(()), Err(StoreError::Rejected { .. }), Ok(())]),
        "the second alone is rejected: {answers:?}"
    );
    let [first, _, third] = messages;
    assert_same(bus.arrived().await, &[first, third]);
}

/// The subscriber sees by the id that it is the same.
///
/// # Panics
/// If it is not so.
pub async fn a_repetition_arrives_under_the_same_id(bus: &impl Subscriber) {
    let messages = [message(1, "a"), message(1, "a")];
    assert_eq!(bus.publish(&messages).await, vec![Ok(()); 2]);
    assert_same(bus.arrived().await, &messages);
}
