use std::time::Duration;

use anyhow::ensure;
use ledgerline_stores::EventPattern;

use super::Message;

/// Settings of an event source mapping on a queue, named as in CloudFormation.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueMapping {
    /// A name that stays the same from start to start.
    pub id: String,
    /// The function, by the name that [`Invoke`](crate::event_source::Invoke) knows.
    pub function: String,
    /// `BatchSize`: messages in one invocation at most.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`: how long a batch is gathered.
    pub window: Duration,
    /// `ReportBatchItemFailures`: the function says which messages failed.
    pub reports_item_failures: bool,
    /// `MaximumConcurrency`: invocations at a time.
    pub maximum_concurrency: usize,
    /// `FilterCriteria`: a message that none of them matches is deleted, and not delivered. Without any,
    /// every message is delivered.
    pub filters: Vec<EventPattern>,
    /// The queue's `VisibilityTimeout`: what was received longer ago is somebody else's.
    pub visibility: Duration,
}

/// Invocations at a time where the template says nothing. Lambda begins with as many and goes on to 1,250.
const CONCURRENCY: usize = 5;

impl QueueMapping {
    /// Lambda's defaults: batches of 10, no window, a queue's visibility timeout of 30 s, nothing turned on.
    #[must_use]
    pub fn new(id: impl Into<String>, function: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            function: function.into(),
            batch_size: 10,
            window: Duration::ZERO,
            reports_item_failures: false,
            maximum_concurrency: CONCURRENCY,
            filters: Vec::new(),
            visibility: Duration::from_secs(30),
        }
    }

    /// Whether Lambda makes such a mapping.
    ///
    /// # Errors
    /// What it refuses.
    pub fn check(&self, function_timeout: Duration) -> anyhow::Result<()> {
        ensure!((1..=10_000).contains(&self.batch_size), "BatchSize is from 1 to 10000");
        ensure!(
            self.batch_size <= 10 || !self.window.is_zero(),
            "a BatchSize above 10 takes a MaximumBatchingWindowInSeconds of at least 1"
        );
        ensure!(self.window <= Duration::from_secs(300), "MaximumBatchingWindowInSeconds is 300 at most");
        ensure!((2..=1000).contains(&self.maximum_concurrency), "MaximumConcurrency is from 2 to 1000");
        ensure!(
            self.visibility >= function_timeout,
            "the queue's VisibilityTimeout ({} s) is less than the function's Timeout ({} s)",
            self.visibility.as_secs(),
            function_timeout.as_secs()
        );
        Ok(())
    }

    /// Whether the filters let a message through.
    #[must_use]
    pub fn accepts(&self, message: &Message) -> bool {
        if self.filters.is_empty() {
            return true;
        }
        let message = message.filterable();
        self.filters.iter().any(|filter| filter.matches(&message))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mapping_that_lambda_does_not_make_is_refused() {
        let mapping = || QueueMapping::new("Work.Rows", "work");
        let timeout = Duration::from_secs(30);
        assert!(mapping().check(timeout).is_ok());
        for (refused, says) in [
            (QueueMapping { batch_size: 0, ..mapping() }, "BatchSize"),
            (QueueMapping { batch_size: 11, ..mapping() }, "MaximumBatchingWindowInSeconds"),
            (QueueMapping { window: Duration::from_secs(301), ..mapping() }, "300 at most"),
            (QueueMapping { maximum_concurrency: 1, ..mapping() }, "MaximumConcurrency"),
            (QueueMapping { visibility: Duration::from_secs(29), ..mapping() }, "VisibilityTimeout (29 s)"),
        ] {
            let error = refused.check(timeout).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_filter_looks_into_a_body_that_is_json() {
        let pattern = EventPattern::parse(&json!({"body": {"kind": ["rows"]}})).unwrap();
        let filtered = QueueMapping { filters: vec![pattern], ..QueueMapping::new("Work.Rows", "work") };
        let message = |body: &str| Message { body: body.to_owned(), ..Message::default() };
        let accepted =
            [r#"{"kind":"rows"}"#, r#"{"kind":"else"}"#, "rows"].map(|body| filtered.accepts(&message(body)));
        assert_eq!(accepted, [true, false, false]);
        assert!(QueueMapping::new("Work.Rows", "work").accepts(&message("rows")));
    }
}
