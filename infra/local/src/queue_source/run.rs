use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::OptionFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::status::{QueueReader, Trouble};
use super::{Gathering, Message, MessageSource, QueueMapping, settle};
use crate::event_source::{Clock, Invoke, InvokeError};

/// How long one receive waits for a message. Stopping has to wait for it: what a receive that is cut off has
/// taken would stay hidden.
const POLL: Duration = Duration::from_secs(1);

/// How long to wait before a queue that failed is tried again.
const QUEUE_DELAY: Duration = Duration::from_secs(1);

/// How long to wait before a function that cannot be reached is tried again, the first time and at most.
const REACH_DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often messages are deleted that cannot be, before they are left to be delivered again.
const DELETIONS: u32 = 3;

/// How long invocations may go on once their mapping is to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What an event source mapping on a queue works with.
pub struct QueueParts {
    /// What it reads.
    pub source: Arc<dyn MessageSource>,
    /// What it invokes.
    pub functions: Arc<dyn Invoke>,
    /// Where the queue sends what was received too often; only looked at.
    pub dead_letters: Option<Arc<dyn MessageSource>>,
    /// The time that it goes by.
    pub clock: Clock,
}

/// A running event source mapping on a queue. Dropping it stops it, as [`stop`](Self::stop) does, but does
/// not wait.
#[derive(Debug)]
pub struct QueueSource {
    reader: QueueReader,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Told to stop; what is not done is delivered again.
struct Stopped;

/// What all parts of a mapping share.
pub(super) struct Shared {
    pub(super) mapping: QueueMapping,
    pub(super) parts: QueueParts,
    trouble: Mutex<Trouble>,
    stopped: watch::Receiver<bool>,
}

impl QueueSource {
    /// Starts delivering.
    #[must_use]
    pub fn start(mapping: QueueMapping, parts: QueueParts) -> Self {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared { mapping, parts, trouble: Mutex::default(), stopped });
        let reader = QueueReader::new(Arc::clone(&shared));
        Self { reader, stop, task: tokio::spawn(run(shared)) }
    }

    /// Says how far it is, also once it has stopped.
    #[must_use]
    pub fn reader(&self) -> &QueueReader {
        &self.reader
    }

    /// Begins nothing any more, lets the invocations under way finish, for some seconds at most, and gives
    /// back to the queue what was received and not begun.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!("an event source mapping ended badly: {error}");
        }
    }

    /// Ends it as a crash of the process does: at once, in the middle of whatever it does.
    pub async fn kill(self) {
        self.task.abort();
        // An error says that it was cut off, which is what was asked for.
        let _ = self.task.await;
    }
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
type Receiving = Pin<Box<dyn Future<Output = Vec<Message>> + Send>>;

