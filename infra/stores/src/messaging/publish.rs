//! `Publish` and `PublishBatch`, which winterbaume answers without delivering anything, and without
//! reading attributes. Limits and error codes are those of SNS.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use ulid::Ulid;
use url::form_urlencoded;
use winterbaume_core::{MockResponse, xml_escape};

use super::pattern::EventPattern;
use super::{QueueMessage, Shared, queues_take, scope};

/// What a message, and all messages of a batch, may have in bytes, attributes included.
const LIMIT: usize = 256 * 1024;

/// Messages in a batch.
const MESSAGES: usize = 10;

/// Why a request, or a message of a batch, is refused.
struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

fn refusal(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status: 400, code, message: message.into() }
}

/// The parameters of a request, decoded.
type Form = BTreeMap<String, String>;

/// One message.
struct Published {
    /// Its name in a batch.
    id: String,
    message: String,
    subject: Option<String>,
    attributes: BTreeMap<String, Attribute>,
}

struct Attribute {
    data_type: String,
    value: String,
}

/// Answers a request that publishes; none for any other.
pub(super) async fn publish(shared: &Shared, body: &[u8]) -> Option<MockResponse> {
    let form: Form = form_urlencoded::parse(body).into_owned().collect();
    let answered = match form.get("Action").map(String::as_str) {
        Some("Publish") => publish_one(shared, &form).await,
        Some("PublishBatch") => publish_batch(shared, &form).await,
        _ => return None,
    };
    Some(answered.unwrap_or_else(|refused| MockResponse::error(refused.status, refused.code, &refused.message)))
}

async fn publish_one(shared: &Shared, form: &Form) -> Result<MockResponse, Refusal> {
    let topic = topic_of(shared, form).await?;
    let published = read(form, "")?;
    let id = deliver(shared, &topic, &published).await?;
    Ok(answer("Publish", &format!("<MessageId>{id}</MessageId>")))
}

async fn publish_batch(shared: &Shared, form: &Form) -> Result<MockResponse, Refusal> {
    let topic = topic_of(shared, form).await?;
    let prefix = |number: usize| format!("PublishBatchRequestEntries.member.{number}.");
    let ids: Vec<&String> = (1..).map_while(|number| form.get(&format!("{}Id", prefix(number)))).collect();
    match ids.len() {
        0 => return Err(refusal("EmptyBatchRequest", "The batch request doesn't contain any entries")),
        1..=MESSAGES => {}
        _ => {
            return Err(refusal(
                "TooManyEntriesInBatchRequest",
                "The batch request contains more entries than permissible",
            ));
        }
    }
    if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        return Err(refusal("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id"));
    }
    let entries: Vec<_> = (1..=ids.len()).map(|number| read(form, &prefix(number))).collect();
    if entries.iter().flatten().map(Published::size).sum::<usize>() > LIMIT {
        return Err(refusal(
            "BatchRequestTooLong",
            "The length of all the batch messages put together is more than the limit",
        ));
    }
    let (mut successful, mut failed) = (String::new(), String::new());
    for (id, entry) in ids.into_iter().zip(entries) {
        let delivered = match &entry {
            Ok(published) => deliver(shared, &topic, published).await,
            Err(refused) => Err(refusal(refused.code, refused.message.clone())),
        };
        let id = xml_escape(id);
        match delivered {
            Ok(message) => successful += &format!("<member><Id>{id}</Id><MessageId>{message}</MessageId></member>"),
            Err(Refusal { code, message, status }) => {
                let (message, sender) = (xml_escape(&message), status < 500);
                failed += &format!(
                    "<member><Id>{id}</Id><Code>{code}</Code><Message>{message}</Message><SenderFault>{sender}</SenderFault></member>"
                );
            }
        }
    }
    Ok(answer("PublishBatch", &format!("<Successful>{successful}</Successful><Failed>{failed}</Failed>")))
}

async fn topic_of(shared: &Shared, form: &Form) -> Result<String, Refusal> {
    let Some(topic) = form.get("TopicArn") else {
        return Err(refusal("InvalidParameter", "Invalid parameter: TopicArn"));
    };
    let (account, region) = scope();
    match shared.sns.get_topic_attributes(account, region, topic.clone()).await {
        Ok(_) => Ok(topic.clone()),
        Err(_) => Err(Refusal { status: 404, code: "NotFound", message: "Topic does not exist".to_owned() }),
    }
}

