//! Queues, topics, subscriptions and schedules, as far as they run here.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ledgerline_stores::{EventPattern, Subscription};
use serde_json::{Value, json};

use super::local_name;
use ledgerline_stores::LocalMessaging;

/// An SQS queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name in the template.
    pub logical_id: String,
    /// What it is called here: the logical id, prefixed, in lower case.
    pub name: String,
    /// What `CreateQueue` takes.
    pub attributes: BTreeMap<String, String>,
    /// The local name of the queue that gets what was received too often.
    pub dead_letters: Option<String>,
}

impl Queue {
    /// For how long a message is hidden that was received.
    pub(super) fn visibility_timeout(&self) -> Duration {
        let seconds = self.attributes.get("VisibilityTimeout").and_then(|seconds| seconds.parse().ok());
        Duration::from_secs(seconds.unwrap_or(30))
    }
}

/// An SNS topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name in the template.
    pub logical_id: String,
    /// What it is called here: the logical id, prefixed, in lower case.
    pub name: String,
}

/// A queue's subscription to a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSubscription {
    /// The local name of the topic.
    pub topic: String,
    /// The local name of the queue.
    pub queue: String,
    /// How it subscribes.
    pub settings: Subscription,
}

/// A function that is invoked again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The names of function and event in the template.
    pub id: String,
    /// The function.
    pub function: String,
    /// How often.
    pub every: Duration,
    /// What it is invoked with, JSON text; if none, with what EventBridge sends.
    pub input: Option<String>,
}

/// Settings of a queue that CloudFormation and `CreateQueue` call the same.
const NUMBERS: [&str; 4] = ["DelaySeconds", "MaximumMessageSize", "MessageRetentionPeriod", "VisibilityTimeout"];

pub(super) fn read_queue(id: &str, resource: &Value) -> anyhow::Result<Queue> {
    let property = |name: &str| resource.pointer(&format!("/Properties/{name}"));
    if property("FifoQueue") == Some(&Value::Bool(true)) {
        bail!("FIFO queues do not run locally");
    }
    let mut attributes = BTreeMap::new();
    for name in NUMBERS {
        if let Some(value) = property(name).and_then(Value::as_u64) {
            attributes.insert(name.to_owned(), value.to_string());
        }
    }
    if let Some(value) = property("ReceiveMessageWaitTimeSeconds").and_then(Value::as_u64) {
        attributes.insert("ReceiveMessageWaitTimeSeconds".to_owned(), value.to_string());
    }
    let mut dead_letters = None;
    if let Some(redrive) = property("RedrivePolicy") {
        let target = attribute_of(redrive.get("deadLetterTargetArn"), "Arn");
        let target = local_name(target.context("its deadLetterTargetArn is not `!GetAtt <queue>.Arn`")?);
        let count = redrive.get("maxReceiveCount").and_then(Value::as_u64).context("it has no maxReceiveCount")?;
        let policy = json!({ "deadLetterTargetArn": LocalMessaging::queue_arn(&target), "maxReceiveCount": count });
        attributes.insert("RedrivePolicy".to_owned(), policy.to_string());
        dead_letters = Some(target);
    }
    Ok(Queue { logical_id: id.to_owned(), name: local_name(id), attributes, dead_letters })
}

pub(super) fn read_topic(id: &str, resource: &Value) -> anyhow::Result<Topic> {
    if resource.pointer("/Properties/FifoTopic") == Some(&Value::Bool(true)) {
        bail!("FIFO topics do not run locally");
    }
    Ok(Topic { logical_id: id.to_owned(), name: local_name(id) })
}

/// A subscription; none if it is one that does not run here: of anything but a queue of this template, or
/// with a filter that is not understood.
pub(super) fn read_subscription(resource: &Value) -> Option<QueueSubscription> {
    let property = |name: &str| resource.pointer(&format!("/Properties/{name}"));
    let filter = property("FilterPolicy").cloned();
    let is_understood = filter.as_ref().is_none_or(|filter| EventPattern::parse(filter).is_ok());
    let looks_at_attributes = property("FilterPolicyScope").is_none_or(|scope| scope == "MessageAttributes");
    if property("Protocol") != Some(&json!("sqs")) || !is_understood || !looks_at_attributes {
        return None;
    }
    let raw = property("RawMessageDelivery") == Some(&Value::Bool(true));
    Some(QueueSubscription {
        topic: local_name(property("TopicArn")?.get("Ref")?.as_str()?),
        queue: local_name(attribute_of(property("Endpoint"), "Arn")?),
        settings: Subscription { raw, filter },
    })
}

/// A schedule; none if it is one that does not run here: by the calendar, or turned off.
pub(super) fn read_schedule(id: String, function: &str, properties: &Value) -> Option<Schedule> {
    let text = |name: &str| properties.get(name).and_then(Value::as_str);
    let is_off = text("State") == Some("DISABLED") || properties.get("Enabled") == Some(&Value::Bool(false));
    let expression = text("ScheduleExpression").or_else(|| text("Schedule")).filter(|_| !is_off)?;
    Some(Schedule {
        id,
        function: function.to_owned(),
        every: read_rate(expression)?,
        input: text("Input").map(str::to_owned),
    })
}

/// `rate(5 minutes)`.
fn read_rate(expression: &str) -> Option<Duration> {
    let (number, unit) = expression.strip_prefix("rate(")?.strip_suffix(')')?.split_once(' ')?;
    let seconds = match unit.trim_end_matches('s') {
        "minute" => 60,
        "hour" => 60 * 60,
        "day" => 24 * 60 * 60,
        _ => return None,
    };
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

/// The logical id in `!GetAtt <id>.<attribute>`.
pub(super) fn attribute_of<'a>(value: Option<&'a Value>, attribute: &str) -> Option<&'a str> {
    let path = value?.get("Fn::GetAtt")?.as_array()?;
    (path.get(1)? == attribute).then(|| path.first()?.as_str()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_minutes_hours_or_days() {
        let seconds = |expression| read_rate(expression).map(|rate| rate.as_secs());
        assert_eq!(seconds("rate(1 minute)"), Some(60));
        assert_eq!(seconds("rate(5 minutes)"), Some(300));
        assert_eq!(seconds("rate(2 hours)"), Some(7200));
        assert_eq!(seconds("rate(1 day)"), Some(86400));
        for other in
            ["rate(0 minutes)", "rate(1 week)", "rate(x minutes)", "cron(0 12 * * ? *)", "at(2026-01-01T00:00:00)"]
        {
            assert_eq!(seconds(other), None, "{other}");
        }
    }

    #[test]
    fn a_schedule_that_is_off_or_by_the_calendar_does_not_run() {
        let read = |properties: Value| read_schedule("F.Tick".to_owned(), "f", &properties);
        let on = read(json!({"ScheduleExpression": "rate(1 minute)", "Input": "{}"})).unwrap();
        assert_eq!((on.every, on.input.as_deref(), on.function.as_str()), (Duration::from_secs(60), Some("{}"), "f"));
        assert!(read(json!({"Schedule": "rate(1 hour)"})).is_some());
        assert_eq!(read(json!({"ScheduleExpression": "rate(1 minute)", "State": "DISABLED"})), None);
        assert_eq!(read(json!({"Schedule": "rate(1 minute)", "Enabled": false})), None);
        assert_eq!(read(json!({"ScheduleExpression": "cron(0 12 * * ? *)"})), None);
    }
}
