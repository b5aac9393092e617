use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use dynoxide::Database;
use dynoxide::actions::create_table::{CreateTableRequest, StreamSpecification};
use dynoxide::errors::DynoxideError;
use dynoxide::types::{AttributeDefinition, KeySchemaElement, KeyType, ScalarAttributeType};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Where an embedded DynamoDB keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DynamoAt {
    /// Nowhere for long: gone when it stops.
    Memory,
    /// In this file, made when it is missing.
    File(PathBuf),
}

/// A DynamoDB in this process, served over its real HTTP API on a loopback port of its own.
///
/// The HTTP API and [`database`](Self::database) are two doors to one database. Dropping it stops
/// the server too, but without waiting for requests under way; prefer [`stop`](Self::stop).
pub struct LocalDynamo {
    endpoint: String,
    database: Database,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), String>>,
    // Held for its `Drop`, which deletes the files.
    _temporary: Option<TempDir>,
}

/// How long [`LocalDynamo::stop`] waits for requests under way; a client that has sent half a
/// request would hold it for ever.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

impl LocalDynamo {
    /// Opens the database and serves it. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// If the file cannot be opened as a database, or no loopback port is free.
    pub async fn start(at: DynamoAt) -> anyhow::Result<Self> {
        let (path, temporary) = match at {
            // A file even so: only a file takes the index below, without which each put gets slower.
            DynamoAt::Memory => {
                let directory = tempfile::tempdir().context("a directory for the temporary DynamoDB")?;
                (directory.path().join("dynamodb.sqlite"), Some(directory))
            }
            DynamoAt::File(path) => (path, None),
        };
        let database = open(&path).with_context(|| format!("opening DynamoDB in {}", path.display()))?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for DynamoDB")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database.clone(), async {
            // A dropped sender stops the server as well.
            let _ = stopped.await;
        }));
        Ok(Self { endpoint, database, stop, server, _temporary: temporary })
    }

    /// The address of the HTTP API, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The database itself, for reading its streams in process. Its calls block.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Makes a table with the text keys `pk` and `sk`, on demand, with a `NEW_IMAGE` stream if
    /// `stream`. A table that is there already stays as it is.
    ///
    /// # Errors
    /// If DynamoDB refuses the name (3 characters at least).
    pub fn create_table(&self, name: &str, stream: bool) -> anyhow::Result<()> {
        let key = |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
        let text = |name: &str| AttributeDefinition {
            attribute_name: name.to_owned(),
            attribute_type: ScalarAttributeType::S,
        };
        let request = CreateTableRequest {
            table_name: name.to_owned(),
            key_schema: vec![key("pk", KeyType::HASH), key("sk", KeyType::RANGE)],
            attribute_definitions: vec![text("pk"), text("sk")],
            billing_mode: Some("PAY_PER_REQUEST".to_owned()),
            stream_specification: stream
                .then(|| StreamSpecification { stream_enabled: true, stream_view_type: Some("NEW_IMAGE".to_owned()) }),
            ..CreateTableRequest::default()
        };
        match self.database.create_table(request) {
            Ok(_) | Err(DynoxideError::ResourceInUseException(_)) => Ok(()),
            Err(error) => Err(anyhow!(error).context(format!("creating the table {name}"))),
        }
    }

    /// Stops serving, lets requests under way finish (for some seconds at most) and closes the
    /// database.
    pub async fn stop(self) {
        let Self { stop, mut server, .. } = self;
        // Nobody listens any more if the server has ended by itself.
        let _ = stop.send(());
        if tokio::time::timeout(STOP_PATIENCE, &mut server).await.is_err() {
            tracing::warn!("DynamoDB had unfinished requests when it stopped");
            server.abort();
        }
    }
}

fn open(path: &Path) -> anyhow::Result<Database> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let text = path.to_str().context("the path is not valid Unicode")?;
    let database = Database::new(text)?;
    index_streams(path)?;
    Ok(database)
}

/// Each put with a stream asks for the stream's highest sequence number, which without this index
/// reads all of its records: 3,200 puts/s fall to 445 after 24,000 of them. Remove when dynoxide
/// (3.2.0 at the time of writing) brings an index of its own.
fn index_streams(path: &Path) -> anyhow::Result<()> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch(
        "CREATE INDEX IF NOT EXISTS ledgerline_stream_seq \
         ON _stream_records(table_name, CAST(sequence_number AS INTEGER))",
    )?;
    Ok(())
}

#[cfg(test)]
#[path = "dynamo_tests.rs"]
mod tests;
