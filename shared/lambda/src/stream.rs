//! Batches of a DynamoDB stream, record by record: what one record is like says nothing about its
//! neighbours.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ledgerline_kernel::VersionItem;
use ledgerline_ledger_dynamodb::{ImageError, version_item};
use serde::{Deserialize, Serialize};
use serde_dynamo::Item;
use serde_json::value::RawValue;

/// The records of one invocation.
#[derive(Debug)]
pub struct StreamBatch {
    /// In the order of the shard.
    pub records: Vec<StreamRecord>,
}

/// One record, as far as it could be read.
#[derive(Debug)]
pub struct StreamRecord {
    /// Its place in the shard, if that could be read.
    pub sequence_number: Option<String>,
    /// What it says.
    pub change: Result<StreamChange, BadRecord>,
}

/// What happened to an item.
#[derive(Debug, PartialEq)]
pub enum StreamChange {
    /// It was written and is now this.
    Written(Item),
    /// It was removed.
    Removed,
}

/// Why a record could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub(crate) String);

/// Why a record tells of no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// The record itself cannot be read.
    #[error("{0}")]
    Record(String),
    /// Its image claims to be a version and is none.
    #[error("{0}")]
    Version(String),
}

/// The whole event is not one of a stream.
#[derive(Debug, thiserror::Error)]
#[error("not an event of a stream: {0}")]
pub struct BadEvent(#[from] serde_json::Error);

/// The version item that a record of the ledger's stream tells of, as it is stored; none where it tells
/// of something else. The only place where an image of the stream becomes a version item.
///
/// # Errors
/// [`Untold`], with what is wrong with the record.
pub fn told_version(change: Result<StreamChange, BadRecord>) -> Result<Option<VersionItem>, Untold> {
    let image = match change {
        Ok(StreamChange::Written(image)) => image,
        // DynamoDB has dropped an item whose time to live was over: nothing happened to the entity.
        Ok(StreamChange::Removed) => return Ok(None),
        Err(bad) => return Err(Untold::Record(bad.to_string())),
    };
    match catch_unwind(AssertUnwindSafe(|| version_item(image))) {
        Ok(Ok(item)) => Ok(Some(item)),
        Ok(Err(ImageError::OtherKind(_))) => Ok(None),
        Ok(Err(error @ ImageError::Unreadable(_))) => Err(Untold::Version(error.to_string())),
        Err(_) => Err(Untold::Record("reading it panicked".to_owned())),
    }
}

impl StreamBatch {
    /// Reads an event, each of its records by itself.
    ///
    /// # Errors
    /// [`BadEvent`] if it has no list of records at all.
    pub fn parse(event: &RawValue) -> Result<Self, BadEvent> {
        Ok(Self { records: records(event)?.into_iter().map(StreamRecord::parse).collect() })
    }
}

impl StreamRecord {
    fn parse(raw: &RawValue) -> Self {
        #[derive(Deserialize)]
        struct Record<'a> {
            #[serde(rename = "eventName", borrow)]
            event_name: Option<&'a RawValue>,
            #[serde(borrow)]
            dynamodb: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Dynamodb<'a> {
            #[serde(rename = "SequenceNumber", borrow)]
            sequence_number: Option<&'a RawValue>,
            #[serde(rename = "NewImage", borrow)]
            new_image: Option<&'a RawValue>,
        }
        let unreadable = |reason: String| Self { sequence_number: None, change: Err(BadRecord(reason)) };
        let record: Record<'_> = match serde_json::from_str(raw.get()) {
            Ok(record) => record,
            Err(error) => return unreadable(format!("not a record: {error}")),
        };
        let Some(Ok(dynamodb)) = record.dynamodb.map(|raw| serde_json::from_str::<Dynamodb<'_>>(raw.get())) else {
            return unreadable("not a record of a DynamoDB stream".to_owned());
        };
        let sequence_number = dynamodb.sequence_number.and_then(text).filter(|number| !number.is_empty());
        let change = match record.event_name.and_then(text).as_deref() {
            Some("REMOVE") => Ok(StreamChange::Removed),
            _ => match dynamodb.new_image.map(|image| serde_json::from_str(image.get())) {
                Some(Ok(image)) => Ok(StreamChange::Written(image)),
                Some(Err(error)) => Err(BadRecord(format!("its image cannot be read: {error}"))),
                None => Err(BadRecord("it has no image".to_owned())),
            },
        };
        Self { sequence_number, change }
    }
}

/// The records of an event, each as it came.
pub(crate) fn records(event: &RawValue) -> serde_json::Result<Vec<&RawValue>> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "Records", borrow)]
        records: Vec<&'a RawValue>,
    }
    serde_json::from_str(event.get()).map(|Event { records }| records)
}

pub(crate) fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// Which records have to be delivered again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// One for each record. Of a stream, Lambda starts again at the lowest; of a queue, it deletes all others.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// One record to deliver again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// Its sequence number, or the message's id. Empty: Lambda takes the whole batch as failed.
    pub item_identifier: String,
}

impl BatchResponse {
    /// Asks for these records again, by their numbers or ids; an unknown one asks for the whole batch.
    #[must_use]
    pub fn failed<'a>(identifiers: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let failures = identifiers.into_iter().map(|identifier| identifier.map(str::to_owned));
        let batch_item_failures = match failures.collect::<Option<Vec<_>>>() {
            Some(identifiers) => {
                identifiers.into_iter().map(|item_identifier| ItemFailure { item_identifier }).collect()
            }
            None => vec![ItemFailure { item_identifier: String::new() }],
        };
        Self { batch_item_failures }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
