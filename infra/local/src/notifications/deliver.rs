use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::stream::{FuturesUnordered, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::failures::discarded;
use super::journal::Notification;
use super::{AsyncInvoke, Journal, Next};
use crate::event_source::{Clock, FailureDestination, Invoke};

/// Invocations at a time.
const CONCURRENCY: usize = 4;

/// How long to wait before a file or a queue that failed is tried again.
const STORE_DELAY: Duration = Duration::from_secs(1);

/// How long invocations may go on once they are to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How the notifications of a rule get on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationStatus {
    /// The rule: the names of function and event in the template.
    pub notification: String,
    /// The function.
    pub function: String,
    /// The bucket.
    pub bucket: String,
    /// Notifications that the function has not taken yet.
    pub waiting: u64,
    /// Those that it has, since the host started.
    pub delivered: u64,
    /// Those that were given up, since the host started.
    pub given_up: u64,
    /// What went wrong last, if anything ever did since the host started.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<DateTime<Utc>>,
    /// Where those are that were given up.
    pub failure_destination: String,
    /// How many are there, also of earlier runs.
    pub failure_depth: u64,
}

/// What became of a rule's notifications.
#[derive(Debug, Default)]
struct Tally {
    delivered: u64,
    given_up: u64,
    last: Option<(String, DateTime<Utc>)>,
}

struct Shared {
    journal: Arc<Journal>,
    functions: Arc<dyn Invoke>,
    failures: BTreeMap<String, Arc<dyn FailureDestination>>,
    clock: Clock,
    tallies: Mutex<BTreeMap<String, Tally>>,
    stopped: watch::Receiver<bool>,
}

/// The delivery of a journal's notifications, running.
#[derive(Debug)]
pub struct Deliveries {
    reader: NotificationReader,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Says how notifications get on. Clones are of the same ones.
#[derive(Clone)]
pub struct NotificationReader(Arc<Shared>);

impl Deliveries {
    /// Starts delivering, the oldest first. `failures` has the destination of each rule.
    #[must_use]
    pub fn start(
        journal: Arc<Journal>,
        functions: Arc<dyn Invoke>,
        failures: BTreeMap<String, Arc<dyn FailureDestination>>,
        clock: Clock,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared { journal, functions, failures, clock, tallies: Mutex::default(), stopped });
        let reader = NotificationReader(Arc::clone(&shared));
        Self { reader, stop, task: tokio::spawn(run(shared)) }
    }

    /// Says how they get on.
    #[must_use]
    pub fn reader(&self) -> &NotificationReader {
        &self.reader
    }

    /// Begins nothing any more, and lets the invocations under way finish, for some seconds at most. What is
    /// left waits for the next start.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!("the delivery of notifications ended badly: {error}");
        }
    }
}

impl NotificationReader {
    /// How the notifications of each rule get on.
    ///
    /// # Errors
    /// If a failure destination cannot be asked.
    pub async fn read(&self) -> anyhow::Result<Vec<NotificationStatus>> {
        let waiting = self.0.journal.waiting();
        let mut all = Vec::new();
        for rule in self.0.journal.rules() {
            let (failure_destination, failure_depth) = match self.0.failures.get(&rule.id) {
                Some(failures) => (failures.name(), failures.depth().await?),
                None => (String::new(), 0),
            };
            let tallies = self.0.tallies();
            let tally = tallies.get(&rule.id);
            let (last_error, last_error_at) = tally.and_then(|tally| tally.last.clone()).unzip();
            all.push(NotificationStatus {
                notification: rule.id.clone(),
                function: rule.function.clone(),
                bucket: rule.bucket.clone(),
                waiting: waiting.iter().filter(|notification| notification.rule == rule.id).count().try_into()?,
                delivered: tally.map_or(0, |tally| tally.delivered),
                given_up: tally.map_or(0, |tally| tally.given_up),
                last_error,
                last_error_at,
                failure_destination,
                failure_depth,
            });
        }
        Ok(all)
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.journal.waiting().is_empty()
    }
}

impl fmt::Debug for NotificationReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NotificationReader")
    }
}

type Work = Pin<Box<dyn Future<Output = String> + Send>>;

