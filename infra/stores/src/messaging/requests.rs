//! What winterbaume does not do of SQS's API: `SendMessage` and `SendMessageBatch` within their limits, each
//! entry with an answer of its own, `ReceiveMessage` with all attributes and no polling, and the refusals of
//! `StartMessageMoveTask`. Limits and error codes are those of SQS.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Map, Value, json};
use winterbaume_core::MockResponse;
use winterbaume_sqs::SqsBackend as _;
use winterbaume_sqs::state::SqsError;
use winterbaume_sqs::types::MessageAttribute;

use super::backend::LARGEST_MESSAGE;
use super::fair::Held;
use super::messages::name_in;
use super::{Shared, scope};

/// Messages in a request.
const MESSAGES: usize = 10;

/// Letters of a `MessageGroupId`.
const GROUP: usize = 128;

/// Messages that are moved in a second, at most.
const MOVES: i64 = 500;

/// How long a receive waits at most before it looks again: what was hidden comes into sight without a sound.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why a request, or an entry of a batch, is refused.
struct Refusal {
    status: u16,
    /// As the query protocol called it, and as SDKs still do.
    code: String,
    message: String,
}

fn refusal(code: &str, message: impl Into<String>) -> Refusal {
    Refusal { status: 400, code: code.to_owned(), message: message.into() }
}

impl From<SqsError> for Refusal {
    fn from(error: SqsError) -> Self {
        let code = match error {
            SqsError::NonExistentQueue => "AWS.SimpleQueueService.NonExistentQueue",
            _ => return Self { status: 500, code: "InternalError".to_owned(), message: error.to_string() },
        };
        refusal(code, error.to_string())
    }
}

impl From<Refusal> for MockResponse {
    fn from(refused: Refusal) -> Self {
        let kind = match refused.code.as_str() {
            "AWS.SimpleQueueService.NonExistentQueue" => "QueueDoesNotExist",
            code => code.rsplit('.').next().unwrap_or_default(),
        };
        let body = json!({ "__type": format!("com.amazonaws.sqs#{kind}"), "message": refused.message });
        let mut answer = Self::json(refused.status, body.to_string());
        let fault = if refused.status < 500 { "Sender" } else { "Receiver" };
        if let Ok(code) = format!("{};{fault}", refused.code).parse() {
            answer.headers.insert("x-amzn-query-error", code);
        }
        answer
    }
}

/// Answers a request; none for one that winterbaume answers.
pub(super) async fn answer(shared: &Shared, target: &str, body: &[u8]) -> Option<MockResponse> {
    let action = target.strip_prefix("AmazonSQS.")?;
    if !["SendMessage", "SendMessageBatch", "ReceiveMessage", "StartMessageMoveTask"].contains(&action) {
        return None;
    }
    let Ok(input) = serde_json::from_slice::<Value>(body) else {
        return Some(refusal("InvalidParameterValue", "the request is not JSON").into());
    };
    let queue = input.get("QueueUrl").and_then(Value::as_str).and_then(|url| url.rsplit('/').next());
    let queue = queue.unwrap_or_default();
    let answered = match action {
        "StartMessageMoveTask" => return check_move(shared, &input).await.err().map(MockResponse::from),
        "SendMessage" => send(shared, queue, &input).await,
        "SendMessageBatch" => send_batch(shared, queue, &input).await,
        _ => receive(shared, queue, &input).await,
    };
    Some(answered.map_or_else(MockResponse::from, |answer| MockResponse::json(200, answer.to_string())))
}

async fn send(shared: &Shared, queue: &str, entry: &Value) -> Result<Value, Refusal> {
    let body = text(entry, "MessageBody").unwrap_or_default();
    check(body, text(entry, "MessageGroupId"))?;
    let (account, region) = scope();
    let (queue, body, group) = (queue.to_owned(), body.to_owned(), text(entry, "MessageGroupId").map(str::to_owned));
    let delay = number(entry, "DelaySeconds").and_then(|seconds| seconds.try_into().ok());
    let attributes = attributes_of(entry);
    let sent = shared.sqs.send_message(account, region, queue, body, delay, attributes, group, None).await?;
    Ok(json!({ "MessageId": sent.message_id, "MD5OfMessageBody": sent.body_md5 }))
}

