use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{DynamoDbStream, GivenUp, Mapping};

/// The failure destination: a file with one line of JSON for each group of records given up. Each
/// holds the `message` that Lambda would send to the mapping's queue, and the `records`, which it
/// would not.
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

    /// Takes records. They are in the file for good when this returns.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn take(
        &self,
        mapping: &Mapping,
        stream: &DynamoDbStream,
        given_up: &GivenUp<'_>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let records: Vec<_> = given_up
            .records
            .iter()
            .map(|record| serde_json::from_str::<&RawValue>(&record.json))
            .collect::<Result<_, _>>()?;
        let line = json!({
            "message": message(mapping, stream, given_up, now),
            "error": given_up.error,
            "records": serde_json::to_value(records)?,
        });
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_all()
        };
        write().with_context(|| format!("writing {}", self.path.display()))
    }
}

/// As in "Discarded batches" of the Lambda developer guide.
fn message(mapping: &Mapping, stream: &DynamoDbStream, given_up: &GivenUp<'_>, now: DateTime<Utc>) -> Value {
    let moment = |moment: DateTime<Utc>| moment.to_rfc3339_opts(SecondsFormat::Millis, true);
    let (first, last) = (given_up.records.first(), given_up.records.last());
    json!({
        "requestContext": {
            "functionArn": format!("arn:aws:lambda:{}:000000000000:function:{}", super::LOCAL_REGION, mapping.function),
            "condition": given_up.why.condition(),
            "approximateInvokeCount": given_up.invocations,
        },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "version": "1.0",
        "timestamp": moment(now),
        "DDBStreamBatchInfo": {
            "shardId": stream.shard(),
            "startSequenceNumber": first.map(|record| record.sequence_number.as_str()),
            "endSequenceNumber": last.map(|record| record.sequence_number.as_str()),
            "approximateArrivalOfFirstRecord": first.map(|record| moment(record.created)),
            "approximateArrivalOfLastRecord": last.map(|record| moment(record.created)),
            "batchSize": given_up.records.len(),
            "streamArn": stream.arn(),
        },
    })
}
