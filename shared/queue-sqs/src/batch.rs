use ledgerline_kernel::ports::QueueMessage;

/// What a message, and what all messages of a request together, may have, in bytes.
pub(crate) const LIMIT: usize = 1024 * 1024;

/// Messages in a request.
const MESSAGES: usize = 10;

/// Letters of a group.
const GROUP: usize = 128;

/// Why SQS would refuse a message; none if it takes it.
pub(crate) fn refused(message: &QueueMessage) -> Option<String> {
    let QueueMessage { group, body } = message;
    let is_carried =
        |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    if body.is_empty() {
        return Some("a message without a text".to_owned());
    }
    if body.len() > LIMIT {
        return Some(format!("{} bytes, {LIMIT} is the limit", body.len()));
    }
    if let Some(character) = body.chars().find(|c| !is_carried(*c)) {
        return Some(format!("queues do not carry the character U+{:04X}", u32::from(character)));
    }
    let is_group = (1..=GROUP).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_graphic());
    (!is_group).then(|| format!("{group:?} is no group"))
}

/// Runs of messages that fit into a request each. One that fits into none is alone.
pub(crate) fn batches(mut messages: &[QueueMessage]) -> Vec<&[QueueMessage]> {
    let mut batches = Vec::new();
    while !messages.is_empty() {
        let mut bytes = 0;
        let fits = |message: &&QueueMessage| {
            bytes += message.body.len();
            bytes <= LIMIT
        };
        let count = messages.iter().take(MESSAGES).take_while(fits).count().max(1);
        let (batch, rest) = messages.split_at(count);
        batches.push(batch);
        messages = rest;
    }
    batches
}
