//! What every [`MessageQueue`] does.

use async_trait::async_trait;
use ledgerline_kernel::ports::{MessageQueue, QueueMessage, StoreError};

/// The other end of a queue.
#[async_trait]
pub trait Worker: MessageQueue {
    /// All that was delivered, in any order.
    async fn delivered(&self) -> Vec<QueueMessage>;
}

fn message(number: usize, text: &str) -> QueueMessage {
    QueueMessage { group: format!("tenant-{}", number % 3), body: format!(r#"{{"number":{number},"text":"{text}"}}"#) }
}

/// The largest message that the queue takes.
fn largest(queue: &impl MessageQueue, number: usize) -> QueueMessage {
    let sized = |bytes: usize| message(number, &"x".repeat(bytes));
    let (mut fits, mut too_large) = (0, 2 * 1024 * 1024);
    while too_large - fits > 1 {
        let middle = fits + (too_large - fits) / 2;
        *(if queue.takes(&sized(middle)) { &mut fits } else { &mut too_large }) = middle;
    }
    sized(fits)
}

#[track_caller]
fn assert_same(mut delivered: Vec<QueueMessage>, sent: &[QueueMessage]) {
    let order = |message: &QueueMessage| (message.group.clone(), message.body.clone());
    let mut sent = sent.to_vec();
    delivered.sort_by_key(order);
    sent.sort_by_key(order);
    assert!(delivered == sent, "{} of {} were delivered, or they differ", delivered.len(), sent.len());
}

/// Nothing sent, nothing delivered.
///
/// # Panics
/// If it is not so.
pub async fn nothing_sent_is_nothing_to_answer(queue: &impl Worker) {
    assert_eq!(queue.send(&[]).await, []);
    assert_same(queue.delivered().await, &[]);
}

/// More than a request takes, each in its group.
///
/// # Panics
/// If it is not so.
pub async fn every_message_is_delivered_as_it_was_sent(queue: &impl Worker) {
    let text = "指輪 „Émile“ + & % = < > \u{1F48D} \u{FFFD} \\u0007 \\\\ \\\"";
    let messages: Vec<_> = (0..25).map(|number| message(number, text)).collect();
    assert_eq!(queue.send(&messages).await, vec![Ok(()); 25]);
    assert_same(queue.delivered().await, &messages);
}

/// Several that do not fit into one request together.
///
/// # Panics
/// If it is not so.
pub async fn messages_of_the_largest_size_are_delivered(queue: &impl Worker) {
    let messages = [largest(queue, 1), largest(queue, 2), message(3, "small"), message(4, &"\\\"".repeat(100_000))];
    assert_eq!(queue.send(&messages).await, vec![Ok(()); 4]);
    assert_same(queue.delivered().await, &messages);
}

/// Its neighbours are delivered.
///
/// # Panics
/// If it is not so.
pub async fn a_message_that_cannot_be_sent_is_rejected_alone(queue: &impl Worker) {
    let mut too_large = largest(queue, 2);
    too_large.body.push(' ');
    let empty = QueueMessage { group: "acme".to_owned(), body: String::new() };
    let messages = [message(1, "a"), too_large, message(3, "\u{FFFF}"), empty, message(5, "b")];
    assert_eq!(messages.each_ref().map(|message| queue.takes(message)), [true, false, false, false, true]);
    let answers = queue.send(&messages).await;
    let expected = |answers: &[Result<(), StoreError>]| {
        use StoreError::Rejected;
        matches!(answers, [Ok(()), Err(Rejected { .. }), Err(Rejected { .. }), Err(Rejected { .. }), Ok(())])
    };
    assert!(expected(&answers), "the three in the middle alone are rejected: {answers:?}");
    let [first, _, _, _, last] = messages;
    assert_same(queue.delivered().await, &[first, last]);
}
