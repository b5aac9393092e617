//! The function behind the import bucket: it reads a file that was uploaded and sends its rows, packed
//! into chunks, to the queue.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lambda_runtime::tower::Service;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ledgerline_app::{Split, Splitter, import_of, source_key};
use ledgerline_blobs_s3::S3Objects;
use ledgerline_kernel::ImportKey;
use ledgerline_kernel::ports::SourceObjects;
use ledgerline_lambda::{
    Config, StartupError, SystemEnvironment, deadline, dynamodb_client, patient_s3_client, sqs_client,
};
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_queue_sqs::SqsQueue;
use serde::Serialize;
use serde_json::value::RawValue;

mod chunks;
mod notification;
mod object;

use chunks::ObjectChunks;

/// What the function works with, built once per process.
#[derive(Clone)]
pub struct Deps {
    /// Sends what is read.
    pub splitter: Splitter,
    /// The uploaded files.
    pub objects: Arc<dyn SourceObjects>,
    /// How they are read and packed.
    pub limits: ReadLimits,
}

/// How files are read and packed.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadLimits {
    /// Of a file.
    pub file: ledgerline_import_file::Limits,
    /// Of a message.
    pub chunk: ledgerline_import_file::ChunkLimits,
}

/// An invocation begins nothing new when it has this much time left: a request to the queue may take
/// several attempts.
const RESERVE: Duration = Duration::from_secs(10);

impl Deps {
    /// Builds them as `LEDGER_TABLE`, `IMPORT_BUCKET`, `IMPORT_QUEUE_URL` and the SDK's own variables say.
    ///
    /// # Errors
    /// [`StartupError`] names the variable that is missing or makes no sense.
    pub async fn from_config(config: &Config) -> Result<Self, StartupError> {
        let (table, queue) = (config.required("LEDGER_TABLE")?, config.required("IMPORT_QUEUE_URL")?);
        let objects = S3Objects::new(patient_s3_client(config).await, config.required("IMPORT_BUCKET")?);
        let jobs = Arc::new(DynamoLedger::new(dynamodb_client(config).await, table));
        let queue = SqsQueue::new(sqs_client(config).await, queue);
        let splitter = Splitter::new(jobs, Arc::new(queue), Arc::new(SystemEnvironment));
        Ok(Self { splitter, objects: Arc::new(objects), limits: ReadLimits::default() })
    }
}

/// What the function did.
#[derive(Debug, Default, Serialize)]
pub struct Done {
    /// Imports whose files were read to the end, or as far as they can be.
    pub split: usize,
    /// Objects that are no import's, or one's that has ended.
    pub ignored: usize,
}

/// The function: it takes the raw JSON of an event of S3 and reads the files that it tells of.
///
/// It fails if time was up or a store is away; invoked with the same event again, it goes on where it
/// was.
pub fn service(
    deps: Deps,
) -> impl Service<LambdaEvent<Box<RawValue>>, Response = Done, Error = Error, Future: Send> + Clone + Send {
    service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let deps = deps.clone();
        async move {
            let until = deadline(&event.context).map(|deadline| deadline - RESERVE);
            let in_time = move || until.is_none_or(|until| SystemTime::now() < until);
            let mut done = Done::default();
            for key in notification::keys(&event.payload)? {
                match import_of(&key) {
                    Some(import) if deps.split(&import, &in_time).await? => done.split += 1,
                    Some(_) | None => done.ignored += 1,
                }
            }
            Ok(done)
        }
    })
}

impl Deps {
    /// Whether there was something to split.
    async fn split(&self, import: &ImportKey, in_time: &(dyn Fn() -> bool + Send + Sync)) -> Result<bool, Error> {
        let key = source_key(import);
        let Some(head) = self.objects.head(&key).await? else {
            tracing::warn!(import.id = %import.id, "the file is gone again");
            return Ok(false);
        };
        let Some(job) = self.splitter.begin(import, &head.etag).await? else { return Ok(false) };
        let mut chunks = ObjectChunks::open(Arc::clone(&self.objects), key, head, &job, self.limits);
        match self.splitter.split(&job, &mut chunks, in_time).await? {
            Split::Done(state) => {
                tracing::info!(import.id = %import.id, ?state, "a file was read");
                Ok(true)
            }
            Split::More => Err(format!("import {} has more rows than there was time for", import.id).into()),
        }
    }
}

#[cfg(test)]
mod tests;
