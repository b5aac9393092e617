//! The function behind the queue of rows: it makes commands of them, and accounts for each in the
//! transaction that writes what it led to.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, stream};
use lambda_runtime::tower::Service;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ledgerline_app::{ChunkWorked, Commands, ImportWorker, Projector, Registry};
use ledgerline_import_file::Chunk;
use ledgerline_lambda::sqs::{MessageBatch, QueueRecord};
use ledgerline_lambda::stream::BatchResponse;
use ledgerline_lambda::{
    Config, StartupError, SystemEnvironment, deadline, dynamodb_client, large_states, postgres_views,
};
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_views_postgres::PostgresViews;
use serde_json::value::RawValue;

/// What the function works with, built once per process.
#[derive(Clone)]
pub struct Deps {
    /// Does the work.
    pub worker: ImportWorker,
}

/// Messages under way at once: while one waits for the ledger, another projects.
const AT_ONCE: usize = 2;

/// As many as are projected at once.
const MAX_CONNECTIONS: u32 = 2;

/// How long before the end no more rows are begun: those under way are written and projected in that time.
const MARGIN: Duration = Duration::from_secs(20);

impl Deps {
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
        let large = large_states(config, &registry)?;
        let plain = Arc::new(DynamoLedger::new(client.clone(), ledger_table));
        let ledger = Arc::new(large.over(DynamoLedger::clone(&plain)));
        let data_table = Arc::new(large.over(DynamoDataTable::new(client, data_table)));
        let views = Arc::new(views);
        let projector = Projector::new(registry.clone(), vec![data_table, Arc::clone(&views) as _])
            .with_deltas(Arc::clone(&ledger) as _, views);
        let environment = Arc::new(SystemEnvironment);
        let commands = Commands::new(Arc::clone(&ledger) as _, Arc::clone(&environment) as _);
        let stores = (ledger as _, Arc::clone(&plain) as _);
        Ok(Self { worker: ImportWorker::new(commands, stores, plain, (registry, projector), environment) })
    }
}

/// The function: it takes the raw JSON of an event of SQS and answers with the messages that have to come
/// again: those that a store was away for, or time was up for. A message that cannot be read comes again
/// as well, until the queue puts it aside.
pub fn service(
    deps: Deps,
) -> impl Service<LambdaEvent<Box<RawValue>>, Response = BatchResponse, Error = Error, Future: Send> + Clone + Send {
    service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let deps = deps.clone();
        async move {
            let until = deadline(&event.context).map(|deadline| deadline - MARGIN);
            let messages = MessageBatch::parse(&event.payload)?.messages;
            let works: Vec<_> = messages.into_iter().map(|message| deps.clone().work(message, until)).collect();
            let again: Vec<_> = stream::iter(works).buffered(AT_ONCE).collect().await;
            Ok(BatchResponse::failed(again.iter().flatten().map(Option::as_deref)))
        }
    })
}

impl Deps {
    /// The message's id, as far as it has one, if it has to come again.
    async fn work(self, message: QueueRecord, until: Option<SystemTime>) -> Option<Option<String>> {
        let in_time = move || until.is_none_or(|until| SystemTime::now() < until);
        let id = message.message_id;
        let body = message.body.map_err(|bad| bad.to_string());
        let chunk = body.and_then(|body| serde_json::from_str::<Chunk>(&body).map_err(|error| error.to_string()));
        let is_done = match chunk {
            Ok(chunk) => match self.worker.work(&chunk, &in_time).await {
                Ok(worked) => worked != ChunkWorked::OutOfTime,
                Err(error) => {
                    tracing::warn!(import.id = chunk.import, chunk = chunk.chunk, "rows have to come again: {error}");
                    false
                }
            },
            Err(error) => {
                tracing::error!(message.id = id, "a message cannot be read: {error}");
                false
            }
        };
        (!is_done).then_some(id)
    }
}

#[cfg(test)]
mod tests;
