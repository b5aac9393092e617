use ledgerline_kernel::ports::BusMessage;

/// What a message, and what all messages of a request together, may have, in bytes: texts and
/// attributes.
pub(crate) const LIMIT: usize = 256 * 1024;

/// Messages in a request.
const MESSAGES: usize = 10;

/// What SNS counts of a message: its text and each attribute's name, type and value.
pub(crate) fn size(message: &BusMessage) -> usize {
    let attributes = message.attributes().map(|(name, value)| name.len() + "String".len() + value.len());
    message.body.len() + attributes.iter().sum::<usize>()
}

/// Runs of messages that fit into a request each. One that fits into none is alone.
pub(crate) fn batches(mut messages: &[BusMessage]) -> Vec<&[BusMessage]> {
    let mut batches = Vec::new();
    while !messages.is_empty() {
        let mut bytes = 0;
        let fits = |message: &&BusMessage| {
            bytes += size(message);
            bytes <= LIMIT
        };
        let count = messages.iter().take(MESSAGES).take_while(fits).count().max(1);
        let (batch, rest) = messages.split_at(count);
        batches.push(batch);
        messages = rest;
    }
    batches
}