async fn run(shared: Arc<Shared>) {
    let mut under_way: FuturesUnordered<Work> = FuturesUnordered::new();
    let mut begun = BTreeSet::<String>::new();
    let mut attempts = BTreeMap::<String, u32>::new();
    loop {
        let now = shared.clock.now();
        let idle: Vec<Notification> =
            shared.journal.waiting().into_iter().filter(|waiting| !begun.contains(&waiting.id)).collect();
        let next_due = idle.iter().map(|waiting| waiting.due).filter(|due| *due > now).min();
        for notification in idle.into_iter().filter(|waiting| waiting.due <= now) {
            if under_way.len() >= CONCURRENCY {
                break;
            }
            begun.insert(notification.id.clone());
            let attempt = attempts.entry(notification.id.clone()).or_default();
            let (shared, number) = (Arc::clone(&shared), *attempt);
            *attempt += 1;
            under_way.push(Box::pin(async move {
                deliver(&shared, &notification, number).await;
                notification.id
            }));
        }
        let pause = next_due.map(|due| (due - now).to_std().unwrap_or_default());
        tokio::select! {
            biased;
            () = shared.stopped() => break,
            Some(id) = under_way.next(), if !under_way.is_empty() => {
                begun.remove(&id);
                if !shared.journal.has(&id) {
                    attempts.remove(&id);
                }
            }
            () = shared.journal.changed() => {}
            () = shared.clock.sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
    // They know that they are to stop.
    while under_way.next().await.is_some() {}
}

/// Invokes the function, and keeps what came of it. What is cut off stays as it was.
async fn deliver(shared: &Shared, notification: &Notification, unreachable: u32) {
    let told_long_ago = async {
        shared.stopped().await;
        shared.clock.sleep(STOP_GRACE).await;
    };
    let answer = tokio::select! {
        biased;
        answer = shared.functions.invoke(&notification.function, notification.event.to_string()) => answer,
        () = told_long_ago => return,
    };
    let (rule, now) = (&notification.rule, shared.clock.now());
    let rule_of = shared.journal.rules().iter().find(|known| known.id == *rule);
    let invoke = rule_of.map_or_else(AsyncInvoke::default, |known| known.invoke.clone());
    if let Err(error) = &answer {
        tracing::warn!(notification = rule, "{} did not take a notification: {error}", notification.function);
        shared.tallies().entry(rule.clone()).or_default().last = Some((error.to_string(), now));
    }
    let next = invoke.next(notification, unreachable, &answer, now);
    let error = answer.map_or_else(|error| error.to_string(), |_| String::new());
    // What cannot be kept is tried again at once: the function will be, too.
    while let Err(problem) = settle(shared, notification, &next, &error).await {
        tracing::error!(notification = rule, "{problem:#}");
        shared.tallies().entry(rule.clone()).or_default().last = Some((format!("{problem:#}"), now));
        tokio::select! {
            biased;
            () = shared.stopped() => return,
            () = shared.clock.sleep(STORE_DELAY) => {}
        }
    }
    let mut tallies = shared.tallies();
    let tally = tallies.entry(rule.clone()).or_default();
    match next {
        Next::Done => tally.delivered += 1,
        Next::Again { .. } => {}
        Next::GivenUp(_) => tally.given_up += 1,
    }
}

async fn settle(shared: &Shared, notification: &Notification, next: &Next, error: &str) -> anyhow::Result<()> {
    match next {
        Next::Done => shared.journal.forget(&notification.id).await,
        Next::Again { due, failures } => {
            let (due, failures) = (*due, *failures);
            shared.journal.keep(Notification { due, failures, ..notification.clone() }).await
        }
        Next::GivenUp(condition) => {
            let failures = notification.failures + 1;
            let notification = Notification { failures, ..notification.clone() };
            let discarded = discarded(&notification, condition, error, shared.clock.now())?;
            match shared.failures.get(&notification.rule) {
                Some(destination) => destination.take(&discarded).await?,
                None => tracing::error!("nobody takes a notification of {} that failed", notification.rule),
            }
            shared.journal.forget(&notification.id).await
        }
    }
}

impl Shared {
    /// Waits until told to stop, or until nobody holds the other end any more.
    async fn stopped(&self) {
        self.stopped.clone().wait_for(|stop| *stop).await.ok();
    }

    fn tallies(&self) -> MutexGuard<'_, BTreeMap<String, Tally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
