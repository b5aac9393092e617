use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::event_source::{LOCAL_REGION, Page, Record, SequenceNumber, Shard, StreamSource};

/// A stream in memory: items go to shards by their partition keys, shards split, records are lost. Clones
/// are the same stream.
#[derive(Debug, Clone)]
pub struct SimulatedStream(Arc<Mutex<Inner>>);

const ARN: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/simulated/stream/2027-01-15T08:00:00.000";

/// Sequence numbers begin a little before they get one more digit: as texts they would be out of order.
const FIRST_NUMBER: u128 = 10_u128.pow(21) - 200;

#[derive(Debug)]
struct Inner {
    shards: Vec<Held>,
    next: u128,
    random: fastrand::Rng,
}

#[derive(Debug)]
struct Held {
    shard: Shard,
    /// Which hashes of partition keys it takes.
    hashes: Range<u64>,
    records: Vec<Record>,
    is_closed: bool,
}

impl Held {
    fn open(id: String, parent: Option<String>, hashes: Range<u64>) -> Self {
        Self { shard: Shard { id, parent }, hashes, records: Vec::new(), is_closed: false }
    }
}

impl SimulatedStream {
    /// An empty stream with so many shards, at least 1.
    #[must_use]
    pub fn new(seed: u64, shards: usize) -> Self {
        let count = u64::try_from(shards.max(1)).unwrap_or(1);
        let width = u64::MAX / count;
        let shard = |number: u64| {
            let end = if number + 1 == count { u64::MAX } else { (number + 1) * width };
            Held::open(format!("shard-{number}"), None, number * width..end)
        };
        let shards = (0..count).map(shard).collect();
        Self(Arc::new(Mutex::new(Inner { shards, next: FIRST_NUMBER, random: fastrand::Rng::with_seed(seed) })))
    }

    /// An item that was inserted: DynamoDB's JSON, with the keys `pk` and `sk`.
    pub fn put(&self, image: &Value, at: DateTime<Utc>) {
        let keys = json!({ "pk": image.get("pk"), "sk": image.get("sk") });
        let partition = image.pointer("/pk/S").and_then(Value::as_str).unwrap_or_default();
        self.put_record(partition, &keys.to_string(), at, |number| {
            json!({
                "eventID": number.to_string(),
                "eventName": "INSERT",
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": LOCAL_REGION,
                "eventSourceARN": ARN,
                "dynamodb": {
                    "ApproximateCreationDateTime": at.timestamp(),
                    "Keys": keys,
                    "NewImage": image,
                    "SequenceNumber": number.as_str(),
                    "SizeBytes": image.to_string().len(),
                    "StreamViewType": "NEW_IMAGE",
                },
            })
        });
    }

    /// Any record, also one that makes no sense, told its sequence number.
    pub fn put_record(
        &self,
        partition: &str,
        item: &str,
        at: DateTime<Utc>,
        record: impl FnOnce(&SequenceNumber) -> Value,
    ) {
        let mut inner = self.lock();
        inner.next += u128::from(inner.random.u64(1..4));
        let Some(number) = SequenceNumber::parse(&inner.next.to_string()) else { return };
        let mut hasher = DefaultHasher::new();
        partition.hash(&mut hasher);
        let hash = hasher.finish().min(u64::MAX - 1);
        let takes = |held: &&mut Held| !held.is_closed && held.hashes.contains(&hash);
        if let Some(held) = inner.shards.iter_mut().find(takes) {
            let json = record(&number).to_string();
            held.records.push(Record { sequence_number: number, item: item.to_owned(), created: at, json });
        }
    }

    /// Splits a shard, picked at random: it is closed, and two others take what would have come to it.
    pub fn split(&self) {
        let mut inner = self.lock();
        let open: Vec<usize> =
            inner.shards.iter().enumerate().filter(|(_, held)| !held.is_closed).map(|(place, _)| place).collect();
        let Some(place) = inner.random.choice(open) else { return };
        let count = inner.shards.len();
        let Some(parent) = inner.shards.get_mut(place) else { return };
        parent.is_closed = true;
        let (hashes, id) = (parent.hashes.clone(), parent.shard.id.clone());
        let middle = hashes.start + (hashes.end - hashes.start) / 2;
        for (number, hashes) in [(count, hashes.start..middle), (count + 1, middle..hashes.end)] {
            inner.shards.push(Held::open(format!("shard-{number}"), Some(id.clone()), hashes));
        }
    }

    /// Forgets the records from before `horizon`, as DynamoDB does after 24 hours.
    pub fn trim(&self, horizon: DateTime<Utc>) {
        for held in &mut self.lock().shards {
            held.records.retain(|record| record.created >= horizon);
        }
    }

    /// Forgets so large a `share` (0 to 1) of the records, picked at random: they are never delivered.
    /// Gives how many.
    pub fn lose(&self, share: f64) -> usize {
        let mut inner = self.lock();
        let Inner { shards, random, .. } = &mut *inner;
        let before: usize = shards.iter().map(|held| held.records.len()).sum();
        for held in shards.iter_mut() {
            held.records.retain(|_| random.f64() >= share);
        }
        before - shards.iter().map(|held| held.records.len()).sum::<usize>()
    }

    /// The records that it holds now, of all shards, parents first.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.lock().shards.iter().flat_map(|held| held.records.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StreamSource for SimulatedStream {
    fn arn(&self) -> &str {
        ARN
    }

    async fn shards(&self) -> anyhow::Result<Vec<Shard>> {
        Ok(self.lock().shards.iter().map(|held| held.shard.clone()).collect())
    }

    async fn read(&self, shard: &str, after: Option<&SequenceNumber>, limit: usize) -> anyhow::Result<Page> {
        let inner = self.lock();
        let held = inner.shards.iter().find(|held| held.shard.id == shard).context("no such shard")?;
        let comes_after = |record: &&Record| after.is_none_or(|after| record.sequence_number > *after);
        let mut left = held.records.iter().filter(comes_after);
        let records = left.by_ref().take(limit).cloned().collect();
        Ok(Page { records, is_last: held.is_closed && left.next().is_none() })
    }

    async fn newest(&self, shard: &str) -> anyhow::Result<Option<SequenceNumber>> {
        let inner = self.lock();
        let held = inner.shards.iter().find(|held| held.shard.id == shard).context("no such shard")?;
        // What is gone cannot be caught up with.
        Ok(held.records.last().map(|record| record.sequence_number.clone()))
    }
}
