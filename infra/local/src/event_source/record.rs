use std::cmp::Ordering;
use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A record's place in its stream: a decimal number of 21 to 40 digits, compared by value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SequenceNumber(String);

impl SequenceNumber {
    /// The number with these digits. `None` for anything but digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| Self(text.to_owned()))
    }

    /// The digits, as they were read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        // 40 digits are more than a u128 holds; and as texts, "9" would come after "10".
        let (a, b) = (self.0.trim_start_matches('0'), other.0.trim_start_matches('0'));
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

impl PartialEq for SequenceNumber {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for SequenceNumber {}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One record of a stream, as a function gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its place.
    pub sequence_number: SequenceNumber,
    /// The item that it tells of: records of one item are never delivered at the same time, nor out of
    /// their order.
    pub item: String,
    /// When it was written, to the second.
    pub created: DateTime<Utc>,
    /// The record in the event, JSON text.
    pub json: String,
}

/// A shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its name.
    pub id: String,
    /// The shard that was split into it and others: all of that comes first.
    pub parent: Option<String>,
}

/// What a read of a shard found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Whether nothing comes after them, ever: the shard is closed.
    pub is_last: bool,
}

/// A stream that an event source mapping reads.
#[async_trait]
pub trait StreamSource: Send + Sync + 'static {
    /// The stream's name, which is another one if its table was made anew.
    fn arn(&self) -> &str;

    /// Its shards, parents before their children.
    ///
    /// # Errors
    /// If it cannot be read.
    async fn shards(&self) -> anyhow::Result<Vec<Shard>>;

    /// Up to `limit` records of a shard after `after`; from the oldest that there still is, if none, or
    /// if what comes after it is gone.
    ///
    /// # Errors
    /// If it cannot be read.
    async fn read(&self, shard: &str, after: Option<&SequenceNumber>, limit: usize) -> anyhow::Result<Page>;

    /// The sequence number of a shard's newest record; none if it has none.
    ///
    /// # Errors
    /// If it cannot be read.
    async fn newest(&self, shard: &str) -> anyhow::Result<Option<SequenceNumber>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_compared_by_value_however_many_digits_they_have() {
        let number = |text: &str| SequenceNumber::parse(text).unwrap();
        assert!(number("9") < number("10"));
        assert!(number("0009") < number("10"));
        assert!(number(&"9".repeat(39)) < number(&format!("1{}", "0".repeat(39))));
        for text in ["", "+1", "1.0", " 1", "x"] {
            assert_eq!(SequenceNumber::parse(text), None, "{text:?}");
        }
    }
}
