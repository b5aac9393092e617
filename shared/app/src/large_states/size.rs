//! How large is large.

use ledgerline_kernel::VersionItem;
use serde::Serialize;
use serde_json::Value;

/// The most that a version's events and state may weigh together in a ledger item: what DynamoDB
/// takes (400 KB), less room for the envelope.
pub(super) const INLINE_LIMIT: usize = 350 * 1024;

/// The most that events and state of one version may hold together, in bytes of JSON as it travels
/// through Lambda, where each quote and backslash is escaped once more. Lambda takes 6 MB of an event
/// and of an answer, so every version that was accepted can be read again, history included.
pub const LARGE_STATE_LIMIT: usize = 5 * 1024 * 1024;

/// What an item of DynamoDB may weigh.
pub(super) const ITEM_LIMIT: usize = 400 * 1024;

/// How much a value counts in DynamoDB ("DynamoDB item sizes and formats"), numbers rounded up: up to
/// twice its JSON for lists of small numbers, less for texts with escapes.
pub(super) fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(number) => number.to_string().len().div_ceil(2) + 2,
        Value::String(text) => text.len(),
        Value::Array(values) => 3 + values.iter().map(|value| 1 + weight(value)).sum::<usize>(),
        Value::Object(fields) => 3 + fields.iter().map(|(name, value)| 1 + name.len() + weight(value)).sum::<usize>(),
    }
}

/// What [`LARGE_STATE_LIMIT`] limits.
pub(crate) fn travelling_size(item: &VersionItem) -> usize {
    travelling(&item.events) + travelling(&item.state)
}

fn travelling(value: &impl Serialize) -> usize {
    let is_escaped = |byte: &&u8| matches!(byte, b'"' | b'\\');
    json_size(value, |bytes| bytes.len() + bytes.iter().filter(is_escaped).count())
}

/// How long a value is as JSON.
pub(crate) fn json_length(value: &Value) -> usize {
    json_size(value, <[u8]>::len)
}

/// What the pieces of a value's JSON count together, without making the text.
fn json_size(value: &impl Serialize, count: impl Fn(&[u8]) -> usize) -> usize {
    struct Counter<C>(usize, C);
    impl<C: Fn(&[u8]) -> usize> std::io::Write for Counter<C> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += (self.1)(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0, count);
    // Counting never fails, and neither does a value that came from JSON.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_weighs_what_dynamodb_counts() {
        // As the examples in the ledger's own adapter, which counts items.
        assert_eq!(weight(&json!({"é": "12", "n": null})), 3 + (1 + 2 + 2) + (1 + 1 + 1));
        assert_eq!(weight(&json!(["abc", true, -12])), 3 + (1 + 3) + (1 + 1) + (1 + 4));
    }

    #[test]
    fn a_text_travels_as_the_json_string_that_its_json_becomes() {
        for value in [json!({"a\"b": ["\\", "\n", "é", 12, null, {}]}), json!("plain"), json!(["", ""])] {
            let as_body = serde_json::to_string(&value.to_string()).unwrap();
            assert_eq!(travelling(&value), as_body.len() - 2, "{value}");
        }
    }
}
