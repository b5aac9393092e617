//! The template's event source mappings, notifications and schedules, running.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ledgerline_stores::LocalMessaging;
use serde::{Deserialize, Serialize};

use crate::data_dir::DataDir;
use crate::event_source::{
    Clock, DynamoDbStream, EventSource, FailureDestination, FailureFile, Invoke, Parts, PositionFile, SourceReader,
    SourceStatus, StreamSource as _,
};
use crate::messaging::FailureQueue;
use crate::notifications::{AsyncFailures, Deliveries, NotificationReader, NotificationStatus, Rule};
use crate::queue_source::{
    MessageSource, QueueMapping, QueueParts, QueueReader, QueueSource, QueueStatus, SqsApi, local_client,
};
use crate::schedules::{ScheduleReader, ScheduleStatus, Schedules};
use crate::stores::Stores;
use crate::template::{QueueSourceMapping, Template};

/// Where a host says what its mappings and schedules do.
pub const STATUS_PATH: &str = "/_ledgerline/event-sources";

/// Where a host has its schedules run now; `?function=NAME` for one function.
pub const RUN_SCHEDULES_PATH: &str = "/_ledgerline/schedules/run";

/// How long to wait before it is looked again whether nothing is left.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Invocations of a queue's function at once on a machine with a single core: one may wait for the other's stores.
const LEAST_CONCURRENCY: usize = 2;

/// All of them.
pub struct Mappings {
    running: Vec<EventSource>,
    queues: Vec<QueueSource>,
    notifications: Deliveries,
    schedules: Schedules,
}

/// What mappings and schedules do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MappingsStatus {
    /// The event source mappings on streams.
    pub event_sources: Vec<SourceStatus>,
    /// Those on queues.
    #[serde(default)]
    pub queues: Vec<QueueStatus>,
    /// What buckets tell functions of.
    #[serde(default)]
    pub notifications: Vec<NotificationStatus>,
    /// The schedules.
    pub schedules: Vec<ScheduleStatus>,
}

/// Says what mappings and schedules do, for as long as anybody asks. Clones are of the same ones.
#[derive(Clone)]
pub struct MappingsReader {
    sources: Vec<SourceReader>,
    queues: Vec<QueueReader>,
    notifications: Option<NotificationReader>,
    schedules: ScheduleReader,
}

impl Mappings {
    /// Starts all of them where they stopped. Positions are kept beside the ledger whose streams
    /// they are in; what is given up goes to `failures/`, and to the mapping's queue if it has one. Queues are
    /// empty at first.
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
        let queues = start_queues(template, stores, functions).await;
        let notifications = deliver_notifications(template, stores, dir, functions)?;
        let schedules = Schedules::start(&template.schedules, functions, &Clock::real());
        Ok(Self { running, queues, notifications, schedules })
    }

    /// Waits until everything written to tables so far has been delivered.
    ///
    /// # Errors
    /// If a mapping has ended.
    pub async fn caught_up(&self) -> anyhow::Result<()> {
        for source in &self.running {
            source.caught_up().await?;
        }
        Ok(())
    }

    /// Waits until nothing is left to do: no notification waits, the queues that have a mapping are empty, and
    /// everything written to tables has been delivered. What fails is waited for until it is given up.
    ///
    /// # Errors
    /// If a mapping has ended, or a queue cannot be asked.
    pub async fn drained(&self) -> anyhow::Result<()> {
        let reader = self.reader();
        while !reader.is_drained().await? {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.caught_up().await
    }

    /// Says what they do.
    #[must_use]
    pub fn reader(&self) -> MappingsReader {
        MappingsReader {
            sources: self.running.iter().map(|source| source.reader().clone()).collect(),
            queues: self.queues.iter().map(|source| source.reader().clone()).collect(),
            notifications: Some(self.notifications.reader().clone()),
            schedules: self.schedules.reader(),
        }
    }

    /// Stops them, after the invocations under way.
    pub async fn stop(self) {
        // Each together with the others of its kind: they wait for what is under way.
        futures::future::join(self.schedules.stop(), self.notifications.stop()).await;
        futures::future::join_all(self.queues.into_iter().map(QueueSource::stop)).await;
        for source in self.running {
            source.stop().await;
        }
    }
}

async fn start_queues(template: &Template, stores: &Stores, functions: &Arc<dyn Invoke>) -> Vec<QueueSource> {
    let client = local_client(&stores.messaging).await;
    let cores =
        std::thread::available_parallelism().map_or(LEAST_CONCURRENCY, |cores| cores.get().max(LEAST_CONCURRENCY));
    let api = |name: &str| -> Arc<dyn MessageSource> {
        let (url, arn) = (stores.messaging.queue_url(name), LocalMessaging::queue_arn(name));
        Arc::new(SqsApi::new(client.clone(), url, arn))
    };
    let start = |mapping: &QueueSourceMapping| {
        let queue = template.queues.iter().find(|queue| queue.name == mapping.queue);
        let dead_letters = queue.and_then(|queue| queue.dead_letters.as_deref());
        let parts = QueueParts {
            source: api(&mapping.queue),
            functions: Arc::clone(functions),
            dead_letters: dead_letters.map(api),
            clock: Clock::real(),
        };
        // On Lambda each invocation has a machine of its own. Here they share this one and its stores, and as many as
        // there are allowed at once would keep each other waiting until they time out.
        let maximum_concurrency = mapping.settings.maximum_concurrency.min(cores);
        QueueSource::start(QueueMapping { maximum_concurrency, ..mapping.settings.clone() }, parts)
    };
    template.queue_mappings.iter().map(start).collect()
}

fn deliver_notifications(
    template: &Template,
    stores: &Stores,
    dir: &DataDir,
    functions: &Arc<dyn Invoke>,
) -> anyhow::Result<Deliveries> {
    let folder = dir.folder("failures")?;
    let destination = |rule: &Rule| -> (String, Arc<dyn FailureDestination>) {
        let file = FailureFile::new(folder.join(format!("{}.jsonl", rule.id)));
        (rule.id.clone(), Arc::new(AsyncFailures::new(stores.messaging.queues(), &rule.invoke, file)))
    };
    let failures: BTreeMap<_, _> = template.notifications.iter().map(destination).collect();
    Ok(Deliveries::start(Arc::clone(&stores.notifications), Arc::clone(functions), failures, Clock::real()))
}

impl MappingsReader {
    /// What they do now.
    ///
    /// # Errors
    /// If a stream, a queue or a failure destination cannot be read.
    pub async fn read(&self) -> anyhow::Result<MappingsStatus> {
        let (mut event_sources, mut queues) = (Vec::new(), Vec::new());
        for source in &self.sources {
            event_sources.push(source.read().await?);
        }
        for queue in &self.queues {
            queues.push(queue.read().await?);
        }
        let notifications = match &self.notifications {
            Some(notifications) => notifications.read().await?,
            None => Vec::new(),
        };
        Ok(MappingsStatus { event_sources, queues, notifications, schedules: self.schedules.read() })
    }

    /// Whether no notification waits and every queue with a mapping is empty.
    async fn is_drained(&self) -> anyhow::Result<bool> {
        // In the order in which work flows: what one is empty of, the next may still have.
        if self.notifications.as_ref().is_some_and(|notifications| !notifications.is_empty()) {
            return Ok(false);
        }
        for queue in &self.queues {
            if !queue.read().await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
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
