use std::time::Duration;

use serde_json::Value;

/// An event source mapping's settings, named as in CloudFormation. Its parallelization factor is
/// of no use here, since the local stream has one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// `MaximumRecordAgeInSeconds`; none for no limit. Unlike Lambda, which drops an old record
    /// unseen, this gives up an old record only after it has failed: a machine that was asleep over
    /// night must find its read model complete.
    pub maximum_record_age: Option<Duration>,
    /// `BisectBatchOnFunctionError`: a batch that fails is halved, which uses up no retry.
    pub bisect: bool,
    /// `ReportBatchItemFailures`: the function says where its batch failed.
    pub reports_item_failures: bool,
    /// The event names that the filters let through; none where there is no filter.
    pub event_names: Option<Vec<String>>,
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
            event_names: None,
        }
    }

    /// Whether the filters let a record with this event name through.
    #[must_use]
    pub fn accepts(&self, event_name: &str) -> bool {
        self.event_names.as_ref().is_none_or(|names| names.iter().any(|name| name == event_name))
    }
}

/// A filter pattern that cannot be applied here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filters on anything but `eventName` do not run locally: {0}")]
pub struct UnsupportedFilter(String);

/// The event names that these filter patterns let through, for [`Mapping::event_names`]: those of
/// any pattern. `None` for no patterns.
///
/// # Errors
/// [`UnsupportedFilter`] for a pattern other than `{"eventName": [texts]}`.
pub fn event_names_of(patterns: &[Value]) -> Result<Option<Vec<String>>, UnsupportedFilter> {
    let names_of = |pattern: &Value| -> Option<Vec<String>> {
        let fields = pattern.as_object().filter(|fields| fields.len() == 1)?;
        fields.get("eventName")?.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let mut names = Vec::new();
    for pattern in patterns {
        names.extend(names_of(pattern).ok_or_else(|| UnsupportedFilter(pattern.to_string()))?);
    }
    Ok((!patterns.is_empty()).then_some(names))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn without_a_filter_every_event_name_passes() {
        let mapping = Mapping { event_names: event_names_of(&[]).unwrap(), ..Mapping::new("m", "f") };
        assert!(mapping.accepts("INSERT") && mapping.accepts("REMOVE"));
    }

    #[test]
    fn a_record_passes_if_any_filter_names_its_event() {
        let names = event_names_of(&[json!({"eventName": ["INSERT"]}), json!({"eventName": ["MODIFY"]})]).unwrap();
        let mapping = Mapping { event_names: names, ..Mapping::new("m", "f") };
        assert!(mapping.accepts("INSERT") && mapping.accepts("MODIFY") && !mapping.accepts("REMOVE"));
    }

    #[test]
    fn a_filter_on_anything_else_is_an_error_and_not_ignored() {
        let deep = json!({"dynamodb": {"NewImage": {"kind": {"S": ["version"]}}}});
        let both = json!({"eventName": ["INSERT"], "awsRegion": ["x"]});
        for pattern in [deep, both, json!({"eventName": [{"prefix": "IN"}]}), json!([])] {
            assert!(event_names_of(std::slice::from_ref(&pattern)).is_err(), "{pattern}");
        }
    }
}
