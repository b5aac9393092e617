use std::fmt;

use anyhow::Context as _;
use async_trait::async_trait;
use chrono::DateTime;
use dynoxide::Database;
use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::get_records::{self, GetRecordsRequest};
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::list_streams::ListStreamsRequest;
use serde_json::{Value, json};

use super::{Page, Record, SequenceNumber, Shard, StreamSource};

/// The region that local records and streams say they are from.
pub const LOCAL_REGION: &str = "us-east-1";

/// `GetRecords` answers with so many records at most.
const PAGE: usize = 1000;

/// The stream of one table, read in process. It has one shard, and keeps everything.
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

    fn read_blocking(&self, after: Option<SequenceNumber>, limit: usize) -> anyhow::Result<Vec<Record>> {
        let request = GetShardIteratorRequest {
            stream_arn: self.arn.clone(),
            shard_id: self.shard.clone(),
            shard_iterator_type: if after.is_some() { "AFTER_SEQUENCE_NUMBER" } else { "TRIM_HORIZON" }.to_owned(),
            sequence_number: after.map(|number| number.as_str().to_owned()),
        };
        let iterator = self.database.get_shard_iterator(request)?.shard_iterator.context("no shard iterator")?;
        let request = GetRecordsRequest { shard_iterator: iterator, limit: Some(limit.min(PAGE)) };
        self.database.get_records(request)?.records.into_iter().map(|record| self.record(record)).collect()
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
        let mut json = serde_json::to_value(record)?;
        if let Some(stream_record) = json.get_mut("dynamodb").and_then(Value::as_object_mut) {
            stream_record.insert("ApproximateCreationDateTime".to_owned(), json!(seconds));
        }
        if let Some(fields) = json.as_object_mut() {
            fields.insert("awsRegion".to_owned(), json!(LOCAL_REGION));
            fields.insert("eventSourceARN".to_owned(), json!(self.arn));
        }
        let item = json.pointer("/dynamodb/Keys").map(Value::to_string).unwrap_or_default();
        let created = DateTime::from_timestamp(seconds, 0).context("a record from outside of time")?;
        Ok(Record { sequence_number, item, created, json: json.to_string() })
    }
}

#[async_trait]
impl StreamSource for DynamoDbStream {
    fn arn(&self) -> &str {
        &self.arn
    }

    async fn shards(&self) -> anyhow::Result<Vec<Shard>> {
        Ok(vec![Shard { id: self.shard.clone(), parent: None }])
    }

    async fn read(&self, _: &str, after: Option<&SequenceNumber>, limit: usize) -> anyhow::Result<Page> {
        let (stream, after) = (self.clone(), after.cloned());
        let records = tokio::task::spawn_blocking(move || stream.read_blocking(after, limit)).await??;
        Ok(Page { records, is_last: false })
    }

    async fn newest(&self, _: &str) -> anyhow::Result<Option<SequenceNumber>> {
        let stream = self.clone();
        tokio::task::spawn_blocking(move || stream.newest_blocking()).await?
    }
}
