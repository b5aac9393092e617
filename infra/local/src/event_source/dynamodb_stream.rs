use std::cmp::Ordering;
use std::fmt;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use dynoxide::Database;
use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::get_records::{self, GetRecordsRequest};
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::list_streams::ListStreamsRequest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The region that local records and streams say they are from.
pub const LOCAL_REGION: &str = "us-east-1";

/// Lambda's limit on what a function is invoked with, in bytes, less what encloses the records.
const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024 - 64;

/// `GetRecords` answers with so many records at most.
const PAGE: usize = 1000;

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
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event_name: String,
    /// When it was written, to the second.
    pub created: DateTime<Utc>,
    /// The record in the event, JSON text.
    pub json: String,
}

/// The stream of one table, read in process.
#[derive(Clone)]
pub struct DynamoDbStream {
    database: Database,
    arn: String,
    shard: String,
}

impl fmt::Debug for DynamoDbStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DynamoDbStream").field(&self.arn).finish()
    }
}

impl DynamoDbStream {
    /// The stream of `table`.
    ///
    /// # Errors
    /// If the table has no stream.
    pub fn open(database: &Database, table: &str) -> anyhow::Result<Self> {
        let request = ListStreamsRequest { table_name: Some(table.to_owned()), ..ListStreamsRequest::default() };
        let streams = database.list_streams(request)?.streams;
        let stream = streams.first().with_context(|| format!("the table {table} has no stream"))?;
        let label = &stream.stream_label;
        let arn = format!("arn:aws:dynamodb:{LOCAL_REGION}:000000000000:table/{table}/stream/{label}");
        let request = DescribeStreamRequest { stream_arn: arn.clone(), ..DescribeStreamRequest::default() };
        let description = database.describe_stream(request)?.stream_description;
        let shard = description.shards.first().with_context(|| format!("the stream of {table} has no shard"))?;
        Ok(Self { database: database.clone(), shard: shard.shard_id.clone(), arn })
    }

    /// The stream's name, which is another one if its table was made anew.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The one shard that a local stream has.
    #[must_use]
    pub fn shard(&self) -> &str {
        &self.shard
    }

    /// The records after `after` (from the oldest on, if none), in order: `limit` at most, and no
    /// more than fit into one invocation, but one if there is any.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn read(&self, after: Option<SequenceNumber>, limit: usize) -> anyhow::Result<Vec<Record>> {
        let stream = self.clone();
        tokio::task::spawn_blocking(move || stream.read_blocking(after, limit)).await?
    }

    /// The sequence number of the newest record; none if there is none.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn newest(&self) -> anyhow::Result<Option<SequenceNumber>> {
        let stream = self.clone();
        tokio::task::spawn_blocking(move || stream.newest_blocking()).await?
    }

    fn read_blocking(&self, after: Option<SequenceNumber>, limit: usize) -> anyhow::Result<Vec<Record>> {
        let request = GetShardIteratorRequest {
            stream_arn: self.arn.clone(),
            shard_id: self.shard.clone(),
            shard_iterator_type: if after.is_some() { "AFTER_SEQUENCE_NUMBER" } else { "TRIM_HORIZON" }.to_owned(),
            sequence_number: after.map(|number| number.0),
        };
        let iterator = self.database.get_shard_iterator(request)?.shard_iterator.context("no shard iterator")?;
        let request = GetRecordsRequest { shard_iterator: iterator, limit: Some(limit.min(PAGE)) };
        let mut records = Vec::new();
        let mut bytes = 0;
        for record in self.database.get_records(request)?.records {
            let record = self.record(record)?;
            bytes += record.json.len() + 1;
            if bytes > PAYLOAD_LIMIT && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        Ok(records)
    }

    fn newest_blocking(&self) -> anyhow::Result<Option<SequenceNumber>> {
        let request = DescribeStreamRequest { stream_arn: self.arn.clone(), ..DescribeStreamRequest::default() };
        let shards = self.database.describe_stream(request)?.stream_description.shards;
        let newest = shards.iter().filter_map(|shard| shard.sequence_number_range.ending_sequence_number.as_deref());
        Ok(newest.filter_map(SequenceNumber::parse).max())
    }

    fn record(&self, record: get_records::Record) -> anyhow::Result<Record> {
        let sequence_number = &record.dynamodb.sequence_number;
        let sequence_number = SequenceNumber::parse(sequence_number).context("a sequence number that is no number")?;
        // A whole number of seconds, as AWS sends it.
        let seconds = record.dynamodb.approximate_creation_date_time as i64;
        let event_name = record.event_name.clone();
        let mut json = serde_json::to_value(record)?;
        if let Some(stream_record) = json.get_mut("dynamodb").and_then(Value::as_object_mut) {
            stream_record.insert("ApproximateCreationDateTime".to_owned(), json!(seconds));
        }
        if let Some(fields) = json.as_object_mut() {
            fields.insert("awsRegion".to_owned(), json!(LOCAL_REGION));
            fields.insert("eventSourceARN".to_owned(), json!(self.arn));
        }
        let created = DateTime::from_timestamp(seconds, 0).context("a record from outside of time")?;
        Ok(Record { sequence_number, event_name, created, json: json.to_string() })
    }
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