async fn send_batch(shared: &Shared, queue: &str, input: &Value) -> Result<Value, Refusal> {
    let entries = input.get("Entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let service = |code: &str| format!("AWS.SimpleQueueService.{code}");
    match entries.len() {
        0 => return Err(refusal(&service("EmptyBatchRequest"), "There should be at least one entry in the request.")),
        1..=MESSAGES => {}
        count => {
            let message = format!("Maximum number of entries per request are 10. You have sent {count}.");
            return Err(refusal(&service("TooManyEntriesInBatchRequest"), message));
        }
    }
    let ids: BTreeSet<_> = entries.iter().filter_map(|entry| text(entry, "Id")).collect();
    if ids.len() < entries.len() {
        return Err(refusal(&service("BatchEntryIdsNotDistinct"), "Two or more batch entries have the same Id."));
    }
    let bytes: usize = entries.iter().map(size).sum();
    if bytes > LARGEST_MESSAGE {
        let message =
            format!("Batch requests cannot be longer than {LARGEST_MESSAGE} bytes. You have sent {bytes} bytes.");
        return Err(refusal(&service("BatchRequestTooLong"), message));
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        let id = entry.get("Id");
        match send(shared, queue, entry).await {
            Ok(mut sent) => {
                if let Some(fields) = sent.as_object_mut() {
                    fields.insert("Id".to_owned(), json!(id));
                }
                successful.push(sent);
            }
            Err(refused) if refused.code.ends_with("NonExistentQueue") => return Err(refused),
            Err(Refusal { status, code, message }) => {
                failed.push(json!({ "Id": id, "Code": code, "Message": message, "SenderFault": status < 500 }));
            }
        }
    }
    Ok(json!({ "Successful": successful, "Failed": failed }))
}

/// Whether messages can be moved out of this queue. The moving itself is winterbaume's to ask for.
async fn check_move(shared: &Shared, input: &Value) -> Result<(), Refusal> {
    let invalid = |message: &str| refusal("InvalidParameterValue", message);
    if !number(input, "MaxNumberOfMessagesPerSecond").is_none_or(|rate| (1..=MOVES).contains(&rate)) {
        return Err(invalid("MaxNumberOfMessagesPerSecond must be between 1 and 500."));
    }
    let source = name_in(text(input, "SourceArn").unwrap_or_default());
    let (account, region) = scope();
    let sources = match shared.sqs.list_dead_letter_source_queues(account, region, source).await {
        // Which winterbaume says itself.
        Err(SqsError::NonExistentQueue) => return Ok(()),
        sources => sources?,
    };
    if sources.is_empty() { Err(invalid("Source queue must be configured as a Dead Letter Queue.")) } else { Ok(()) }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn number(value: &Value, name: &str) -> Option<i64> {
    value.get(name).and_then(Value::as_i64)
}

/// What SQS counts of a message.
fn size(entry: &Value) -> usize {
    let of_attribute = |(name, attribute): (&String, &Value)| {
        let parts =
            ["DataType", "StringValue", "BinaryValue"].map(|part| text(attribute, part).unwrap_or_default().len());
        name.len() + parts.iter().sum::<usize>()
    };
    let attributes = entry.get("MessageAttributes").and_then(Value::as_object);
    let attributes: usize = attributes.into_iter().flatten().map(of_attribute).sum();
    text(entry, "MessageBody").unwrap_or_default().len() + attributes
}

fn check(body: &str, group: Option<&str>) -> Result<(), Refusal> {
    if body.is_empty() {
        return Err(refusal("MissingParameter", "The request must contain the parameter MessageBody."));
    }
    if body.len() > LARGEST_MESSAGE {
        let message = format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {LARGEST_MESSAGE} bytes."
        );
        return Err(refusal("InvalidParameterValue", message));
    }
    if !super::queues_take(body) {
        return Err(refusal("InvalidMessageContents", "The message has characters that are not allowed."));
    }
    let is_group =
        |group: &str| (1..=GROUP).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_graphic());
    if !group.is_none_or(is_group) {
        return Err(refusal("InvalidParameterValue", "The value for parameter MessageGroupId is invalid."));
    }
    Ok(())
}