/// Reads the message whose parameters have this prefix.
fn read(form: &Form, prefix: &str) -> Result<Published, Refusal> {
    let text = |name: &str| form.get(&format!("{prefix}{name}")).cloned();
    let mut attributes = BTreeMap::new();
    for number in 1.. {
        let entry = |name: &str| text(&format!("MessageAttributes.entry.{number}.{name}"));
        let Some(name) = entry("Name") else { break };
        let value = entry("Value.StringValue").or_else(|| entry("Value.BinaryValue")).unwrap_or_default();
        if value.is_empty() {
            let message = format!("Invalid parameter: The message attribute '{name}' must contain non-empty value");
            return Err(refusal("InvalidParameter", message));
        }
        attributes.insert(name, Attribute { data_type: entry("Value.DataType").unwrap_or_default(), value });
    }
    let published = Published {
        id: text("Id").unwrap_or_default(),
        message: text("Message").unwrap_or_default(),
        subject: text("Subject"),
        attributes,
    };
    if published.message.is_empty() {
        return Err(refusal("InvalidParameter", "Invalid parameter: Empty message"));
    }
    if published.size() > LIMIT {
        return Err(refusal("InvalidParameter", "Invalid parameter: Message too long"));
    }
    let is_allowed = published.attributes.values().all(|attribute| queues_take(&attribute.value));
    if !is_allowed || !queues_take(&published.message) {
        // SNS takes such a message and SQS does not: it would be lost between them.
        return Err(refusal("InvalidParameter", format!("{} has characters that queues refuse", published.id)));
    }
    Ok(published)
}

impl Published {
    fn size(&self) -> usize {
        let of_attribute =
            |(name, attribute): (&String, &Attribute)| name.len() + attribute.data_type.len() + attribute.value.len();
        self.message.len() + self.attributes.iter().map(of_attribute).sum::<usize>()
    }

    /// What filter policies look at.
    fn filterable(&self) -> Value {
        let value = |attribute: &Attribute| match attribute.data_type.as_str() {
            "Number" | "String.Array" => serde_json::from_str(&attribute.value).ok(),
            _ => Some(json!(attribute.value)),
        };
        let fields = self.attributes.iter().filter_map(|(name, attribute)| Some((name.clone(), value(attribute)?)));
        Value::Object(fields.collect::<Map<_, _>>())
    }

    /// What a queue gets that subscribes without raw delivery.
    fn envelope(&self, topic: &str, id: &str) -> String {
        let attribute = |(name, attribute): (&String, &Attribute)| {
            (name.clone(), json!({"Type": attribute.data_type, "Value": attribute.value}))
        };
        let mut envelope = json!({
            "Type": "Notification",
            "MessageId": id,
            "TopicArn": topic,
            "Message": self.message,
            "Timestamp": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            "SignatureVersion": "1",
            "Signature": "local",
            "SigningCertURL": "",
            "UnsubscribeURL": "",
            "MessageAttributes": self.attributes.iter().map(attribute).collect::<Map<_, _>>(),
        });
        if let (Some(subject), Some(fields)) = (&self.subject, envelope.as_object_mut()) {
            fields.insert("Subject".to_owned(), json!(subject));
        }
        envelope.to_string()
    }
}

/// Puts a message into each queue that subscribes to it. Gives its id.
async fn deliver(shared: &Shared, topic: &str, published: &Published) -> Result<String, Refusal> {
    let internal = |message: String| Refusal { status: 500, code: "InternalError", message };
    let (account, region) = scope();
    let subscriptions = shared.sns.list_subscriptions_by_topic(account, region, topic.to_owned()).await;
    let subscriptions = subscriptions.map_err(|error| internal(format!("{error:?}")))?;
    let id = Ulid::generate().to_string();
    for subscription in subscriptions.into_iter().filter(|subscription| subscription.protocol == "sqs") {
        let attribute = |name: &str| subscription.attributes.get(name).map(String::as_str);
        if !accepts(attribute("FilterPolicy"), attribute("FilterPolicyScope"), published) {
            continue;
        }
        let queue = subscription.endpoint.rsplit(':').next().unwrap_or_default();
        let texts = published.attributes.iter().map(|(name, attribute)| (name.clone(), attribute.value.clone()));
        let message = match attribute("RawMessageDelivery") {
            Some("true") => {
                let (body, attributes) = (published.message.clone(), texts.collect());
                QueueMessage { body, attributes, ..QueueMessage::default() }
            }
            _ => QueueMessage { body: published.envelope(topic, &id), ..QueueMessage::default() },
        };
        if let Err(error) = shared.send(queue, &message).await {
            // As on AWS: a queue that is gone stops nobody else, and the publisher hears nothing of it.
            tracing::warn!("a message of {topic} was not delivered: {error:#}");
        }
    }
    Ok(id)
}

fn accepts(filter: Option<&str>, scope: Option<&str>, published: &Published) -> bool {
    let Some(filter) = filter.filter(|filter| !filter.is_empty()) else { return true };
    let parsed = serde_json::from_str(filter).ok().and_then(|filter| EventPattern::parse(&filter).ok());
    match (scope.unwrap_or("MessageAttributes"), parsed) {
        ("MessageAttributes", Some(pattern)) => pattern.matches(&published.filterable()),
        ("MessageBody", Some(pattern)) => {
            serde_json::from_str(&published.message).is_ok_and(|body| pattern.matches(&body))
        }
        _ => {
            tracing::warn!("nothing is delivered to a subscription whose filter does not run locally: {filter}");
            false
        }
    }
}

fn answer(action: &str, result: &str) -> MockResponse {
    let request = Ulid::generate();
    MockResponse::xml(
        200,
        format!(
            "<{action}Response xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><{action}Result>{result}</{action}Result>\
             <ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata></{action}Response>"
        ),
    )
}
