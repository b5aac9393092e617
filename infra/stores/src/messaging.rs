use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use winterbaume_core::auth::extract_service_from_headers;
use winterbaume_core::{MockRequest, MockResponse, MockService, default_account_id};
use winterbaume_sns::{InMemorySnsBackend, SnsBackend, SnsService};
use winterbaume_sqs::types::MessageAttribute;
use winterbaume_sqs::{SqsBackend, SqsService};

use backend::FairBackend;
use pattern::EventPattern;

mod backend;
mod fair;
mod messages;
pub(crate) mod pattern;
mod publish;
mod requests;

/// The region of every queue and topic.
const REGION: &str = "us-east-1";

/// More than any request to SNS or SQS may have, in bytes: a message of 1 MiB, however JSON spells it.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// How long [`LocalMessaging::stop`] waits for requests under way, such as a long poll.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// SNS and SQS in this process, served over their real HTTP APIs on one loopback port. What is
/// published to a topic is delivered to the queues that subscribe to it before it is answered. Queues are fair
/// between the groups of their messages.
///
/// Queues and topics are kept in memory: they are gone when it stops.
pub struct LocalMessaging {
    endpoint: String,
    shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

/// How a queue subscribes to a topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Subscription {
    /// `RawMessageDelivery`: the message as it was published, instead of an envelope around it.
    pub raw: bool,
    /// `FilterPolicy`, on the attributes of messages.
    pub filter: Option<Value>,
}

/// A message taken from a queue, or on its way into one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueMessage {
    /// What it says.
    pub body: String,
    /// Its attributes with a text, by name.
    pub attributes: BTreeMap<String, String>,
    /// How often it was taken from the queue.
    pub receive_count: u32,
    /// By which it is deleted.
    pub receipt_handle: String,
    /// Its `MessageGroupId`: the queue is fair between groups.
    pub group: Option<String>,
}

/// How many messages a queue holds, by what can be done with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Can be received.
    pub visible: u64,
    /// Were received, and not deleted yet.
    pub in_flight: u64,
    /// Can be received later.
    pub delayed: u64,
}

impl QueueDepth {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

struct Shared {
    sqs: Arc<FairBackend>,
    sns: Arc<dyn SnsBackend>,
    sqs_service: SqsService,
    sns_service: SnsService,
}

impl LocalMessaging {
    /// Serves. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// If no loopback port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let sqs = Arc::new(FairBackend::default());
        let sns: Arc<dyn SnsBackend> = Arc::new(InMemorySnsBackend::new());
        let (sqs_service, sns_service) =
            (SqsService::with_backend(Arc::<FairBackend>::clone(&sqs)), SnsService::with_backend(Arc::clone(&sns)));
        let shared = Arc::new(Shared { sqs, sns, sqs_service, sns_service });
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for SNS and SQS")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let (stop, stopped) = oneshot::channel();
        let until_stopped = async {
            // A dropped sender stops the server as well.
            let _ = stopped.await;
        };
        let server =
            tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(until_stopped).await });
        Ok(Self { endpoint, shared, stop, server })
    }

    /// The address of both APIs, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The ARN of a queue with this name.
    #[must_use]
    pub fn queue_arn(name: &str) -> String {
        format!("arn:aws:sqs:{REGION}:{}:{name}", default_account_id())
    }

    /// The ARN of a topic with this name.
    #[must_use]
    pub fn topic_arn(name: &str) -> String {
        format!("arn:aws:sns:{REGION}:{}:{name}", default_account_id())
    }

    /// The URL of a queue with this name.
    #[must_use]
    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.endpoint, default_account_id())
    }

    /// Makes a queue with the attributes that `CreateQueue` takes. One that is there already stays as it
    /// is.
    ///
    /// # Errors
    /// If SQS refuses the name, or a queue of this name has other attributes.
    pub async fn create_queue(&self, name: &str, attributes: BTreeMap<String, String>) -> anyhow::Result<()> {
        let (account, region) = scope();
        let made =
            self.shared.sqs.create_queue(account, region, name.to_owned(), attributes.into_iter().collect(), None);
        made.await.map_err(|error| anyhow!("the queue {name} cannot be made: {error}"))?;
        Ok(())
    }

    /// Makes a standard topic; gives its ARN. One that is there already stays as it is.
    ///
    /// # Errors
    /// If SNS refuses the name.
    pub async fn create_topic(&self, name: &str) -> anyhow::Result<String> {
        let (account, region) = scope();
        let made = self.shared.sns.create_topic(account, region, name.to_owned(), HashMap::new());
        made.await.map_err(|error| anyhow!("the topic {name} cannot be made: {error:?}"))
    }

    /// Subscribes a queue to a topic.
    ///
    /// # Errors
    /// If there is no such topic, or the filter policy is one that is not applied here.
    pub async fn subscribe(&self, topic: &str, queue: &str, subscription: &Subscription) -> anyhow::Result<()> {
        let failed = |error| anyhow!("{queue} cannot subscribe to {topic}: {error:?}");
        if let Some(filter) = &subscription.filter {
            EventPattern::parse(filter)?;
        }
        let sns = &self.shared.sns;
        let (account, region) = scope();
        let (topic, endpoint) = (Self::topic_arn(topic), Self::queue_arn(queue));
        let arn = sns.subscribe(account, region, topic.clone(), "sqs".to_owned(), endpoint).await.map_err(failed)?;
        let raw = Some(("RawMessageDelivery", subscription.raw.to_string()));
        let filter = subscription.filter.as_ref().map(|filter| ("FilterPolicy", filter.to_string()));
        for (name, value) in raw.into_iter().chain(filter) {
            let (account, region) = scope();
            let set = sns.set_subscription_attributes(account, region, arn.clone(), name.to_owned(), value);
            set.await.map_err(failed)?;
        }
        Ok(())
    }

    /// The queues themselves, without going through HTTP.
    #[must_use]
    pub fn queues(&self) -> Queues {
        Queues(Arc::clone(&self.shared))
    }

    /// Stops serving and forgets everything.
    pub async fn stop(self) {
        // Nobody listens any more if the server has ended by itself.
        let _ = self.stop.send(());
        let mut server = self.server;
        if tokio::time::timeout(STOP_PATIENCE, &mut server).await.is_err() {
            server.abort();
        }
    }
}

