use std::time::Duration;

use ledgerline_stores::EventPattern;
use serde_json::Value;

/// An event source mapping's settings, named as in CloudFormation.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// A name that stays the same from start to start; the position is kept under it.
    pub id: String,
    /// The function, by the name that [`Invoke`](super::Invoke) knows.
    pub function: String,
    /// `StartingPosition`, where no position was saved.
    pub start: StartingPosition,
    /// `BatchSize`: records in one invocation at most.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`: how long a batch is gathered.
    pub window: Duration,
    /// `MaximumRetryAttempts`; none for no limit.
    pub maximum_retry_attempts: Option<u32>,
    /// `MaximumRecordAgeInSeconds`: an older record is given up unseen; none for no limit.
    pub maximum_record_age: Option<Duration>,
    /// `BisectBatchOnFunctionError`: a batch that fails is halved, which uses up no retry.
    pub bisect: bool,
    /// `ReportBatchItemFailures`: the function says where its batch failed.
    pub reports_item_failures: bool,
    /// `ParallelizationFactor`: invocations at a time for one shard, at least 1. Records of one item
    /// are never in two of them.
    pub parallelization_factor: usize,
    /// `FilterCriteria`: a record that none of them matches is done with, and not delivered. Without
    /// any, every record is delivered.
    pub filters: Vec<EventPattern>,
}

/// Where a mapping begins that has no position yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartingPosition {
    /// `TRIM_HORIZON`: with the oldest record.
    Oldest,
    /// `LATEST`: with what is written from now on.
    Newest,
}

impl Mapping {
    /// Lambda's defaults: batches of 100 from the oldest record, no window, no limits, nothing
    /// turned on.
    #[must_use]
    pub fn new(id: impl Into<String>, function: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            function: function.into(),
            start: StartingPosition::Oldest,
            batch_size: 100,
            window: Duration::ZERO,
            maximum_retry_attempts: None,
            maximum_record_age: None,
            bisect: false,
            reports_item_failures: false,
            parallelization_factor: 1,
            filters: Vec::new(),
        }
    }

    /// Whether the filters let a record through.
    #[must_use]
    pub fn accepts(&self, record: &str) -> bool {
        if self.filters.is_empty() {
            return true;
        }
        let record: Value = serde_json::from_str(record).unwrap_or(Value::Null);
        self.filters.iter().any(|filter| filter.matches(&record))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_passes_if_any_filter_matches_it_or_there_is_none() {
        let record = |name: &str| json!({ "eventName": name }).to_string();
        let filter = |name: &str| EventPattern::parse(&json!({ "eventName": [name] })).unwrap();
        let filtered = Mapping { filters: vec![filter("INSERT"), filter("MODIFY")], ..Mapping::new("m", "f") };
        let passes = ["INSERT", "MODIFY", "REMOVE"].map(|name| filtered.accepts(&record(name)));
        assert_eq!(passes, [true, true, false]);
        assert!(Mapping::new("m", "f").accepts(&record("REMOVE")));
    }
}
