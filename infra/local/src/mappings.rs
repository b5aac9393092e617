//! The template's event source mappings and schedules, running.

use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::data_dir::DataDir;
use crate::event_source::{
    Clock, DynamoDbStream, EventSource, FailureDestination, FailureFile, Invoke, Parts, PositionFile, SourceReader,
    SourceStatus, StreamSource as _,
};
use crate::messaging::FailureQueue;
use crate::schedules::{ScheduleReader, ScheduleStatus, Schedules};
use crate::stores::Stores;
use crate::template::Template;

/// Where a host says what its mappings and schedules do.
pub const STATUS_PATH: &str = "/_ledgerline/event-sources";

/// Where a host has its schedules run now; `?function=NAME` for one function.
pub const RUN_SCHEDULES_PATH: &str = "/_ledgerline/schedules/run";

/// All of them.
pub struct Mappings {
    running: Vec<EventSource>,
    schedules: Schedules,
}

/// What mappings and schedules do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MappingsStatus {
    /// The event source mappings.
    pub event_sources: Vec<SourceStatus>,
    /// The schedules.
    pub schedules: Vec<ScheduleStatus>,
}

/// Says what mappings and schedules do, for as long as anybody asks. Clones are of the same ones.
#[derive(Clone)]
pub struct MappingsReader {
    sources: Vec<SourceReader>,
    schedules: ScheduleReader,
}

impl Mappings {
    /// Starts all of them where they stopped. Positions are kept beside the ledger whose streams
    /// they are in; what is given up goes to `failures/`, and to the mapping's queue if it has one.
    ///
    /// # Errors
    /// If one cannot be started.
    pub async fn start(
        template: &Template,
        stores: &Stores,
        dir: &DataDir,
        functions: &Arc<dyn Invoke>,
    ) -> anyhow::Result<Self> {
        let (positions, failures) = (dir.path().join("dynamodb"), dir.folder("failures")?);
        let mut running = Vec::new();
        for mapping in &template.stream_mappings {
            let id = &mapping.settings.id;
            let stream = DynamoDbStream::open(stores.dynamo.database(), &mapping.table)?;
            let name = mapping.on_failure.as_ref().unwrap_or(id);
            let file = FailureFile::new(failures.join(format!("{name}.jsonl")));
            let queue = template.queues.iter().find(|queue| queue.logical_id == *name);
            let failures: Arc<dyn FailureDestination> = match queue {
                Some(queue) => Arc::new(FailureQueue::new(stores.messaging.queues(), &queue.name, file)),
                None => Arc::new(file),
            };
            let parts = Parts {
                positions: Arc::new(PositionFile::new(&positions, id, stream.arn())),
                stream: Arc::new(stream),
                functions: Arc::clone(functions),
                failures,
                clock: Clock::real(),
            };
            let source = EventSource::start(mapping.settings.clone(), parts).await;
            running.push(source.with_context(|| format!("cannot start the event source mapping {id}"))?);
        }
        Ok(Self { running, schedules: Schedules::start(&template.schedules, functions, &Clock::real()) })
    }

    /// Waits until everything written so far has been delivered.
    ///
    /// # Errors
    /// If a mapping has ended.
    pub async fn caught_up(&self) -> anyhow::Result<()> {
        for source in &self.running {
            source.caught_up().await?;
        }
        Ok(())
    }

    /// Says what they do.
    #[must_use]
    pub fn reader(&self) -> MappingsReader {
        let sources = self.running.iter().map(|source| source.reader().clone()).collect();
        MappingsReader { sources, schedules: self.schedules.reader() }
    }

    /// Stops them, after the invocations under way.
    pub async fn stop(self) {
        self.schedules.stop().await;
        for source in self.running {
            source.stop().await;
        }
    }
}

impl MappingsReader {
    /// What they do now.
    ///
    /// # Errors
    /// If a stream or a failure destination cannot be read.
    pub async fn read(&self) -> anyhow::Result<MappingsStatus> {
        let mut event_sources = Vec::new();
        for source in &self.sources {
            event_sources.push(source.read().await?);
        }
        Ok(MappingsStatus { event_sources, schedules: self.schedules.read() })
    }

    /// The schedules.
    #[must_use]
    pub fn schedules(&self) -> &ScheduleReader {
        &self.schedules
    }

    /// The routes by which other processes ask: `GET` of [`STATUS_PATH`] answers with a [`MappingsStatus`],
    /// `POST` to [`RUN_SCHEDULES_PATH`] with the [`ScheduleStatus`] of each schedule that ran.
    pub fn router(self) -> Router {
        Router::new().route(STATUS_PATH, get(status)).route(RUN_SCHEDULES_PATH, post(run_schedules)).with_state(self)
    }
}

async fn status(State(reader): State<MappingsReader>) -> Response {
    match reader.read().await {
        Ok(status) => Json(status).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

/// Which schedules.
#[derive(Deserialize)]
struct Which {
    function: Option<String>,
}

async fn run_schedules(State(reader): State<MappingsReader>, Query(which): Query<Which>) -> Json<Vec<ScheduleStatus>> {
    Json(reader.schedules.run_now(which.function.as_deref()).await)
}

#[cfg(test)]
#[path = "mappings_tests.rs"]
mod tests;
