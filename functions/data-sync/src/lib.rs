//! The function behind the ledger's stream: it brings the read models up to the versions that a
//! batch of records tells of.
//!
//! Every record is read by itself, every read model is a unit of its own, and what can be projected
//! is projected before any failure is reported: so that a bad record stops none of its neighbours.

use std::sync::Arc;
use std::time::SystemTime;

use lambda_runtime::tower::Service;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ledgerline_app::{LargeStates, Projector, Registry};
use ledgerline_kernel::ports::Quarantine;
use ledgerline_lambda::stream::{BatchResponse, StreamBatch};
use ledgerline_lambda::{Config, StartupError, deadline, dynamodb_client, large_states, postgres_views};
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_views_postgres::PostgresViews;
use serde_json::value::RawValue;

mod batch;
mod poison;
mod records;

/// What the function works with, built once per process.
#[derive(Clone)]
pub struct Deps {
    /// Projects into every read model.
    pub projector: Projector,
    /// Keeps what cannot be projected.
    pub quarantine: Arc<dyn Quarantine>,
    /// Brings in what a version item refers to.
    pub large_states: LargeStates,
    /// Says how late it is.
    pub clock: Clock,
}

/// The time now, to compare with an invocation's deadline.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// An instance works on one batch at a time, and on one read model after the other.
const MAX_CONNECTIONS: u32 = 1;

impl Deps {
    /// With the time of the system, and without large states.
    #[must_use]
    pub fn new(projector: Projector, quarantine: Arc<dyn Quarantine>) -> Self {
        Self { projector, quarantine, large_states: LargeStates::none(), clock: Arc::new(SystemTime::now) }
    }

    /// Builds them as `LEDGER_TABLE`, `DATA_TABLE`, `DATABASE_URL`, `STATE_BUCKET` and the SDK's own
    /// variables say.
    ///
    /// # Errors
    /// [`StartupError`] names the variable that is missing or makes no sense.
    pub async fn from_config(config: &Config) -> Result<Self, StartupError> {
        Self::with_views(config, postgres_views(config, MAX_CONNECTIONS)?).await
    }

    /// The same over views that others use too; `DATABASE_URL` is not read.
    ///
    /// # Errors
    /// As [`Deps::from_config`].
    pub async fn with_views(config: &Config, views: PostgresViews) -> Result<Self, StartupError> {
        let (ledger_table, data_table) = (config.required("LEDGER_TABLE")?, config.required("DATA_TABLE")?);
        let registry = Registry::shipped().map_err(|error| StartupError::Broken(error.to_string()))?;
        let client = dynamodb_client(config).await;
        let large_states = large_states(config, &registry)?;
        let ledger = Arc::new(large_states.over(DynamoLedger::new(client.clone(), ledger_table)));
        let entities = Arc::new(large_states.over(DynamoDataTable::new(client, data_table)));
        let views = Arc::new(views);
        let projector = Projector::new(registry, vec![entities, views.clone()]).with_deltas(ledger, views.clone());
        Ok(Self { large_states, ..Self::new(projector, views) })
    }
}

/// The function: it takes the raw JSON of a stream event and answers with the records to deliver
/// again: all that a store was away for or time was up for, and bad ones until they are quarantined.
/// It fails as a whole only for an event that has no list of records.
pub fn service(
    deps: Deps,
) -> impl Service<LambdaEvent<Box<RawValue>>, Response = BatchResponse, Error = Error, Future: Send> + Clone + Send {
    service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let deps = deps.clone();
        async move {
            let batch = StreamBatch::parse(&event.payload)?;
            Ok(batch::project(&deps, &event.payload, batch, deadline(&event.context)).await)
        }
    })
}
