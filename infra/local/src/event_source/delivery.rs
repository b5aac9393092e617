use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{InvokeError, Mapping, Record, SequenceNumber};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// One batch on its way to a function, and what Lambda would do with it next. Pure: it is told what
/// was answered, and what time it is.
///
/// Invoke the function with [`next`](Self::next) and tell [`settle`](Self::settle) what came of it,
/// until there is no next; before each, see what has [expired](Self::expire). The first
/// [`done`](Self::done) records are done with.
#[derive(Debug)]
pub struct Delivery<'a> {
    mapping: &'a Mapping,
    records: &'a [Record],
    delivered: usize,
    parts: VecDeque<Part>,
}

/// A run of records that is invoked together. It begins where the part before it ends.
#[derive(Debug)]
struct Part {
    end: usize,
    failures: u32,
    unreachable: u32,
}

impl Part {
    fn until(end: usize) -> Self {
        Self { end, failures: 0, unreachable: 0 }
    }
}

/// What came of an invocation.
#[derive(Debug, PartialEq)]
pub enum Settled<'a> {
    /// All records of the invocation are done with.
    Delivered,
    /// Invoke what is next after this long.
    Retry(Duration),
    /// These records are given up: hand them to the failure destination, then go on.
    GivenUp(GivenUp<'a>),
}

/// Records that no retry will help.
#[derive(Debug, PartialEq)]
pub struct GivenUp<'a> {
    /// Which.
    pub records: &'a [Record],
    /// Which limit was reached.
    pub why: Why,
    /// How often they were tried together.
    pub invocations: u32,
    /// What went wrong the last time.
    pub error: String,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// [`Mapping::maximum_retry_attempts`]
    RetryAttemptsExhausted,
    /// [`Mapping::maximum_record_age`]
    RecordAgeExceeded,
}

impl Why {
    /// The condition's name in the message to the failure destination.
    #[must_use]
    pub fn condition(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
        }
    }
}

impl<'a> Delivery<'a> {
    /// The delivery of these records, in the order of the stream.
    #[must_use]
    pub fn new(mapping: &'a Mapping, records: &'a [Record]) -> Self {
        let whole = (!records.is_empty()).then(|| Part::until(records.len()));
        Self { mapping, records, delivered: 0, parts: whole.into_iter().collect() }
    }

    /// The records to invoke the function with; none when all are done with.
    #[must_use]
    pub fn next(&self) -> Option<&'a [Record]> {
        self.parts.front().and_then(|part| self.records.get(self.delivered..part.end))
    }

    /// How many records, from the first on, are done with.
    #[must_use]
    pub fn done(&self) -> usize {
        self.delivered
    }

    /// Decides what follows from the answer to the invocation with [`next`](Self::next).
    pub fn settle(&mut self, answer: &Result<String, InvokeError>) -> Settled<'a> {
        let (Some(records), Some(mut part)) = (self.next(), self.parts.pop_front()) else {
            return Settled::Delivered;
        };
        match judge(answer, records, self.mapping.reports_item_failures) {
            Verdict::Success => {
                self.delivered = part.end;
                Settled::Delivered
            }
            Verdict::FailedAt(index) => {
                // Progress: what is left is a batch of its own, with all its retries.
                self.delivered += index;
                self.parts.push_front(Part::until(part.end));
                Settled::Retry(FIRST_DELAY)
            }
            Verdict::Unreachable => {
                part.unreachable += 1;
                let delay = delay_after(part.unreachable);
                self.parts.push_front(part);
                Settled::Retry(delay)
            }
            Verdict::Failed(error) => self.failed(part, records, error),
        }
    }

    fn failed(&mut self, mut part: Part, records: &'a [Record], error: String) -> Settled<'a> {
        part.failures += 1;
        let invocations = part.failures;
        if self.mapping.bisect && records.len() > 1 {
            let middle = self.delivered + records.len() / 2;
            self.parts.push_front(Part::until(part.end));
            self.parts.push_front(Part::until(middle));
            return Settled::Retry(FIRST_DELAY);
        }
        if self.mapping.maximum_retry_attempts.is_none_or(|retries| part.failures <= retries) {
            self.parts.push_front(part);
            return Settled::Retry(delay_after(invocations));
        }
        self.delivered = part.end;
        Settled::GivenUp(GivenUp { records, why: Why::RetryAttemptsExhausted, invocations, error })
    }

    /// The records at the head of what is next that are too old by now: they are given up.
    pub fn expire(&mut self, now: DateTime<Utc>) -> Option<GivenUp<'a>> {
        let age = self.mapping.maximum_record_age?;
        let old = self.next()?.iter().take_while(|record| is_older(record, age, now)).count();
        let part = self.parts.front()?;
        let records = self.records.get(self.delivered..self.delivered + old).filter(|records| !records.is_empty())?;
        let given_up = GivenUp {
            records,
            why: Why::RecordAgeExceeded,
            invocations: part.failures,
            error: "the records are older than the mapping allows".to_owned(),
        };
        self.delivered += old;
        if self.delivered >= part.end {
            self.parts.pop_front();
        }
        Some(given_up)
    }
}

fn is_older(record: &Record, age: Duration, now: DateTime<Utc>) -> bool {
    // A record from the future is young.
    (now - record.created).to_std().is_ok_and(|lived| lived > age)
}

fn delay_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    (FIRST_DELAY * 2_u32.pow(doublings)).min(LONGEST_DELAY)
}

enum Verdict {
    Success,
    /// The records before this one succeeded; at least one did.
    FailedAt(usize),
    Failed(String),
    Unreachable,
}

fn judge(answer: &Result<String, InvokeError>, records: &[Record], reports_item_failures: bool) -> Verdict {
    match answer {
        Err(InvokeError::Unavailable(_)) => Verdict::Unreachable,
        Err(InvokeError::Failed(error)) => Verdict::Failed(error.clone()),
        Ok(_) if !reports_item_failures => Verdict::Success,
        Ok(text) => match first_reported(text, records) {
            Ok(None) => Verdict::Success,
            // Nothing succeeded, so there is no place to go on from.
            Ok(Some(0)) => Verdict::Failed("the function reported the first record as failed".to_owned()),
            Ok(Some(index)) => Verdict::FailedAt(index),
            Err(error) => Verdict::Failed(error),
        },
    }
}

/// The first of the records that a partial batch response reports as failed; none for a response
/// that Lambda counts as a success. See "Configuring partial batch response with DynamoDB and
/// Lambda" in the Lambda developer guide.
fn first_reported(text: &str, records: &[Record]) -> Result<Option<usize>, String> {
    let text = if text.trim().is_empty() { "null" } else { text };
    let malformed = || format!("not a partial batch response: {text}");
    let response: Value = serde_json::from_str(text).map_err(|_| malformed())?;
    let failures = match &response {
        Value::Null => return Ok(None),
        Value::Object(fields) => fields.get("batchItemFailures").unwrap_or(&Value::Null),
        _ => return Err(malformed()),
    };
    let failures = match failures {
        Value::Null => return Ok(None),
        Value::Array(failures) => failures,
        _ => return Err(malformed()),
    };
    let index_of = |failure: &Value| {
        let reported = SequenceNumber::parse(failure.get("itemIdentifier")?.as_str()?)?;
        records.iter().position(|record| record.sequence_number == reported)
    };
    let indices: Option<Vec<usize>> = failures.iter().map(index_of).collect();
    // The records are in the order of their numbers, so the first is the one with the lowest.
    indices.map(|indices| indices.into_iter().min()).ok_or_else(malformed)
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
