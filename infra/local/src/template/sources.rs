//! Functions' events from queues and buckets, as far as they run here.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::messaging::{Queue, attribute_of};
use super::{Function, bucket_name, local_name, read_filter};
use crate::notifications::{AsyncInvoke, Rule};
use crate::queue_source::QueueMapping;

/// An event source mapping of a queue to a function.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSourceMapping {
    /// The local name of the queue.
    pub queue: String,
    /// The function and how it is invoked. The id is made of the names of function and event in the
    /// template.
    pub settings: QueueMapping,
}

/// Reads an event of the type `SQS`; none if it is turned off.
pub(super) fn read_queue_mapping(
    queues: &[Queue],
    function: &Function,
    name: &str,
    properties: &Value,
) -> anyhow::Result<Option<QueueSourceMapping>> {
    let number = |path: &str| properties.pointer(path).and_then(Value::as_u64);
    let queue = attribute_of(properties.get("Queue"), "Arn").context("its Queue is not `!GetAtt <queue>.Arn`")?;
    let queue = queues.iter().find(|candidate| candidate.logical_id == queue);
    let queue = queue.with_context(|| "its queue is not in the template")?;
    let filters = properties.pointer("/FilterCriteria/Filters").and_then(Value::as_array);
    let filters = filters.into_iter().flatten().map(read_filter).collect::<anyhow::Result<_>>()?;
    let response_types = properties.get("FunctionResponseTypes").and_then(Value::as_array);
    let defaults = QueueMapping::new(format!("{}.{name}", function.logical_id), &function.binary);
    let size = |path: &str, default: usize| match number(path) {
        Some(number) => number.try_into().with_context(|| format!("{path} is {number}")),
        None => Ok(default),
    };
    let settings = QueueMapping {
        batch_size: size("/BatchSize", defaults.batch_size)?,
        window: Duration::from_secs(number("/MaximumBatchingWindowInSeconds").unwrap_or(0)),
        reports_item_failures: response_types
            .is_some_and(|types| types.iter().any(|kind| kind == "ReportBatchItemFailures")),
        maximum_concurrency: size("/ScalingConfig/MaximumConcurrency", defaults.maximum_concurrency)?,
        filters,
        visibility: queue.visibility_timeout(),
        ..defaults
    };
    settings.check(function.timeout)?;
    let is_off = properties.get("Enabled") == Some(&Value::Bool(false));
    Ok((!is_off).then(|| QueueSourceMapping { queue: queue.name.clone(), settings }))
}

/// Reads an event of the type `S3`; none if it is of something else than objects that are created.
pub(super) fn read_notification(
    document: &Value,
    function: &Function,
    resource: &Value,
    name: &str,
    properties: &Value,
) -> anyhow::Result<Option<Rule>> {
    let bucket =
        properties.pointer("/Bucket/Ref").and_then(Value::as_str).context("its Bucket is not `!Ref <bucket>`")?;
    let events: Vec<String> = match properties.get("Events") {
        Some(Value::String(event)) => vec![event.clone()],
        Some(Value::Array(events)) => events.iter().filter_map(|event| event.as_str().map(str::to_owned)).collect(),
        _ => bail!("it has no Events"),
    };
    if !events.iter().all(|event| event.starts_with("s3:ObjectCreated:")) {
        return Ok(None);
    }
    let (mut prefix, mut suffix) = (String::new(), String::new());
    for rule in properties.pointer("/Filter/S3Key/Rules").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| rule.get(name).and_then(Value::as_str);
        match (text("Name").map(str::to_lowercase).as_deref(), text("Value")) {
            (Some("prefix"), Some(value)) => value.clone_into(&mut prefix),
            (Some("suffix"), Some(value)) => value.clone_into(&mut suffix),
            _ => bail!("a rule of its Filter has a Name (prefix or suffix) and a Value"),
        }
    }
    Ok(Some(Rule {
        id: format!("{}.{name}", function.logical_id),
        function: function.binary.clone(),
        bucket: bucket_name(document, bucket)?,
        events,
        prefix,
        suffix,
        invoke: read_async_invoke(resource)?,
    }))
}

/// What becomes of a function's asynchronous invocations that fail.
fn read_async_invoke(function: &Value) -> anyhow::Result<AsyncInvoke> {
    let property = |path: &str| function.pointer(&format!("/Properties/{path}"));
    let number = |name: &str| property(&format!("EventInvokeConfig/{name}")).and_then(Value::as_u64);
    let defaults = AsyncInvoke::default();
    let queue = |path: &str, target: &str| -> anyhow::Result<Option<String>> {
        let Some(destination) = property(path) else { return Ok(None) };
        ensure!(destination.get("Type") == Some(&Value::from("SQS")), "{path}: only queues are destinations here");
        let target = attribute_of(destination.get(target), "Arn");
        Ok(Some(local_name(target.with_context(|| format!("{path} is not `!GetAtt <queue>.Arn`"))?)))
    };
    let retries = number("MaximumRetryAttempts").map_or(Ok(defaults.retries), TryInto::try_into)?;
    ensure!(retries <= 2, "MaximumRetryAttempts is 2 at most");
    Ok(AsyncInvoke {
        retries,
        max_age: number("MaximumEventAgeInSeconds").map_or(defaults.max_age, Duration::from_secs),
        on_failure: queue("EventInvokeConfig/DestinationConfig/OnFailure", "Destination")?,
        dead_letters: queue("DeadLetterQueue", "TargetArn")?,
    })
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
