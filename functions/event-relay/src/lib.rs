//! The function behind the ledger's stream that tells others what happened: it publishes the domain
//! events of each version item.
//!
//! The stream is the outbox: what is on it has been committed, and stays on it until it was
//! published.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lambda_runtime::tower::Service;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use ledgerline_app::{Registry, Relay};
use ledgerline_bus_sns::SnsBus;
use ledgerline_kernel::Timestamp;
use ledgerline_lambda::stream::{BatchResponse, StreamBatch};
use ledgerline_lambda::{Config, StartupError, SystemEnvironment, deadline, large_states, sdk_config};
use serde_json::value::RawValue;

mod batch;

/// What the function works with, built once per process.
#[derive(Clone)]
pub struct Deps {
    /// Publishes events.
    pub relay: Relay,
}

/// An invocation begins nothing new when it has this much time left: a request may take 5 s.
const RESERVE: Duration = Duration::from_secs(7);

impl Deps {
    /// Builds them as `EVENTS_TOPIC_ARN`, `STATE_BUCKET` and the SDK's own variables say.
    ///
    /// # Errors
    /// [`StartupError`] names the variable that is missing or makes no sense.
    pub async fn from_config(config: &Config) -> Result<Self, StartupError> {
        let topic = config.required("EVENTS_TOPIC_ARN")?;
        if topic.ends_with(".fifo") {
            return Err(StartupError::invalid(
                "EVENTS_TOPIC_ARN",
                "names a FIFO topic, where a standard one is needed",
            ));
        }
        let client = aws_sdk_sns::Client::new(&sdk_config(config, "SNS").await);
        let bus = Arc::new(SnsBus::new(client, topic));
        let registry = Registry::shipped().map_err(|error| StartupError::Broken(error.to_string()))?;
        let relay = Relay::new(bus, Arc::new(SystemEnvironment)).with_large_states(large_states(config, &registry)?);
        Ok(Self { relay })
    }
}

/// The function: it takes the raw JSON of a stream event and answers with the records to deliver
/// again: those that cannot be read, and those of which an event was not published. It fails as a
/// whole only for an event that has no list of records.
pub fn service(
    deps: Deps,
) -> impl Service<LambdaEvent<Box<RawValue>>, Response = BatchResponse, Error = Error, Future: Send> + Clone + Send {
    service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let Deps { relay } = deps.clone();
        async move {
            let batch = StreamBatch::parse(&event.payload)?;
            Ok(batch::publish(&relay, batch, until(&event.context)).await)
        }
    })
}

/// Until when the bus is waited for; none where the invocation has no deadline.
fn until(context: &Context) -> Option<Timestamp> {
    deadline(context).map(|deadline| DateTime::<Utc>::from(deadline - RESERVE).into())
}