async fn run(shared: Arc<Shared>) {
    let (mapping, clock) = (&shared.mapping, &shared.parts.clock);
    let mut gathering = Gathering::new(mapping);
    let mut invocations: FuturesUnordered<Work> = FuturesUnordered::new();
    let mut receiving: Option<Receiving> = None;
    while !shared.is_stopped() {
        while invocations.len() < mapping.maximum_concurrency {
            let Some((batch, received)) = gathering.due(clock.now()) else { break };
            let shared = Arc::clone(&shared);
            invocations.push(Box::pin(async move {
                // What was cut off comes again.
                let _ = deliver(&shared, &batch, received).await;
            }));
        }
        let is_free = invocations.len() < mapping.maximum_concurrency;
        if receiving.is_none() && is_free && gathering.room() > 0 {
            receiving = Some(Box::pin(receive(Arc::clone(&shared), gathering.room())));
        }
        let pause = gathering.due_in(clock.now()).filter(|_| is_free);
        tokio::select! {
            biased;
            () = shared.stopped() => {}
            Some(()) = invocations.next(), if !invocations.is_empty() => {}
            Some(received) = OptionFuture::from(receiving.as_mut()), if receiving.is_some() => {
                receiving = None;
                gathering.add(received, shared.parts.source.arn(), clock.now());
            }
            () = clock.sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
    let mut rest = gathering.into_rest();
    rest.extend(OptionFuture::from(receiving).await.unwrap_or_default());
    if let Err(error) = shared.parts.source.release(&rest).await {
        shared.complain(format!("{} messages could not be given back to the queue: {error:#}", rest.len()));
    }
    // They know that they are to stop.
    while invocations.next().await.is_some() {}
}

/// Receives messages, and deletes those that the filters leave out.
async fn receive(shared: Arc<Shared>, max: usize) -> Vec<Message> {
    let source = &shared.parts.source;
    match source.receive(max, POLL).await {
        Ok(messages) => {
            let (wanted, others): (Vec<_>, Vec<_>) =
                messages.into_iter().partition(|message| shared.mapping.accepts(message));
            delete(&shared, &others).await;
            wanted
        }
        Err(error) => {
            shared.complain(format!("the queue {} cannot be read: {error:#}", source.arn()));
            // Told to stop, it has nothing to wait for.
            let _ = shared.pause(QUEUE_DELAY).await;
            Vec::new()
        }
    }
}

/// Delivers one batch.
async fn deliver(shared: &Shared, batch: &[Message], received: DateTime<Utc>) -> Result<(), Stopped> {
    let QueueMapping { function, reports_item_failures, visibility, .. } = &shared.mapping;
    let records: Vec<_> = batch.iter().map(|message| message.record(shared.parts.source.arn())).collect();
    let event = json!({ "Records": records }).to_string();
    let (mut delay, longest) = REACH_DELAYS;
    let answer = loop {
        let answer = invoke(shared, event.clone()).await?;
        let waited = (shared.parts.clock.now() - received).to_std().unwrap_or_default();
        match &answer {
            // For as long as the messages are hidden from others, nothing is lost by waiting.
            Err(InvokeError::Unavailable(_)) if waited + delay < *visibility => {
                shared.complain(format!("{function} did not take {} messages: it cannot be reached", batch.len()));
                shared.pause(delay).await?;
                delay = (delay * 2).min(longest);
            }
            _ => break answer,
        }
    };
    let settled = settle(batch, *reports_item_failures, &answer);
    let done: Vec<Message> = settled.delete.into_iter().cloned().collect();
    delete(shared, &done).await;
    match settled.problem {
        Some(problem) => shared.complain(format!("{function} did not take all of {} messages: {problem}", batch.len())),
        None => shared.trouble().now = None,
    }
    Ok(())
}

/// Once told to stop, waits for an answer no longer than [`STOP_GRACE`].
async fn invoke(shared: &Shared, event: String) -> Result<Result<String, InvokeError>, Stopped> {
    let told_long_ago = async {
        shared.stopped().await;
        shared.parts.clock.sleep(STOP_GRACE).await;
    };
    shared.trouble().invocations += 1;
    tokio::select! {
        biased;
        answer = shared.parts.functions.invoke(&shared.mapping.function, event) => Ok(answer),
        () = told_long_ago => Err(Stopped),
    }
}

async fn delete(shared: &Shared, messages: &[Message]) {
    if messages.is_empty() {
        return;
    }
    for attempt in 1..=DELETIONS {
        match shared.parts.source.delete(messages).await {
            Ok(()) => return,
            Err(error) => shared.complain(format!("{} messages are not deleted: {error:#}", messages.len())),
        }
        if attempt == DELETIONS || shared.pause(QUEUE_DELAY).await.is_err() {
            return;
        }
    }
}

impl Shared {
    /// Waits until told to stop, or until nobody holds the other end any more.
    async fn stopped(&self) {
        self.stopped.clone().wait_for(|stop| *stop).await.ok();
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.borrow() || self.stopped.has_changed().is_err()
    }

    /// Waits, unless told to stop.
    async fn pause(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = self.stopped() => Err(Stopped),
            () = self.parts.clock.sleep(time) => Ok(()),
        }
    }

    /// Remembers a problem, and logs it once, however often it comes up in a row.
    fn complain(&self, problem: String) {
        let mut trouble = self.trouble();
        if trouble.now.as_ref() != Some(&problem) {
            tracing::warn!(mapping = self.mapping.id, "{problem}");
        }
        trouble.now = Some(problem.clone());
        trouble.last = Some((problem, self.parts.clock.now()));
    }

    pub(super) fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