fn attributes_of(entry: &Value) -> HashMap<String, MessageAttribute> {
    let attributes = entry.get("MessageAttributes").and_then(Value::as_object);
    let attribute = |(name, value): (&String, &Value)| {
        let data_type = text(value, "DataType")?.to_owned();
        let string_value = text(value, "StringValue").or_else(|| text(value, "BinaryValue")).map(str::to_owned);
        Some((name.clone(), MessageAttribute { data_type, string_value, binary_value: None }))
    };
    attributes.into_iter().flatten().filter_map(attribute).collect()
}

async fn receive(shared: &Shared, queue: &str, input: &Value) -> Result<Value, Refusal> {
    let max = number(input, "MaxNumberOfMessages").unwrap_or(1);
    let max = usize::try_from(max).ok().filter(|max| (1..=MESSAGES).contains(max));
    let max = max.ok_or_else(|| refusal("InvalidParameterValue", "MaxNumberOfMessages must be between 1 and 10."))?;
    let visibility = number(input, "VisibilityTimeout").and_then(|seconds| seconds.try_into().ok());
    let wait = match number(input, "WaitTimeSeconds") {
        Some(seconds) => u64::try_from(seconds).unwrap_or(0),
        None => usual_wait(shared, queue).await?,
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(wait.min(20));
    let received = loop {
        let arrival = shared.sqs.arrival();
        let received = shared.sqs.receive(scope(), queue, max, visibility).await?;
        if !received.is_empty() || tokio::time::Instant::now() >= deadline {
            break received;
        }
        let next_look = deadline.min(tokio::time::Instant::now() + LOOK_AGAIN);
        // An error says that nothing came until then.
        let _ = tokio::time::timeout_at(next_look, arrival).await;
    };
    let asked = |names: &[&str]| -> BTreeSet<String> {
        let lists = names.iter().filter_map(|name| input.get(name)?.as_array()).flatten();
        lists.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    };
    let (system, own) = (asked(&["AttributeNames", "MessageSystemAttributeNames"]), asked(&["MessageAttributeNames"]));
    let messages: Vec<_> = received.iter().map(|held| message(held, &system, &own)).collect();
    Ok(if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) })
}

async fn usual_wait(shared: &Shared, queue: &str) -> Result<u64, Refusal> {
    let (account, region) = scope();
    let attributes = shared.sqs.get_queue_attributes(account, region, queue.to_owned()).await?;
    Ok(attributes.get("ReceiveMessageWaitTimeSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(0))
}

fn message(held: &Held, system: &BTreeSet<String>, own: &BTreeSet<String>) -> Value {
    let message = &held.message;
    let first = message.approximate_first_receive_timestamp.unwrap_or_default();
    let source = held.source.as_deref().map(super::LocalMessaging::queue_arn);
    let known = [
        ("SenderId", Some(message.sender_id.clone())),
        ("SentTimestamp", Some(message.sent_timestamp.to_string())),
        ("ApproximateReceiveCount", Some(message.approximate_receive_count.to_string())),
        ("ApproximateFirstReceiveTimestamp", Some(first.to_string())),
        ("MessageGroupId", held.group.clone()),
        ("DeadLetterQueueSourceArn", source),
    ];
    let wanted = |name: &str| system.contains(name) || system.contains("All");
    let known = known.into_iter().filter(|(name, _)| wanted(name));
    let attributes: Map<_, _> = known.filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect();
    let wanted = |name: &String| own.contains(name) || own.contains("All") || own.contains(".*");
    let mut told = json!({
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt_handle,
        "MD5OfBody": message.body_md5,
        "Body": message.body,
        "Attributes": attributes,
    });
    let own = message.message_attributes.iter().filter(|(name, _)| wanted(name));
    let own: Map<_, _> = own.map(|(name, attribute)| (name.clone(), typed(attribute))).collect();
    if let Some(fields) = told.as_object_mut().filter(|_| !own.is_empty()) {
        fields.insert("MessageAttributes".to_owned(), Value::Object(own));
    }
    told
}

fn typed(attribute: &MessageAttribute) -> Value {
    let is_binary = attribute.data_type.starts_with("Binary");
    let value = if is_binary { "BinaryValue" } else { "StringValue" };
    json!({ "DataType": attribute.data_type, value: attribute.string_value })
}