/// The queues of a [`LocalMessaging`]. Clones are the same queues.
#[derive(Clone)]
pub struct Queues(Arc<Shared>);

impl Queues {
    /// Puts a message into a queue.
    ///
    /// # Errors
    /// If there is no such queue.
    pub async fn send(&self, queue: &str, message: &QueueMessage) -> anyhow::Result<()> {
        self.0.send(queue, message).await
    }

    /// Takes up to `max` messages from a queue, which shows them to nobody else for as long as it is set
    /// up to.
    ///
    /// # Errors
    /// If there is no such queue.
    pub async fn receive(&self, queue: &str, max: usize) -> anyhow::Result<Vec<QueueMessage>> {
        let received = self.0.sqs.receive(scope(), queue, max, None).await;
        let received = received.map_err(|error| anyhow!("the queue {queue} cannot be read: {error}"))?;
        let text = |(name, value): (String, MessageAttribute)| Some((name, value.string_value?));
        let read = received.into_iter().map(|held| QueueMessage {
            body: held.message.body,
            attributes: held.message.message_attributes.into_iter().filter_map(text).collect(),
            receive_count: held.message.approximate_receive_count,
            receipt_handle: held.message.receipt_handle.unwrap_or_default(),
            group: held.group,
        });
        Ok(read.collect())
    }

    /// Removes a message that was taken from a queue.
    ///
    /// # Errors
    /// If there is no such queue, or it does not know the handle.
    pub async fn delete(&self, queue: &str, receipt_handle: &str) -> anyhow::Result<()> {
        let (account, region) = scope();
        let deleted = self.0.sqs.delete_message(account, region, queue.to_owned(), receipt_handle.to_owned());
        deleted.await.map_err(|error| anyhow!("a message in {queue} cannot be deleted: {error}"))
    }

    /// How many messages a queue holds, taken or not.
    ///
    /// # Errors
    /// If there is no such queue.
    pub async fn depth(&self, queue: &str) -> anyhow::Result<u64> {
        Ok(self.depths(queue).await?.total())
    }

    /// How many messages a queue holds, by what can be done with them.
    ///
    /// # Errors
    /// If there is no such queue.
    pub async fn depths(&self, queue: &str) -> anyhow::Result<QueueDepth> {
        let (account, region) = scope();
        let attributes = self.0.sqs.get_queue_attributes(account, region, queue.to_owned()).await;
        let attributes = attributes.map_err(|error| anyhow!("the queue {queue} cannot be read: {error}"))?;
        let count = |kind: &str| attributes.get(&format!("ApproximateNumberOfMessages{kind}"))?.parse().ok();
        let [visible, in_flight, delayed] = ["", "NotVisible", "Delayed"].map(|kind| count(kind).unwrap_or(0));
        Ok(QueueDepth { visible, in_flight, delayed })
    }
}

/// Whether every character is one of XML's, which are those that queues carry.
fn queues_take(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..))
}

/// The account and the region of everything here.
fn scope() -> (String, String) {
    (default_account_id().to_owned(), REGION.to_owned())
}

impl Shared {
    async fn send(&self, queue: &str, message: &QueueMessage) -> anyhow::Result<()> {
        let attribute = |(name, value): (&String, &String)| {
            let (data_type, string_value) = ("String".to_owned(), Some(value.clone()));
            (name.clone(), MessageAttribute { data_type, string_value, binary_value: None })
        };
        let attributes = message.attributes.iter().map(attribute).collect();
        let (account, region) = scope();
        let (body, group) = (message.body.clone(), message.group.clone());
        let sent = self.sqs.send_message(account, region, queue.to_owned(), body, None, attributes, group, None);
        sent.await.map_err(|error| anyhow!("{queue} takes no message: {error}"))?;
        Ok(())
    }
}

/// Every request of both services goes to `/`; the service is in the credential scope of its signature.
async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let service = extract_service_from_headers(&head.headers).unwrap_or_default();
    let request =
        MockRequest { method: head.method.to_string(), uri: head.uri.to_string(), headers: head.headers, body };
    let answer = match service.as_str() {
        "sqs" => {
            let target = request.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
            match requests::answer(&shared, target.unwrap_or_default(), &request.body).await {
                Some(answer) => answer,
                None => shared.sqs_service.handle(request).await,
            }
        }
        "sns" => match publish::publish(&shared, &request.body).await {
            Some(answer) => answer,
            None => shared.sns_service.handle(request).await,
        },
        other => MockResponse::error(400, "UnknownService", &format!("neither sns nor sqs: {other:?}")),
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, answer.headers, answer.body).into_response()
}

#[cfg(test)]
#[path = "messaging/queue_tests.rs"]
mod queue_tests;

#[cfg(test)]
#[path = "messaging_tests.rs"]
mod tests;
