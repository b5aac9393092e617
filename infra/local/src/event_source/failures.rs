use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{GivenUp, LOCAL_REGION, Mapping};

/// Records that were given up.
#[derive(Debug, Clone, Serialize)]
pub struct Discarded {
    /// What Lambda sends to a queue: where the records are in the stream, and not what they say.
    pub message: Value,
    /// What went wrong the last time.
    pub error: String,
    /// The records, which Lambda does not send.
    pub records: Vec<Box<RawValue>>,
}

/// Where records go that are given up.
#[async_trait]
pub trait FailureDestination: Send + Sync + 'static {
    /// Takes records. It has them for good when this returns.
    ///
    /// # Errors
    /// If it cannot take them: the mapping waits until it can.
    async fn take(&self, discarded: &Discarded) -> anyhow::Result<()>;

    /// Where that is, for people.
    fn name(&self) -> String;

    /// How many groups of records it holds.
    ///
    /// # Errors
    /// If it cannot be read.
    async fn depth(&self) -> anyhow::Result<u64>;
}

impl Discarded {
    /// As in "Discarded batches" of the Lambda developer guide.
    pub(super) fn new(
        mapping: &Mapping,
        (stream, shard): (&str, &str),
        given_up: &GivenUp<'_>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Self> {
        let moment = |moment: DateTime<Utc>| moment.to_rfc3339_opts(SecondsFormat::Millis, true);
        let (first, last) = (given_up.records.first(), given_up.records.last());
        let mut message = json!({
            "requestContext": {
                "requestId": ulid::Ulid::generate().to_string(),
                "functionArn": format!("arn:aws:lambda:{LOCAL_REGION}:000000000000:function:{}", mapping.function),
                "condition": given_up.why.condition(),
                "approximateInvokeCount": given_up.invocations,
            },
            "version": "1.0",
            "timestamp": moment(now),
            "DDBStreamBatchInfo": {
                "shardId": shard,
                "startSequenceNumber": first.map(|record| record.sequence_number.as_str()),
                "endSequenceNumber": last.map(|record| record.sequence_number.as_str()),
                "approximateArrivalOfFirstRecord": first.map(|record| moment(record.created)),
                "approximateArrivalOfLastRecord": last.map(|record| moment(record.created)),
                "batchSize": given_up.records.len(),
                "streamArn": stream,
            },
        });
        // Nothing was answered where nothing was invoked.
        if let Some(fields) = message.as_object_mut().filter(|_| given_up.invocations > 0) {
            let answered = json!({ "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" });
            fields.insert("responseContext".to_owned(), answered);
        }
        let records = given_up.records.iter().map(|record| RawValue::from_string(record.json.clone()));
        Ok(Self { message, error: given_up.error.clone(), records: records.collect::<Result<_, _>>()? })
    }
}

/// A file with one line of JSON for each group of records given up.
#[derive(Debug, Clone)]
pub struct FailureFile {
    path: PathBuf,
}

impl FailureFile {
    /// Appends to this file, made when it is needed.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl FailureDestination for FailureFile {
    async fn take(&self, discarded: &Discarded) -> anyhow::Result<()> {
        let (path, line) = (self.path.clone(), serde_json::to_string(discarded)?);
        let write = move || -> anyhow::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("{line}\n").as_bytes())?;
            Ok(file.sync_all()?)
        };
        let written = tokio::task::spawn_blocking(write).await?;
        written.with_context(|| format!("writing {}", self.path.display()))
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    async fn depth(&self) -> anyhow::Result<u64> {
        let text = match tokio::fs::read(&self.path).await {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error).with_context(|| format!("reading {}", self.path.display())),
        };
        Ok(text.iter().filter(|byte| **byte == b'\n').count().try_into()?)
    }
}

/// A failure destination in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryFailures(Arc<Mutex<Vec<Discarded>>>);

impl MemoryFailures {
    /// All that was given up, in order.
    #[must_use]
    pub fn all(&self) -> Vec<Discarded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl FailureDestination for MemoryFailures {
    async fn take(&self, discarded: &Discarded) -> anyhow::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(discarded.clone());
        Ok(())
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }

    async fn depth(&self) -> anyhow::Result<u64> {
        Ok(self.all().len().try_into()?)
    }
}
