//! The function behind the ledger's stream: it brings the read models up to the versions that a
//! batch of records tells of.
//!
//! Every record is read by itself, and the good ones are projected before any failure is reported,
//! so that a bad record stops none of its neighbours.

use std::sync::Arc;

use lambda_runtime::tower::Service;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ledgerline_app::{Projector, Registry};
use ledgerline_kernel::ports::Quarantine;
use ledgerline_lambda::stream::{BatchResponse, StreamBatch};
use ledgerline_lambda::{Config, StartupError, dynamodb_client};
use ledgerline_ledger_dynamodb::DynamoDataTable;
use ledgerline_views_postgres::PostgresViews;
use serde_json::value::RawValue;

mod batch;
mod poison;

/// What the function works with, built once per process.
#[derive(Clone)]
pub struct Deps {
    /// Projects into every read model.
    pub projector: Projector,
    /// Keeps what cannot be projected.
    pub quarantine: Arc<dyn Quarantine>,
}

/// An instance works on one batch at a time, and on one read model after the other.
const MAX_CONNECTIONS: u32 = 1;

impl Deps {
    /// Builds them as `DATA_TABLE`, `DATABASE_URL` and the SDK's own variables say.
    ///
    /// # Errors
    /// [`StartupError`] names the variable that is missing or makes no sense.
    pub async fn from_config(config: &Config) -> Result<Self, StartupError> {
        let views = PostgresViews::lazy(&config.required("DATABASE_URL")?, MAX_CONNECTIONS)
            .map_err(|_| StartupError::invalid("DATABASE_URL", "is not a URL of a PostgreSQL database"))?;
        Self::with_views(config, views).await
    }

    /// The same over views that others use too; `DATABASE_URL` is not read.
    ///
    /// # Errors
    /// As [`Deps::from_config`].
    pub async fn with_views(config: &Config, views: PostgresViews) -> Result<Self, StartupError> {
        let data_table = config.required("DATA_TABLE")?;
        let registry = Registry::shipped().map_err(|error| StartupError::Broken(error.to_string()))?;
        let entities = DynamoDataTable::new(dynamodb_client(config).await, data_table);
        let quarantine = Arc::new(views.clone());
        Ok(Self { projector: Projector::new(registry, vec![Arc::new(entities), Arc::new(views)]), quarantine })
    }
}

/// The function: it takes the raw JSON of a stream event and answers with the records to deliver
/// again: all that a store was away for, and bad ones until they are quarantined. It fails as a
/// whole only for an event that has no list of records.
pub fn service(
    deps: Deps,
) -> impl Service<LambdaEvent<Box<RawValue>>, Response = BatchResponse, Error = Error, Future: Send> + Clone + Send {
    service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let Deps { projector, quarantine } = deps.clone();
        async move {
            let batch = StreamBatch::parse(&event.payload)?;
            Ok(batch::project(&projector, quarantine.as_ref(), &event.payload, batch).await)
        }
    })
}
