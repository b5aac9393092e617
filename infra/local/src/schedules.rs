//! The template's schedules, running.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::event_source::{Clock, Invoke, InvokeError, LOCAL_REGION};
use crate::template::Schedule;

/// How long an invocation may go on once its schedule is to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// All of them. Each invokes its function after every interval, and never twice at a time: an invocation
/// that takes longer has the next one wait for its end.
pub struct Schedules {
    timers: Vec<Arc<Timer>>,
    running: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

/// What a schedule has done since the host started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// The names of function and event in the template.
    pub schedule: String,
    /// The function.
    pub function: String,
    /// How often it is invoked.
    pub every_seconds: u64,
    /// How often it was.
    pub runs: u64,
    /// When it was last.
    pub last_run_at: Option<DateTime<Utc>>,
    /// What it answered then, JSON text.
    pub last_answer: Option<String>,
    /// Or what went wrong then.
    pub last_error: Option<String>,
}

struct Timer {
    schedule: Schedule,
    functions: Arc<dyn Invoke>,
    clock: Clock,
    /// Held by the invocation under way.
    alone: tokio::sync::Mutex<()>,
    status: Mutex<ScheduleStatus>,
}

impl Schedules {
    /// Starts all of them: the first invocation comes after the first interval.
    #[must_use]
    pub fn start(schedules: &[Schedule], functions: &Arc<dyn Invoke>, clock: &Clock) -> Self {
        let timers: Vec<_> =
            schedules.iter().map(|schedule| Arc::new(Timer::new(schedule, functions, clock))).collect();
        let (stop, stopped) = watch::channel(false);
        let running = timers.iter().map(|timer| tokio::spawn(Arc::clone(timer).run(stopped.clone()))).collect();
        Self { timers, running, stop }
    }

    /// Says what they have done.
    #[must_use]
    pub fn reader(&self) -> ScheduleReader {
        ScheduleReader(self.timers.clone())
    }

    /// Stops them, after the invocations under way, for two seconds at most.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for running in self.running {
            if let Err(error) = running.await {
                tracing::error!("a schedule ended badly: {error}");
            }
        }
    }
}

/// Says what the schedules have done, and has them do it now. Clones are of the same schedules.
#[derive(Clone)]
pub struct ScheduleReader(Vec<Arc<Timer>>);

impl ScheduleReader {
    /// What each has done.
    #[must_use]
    pub fn read(&self) -> Vec<ScheduleStatus> {
        self.0.iter().map(|timer| timer.status().clone()).collect()
    }

    /// Invokes what is due after every interval now, one after the other: the functions of all schedules, or
    /// of one. What came of it is in the answer.
    pub async fn run_now(&self, function: Option<&str>) -> Vec<ScheduleStatus> {
        let mut ran = Vec::new();
        for timer in self.0.iter().filter(|timer| function.is_none_or(|name| timer.schedule.function == name)) {
            timer.invoke().await;
            ran.push(timer.status().clone());
        }
        ran
    }
}

impl Timer {
    fn new(schedule: &Schedule, functions: &Arc<dyn Invoke>, clock: &Clock) -> Self {
        let status = ScheduleStatus {
            schedule: schedule.id.clone(),
            function: schedule.function.clone(),
            every_seconds: schedule.every.as_secs(),
            runs: 0,
            last_run_at: None,
            last_answer: None,
            last_error: None,
        };
        Self {
            schedule: schedule.clone(),
            functions: Arc::clone(functions),
            clock: clock.clone(),
            alone: tokio::sync::Mutex::default(),
            status: Mutex::new(status),
        }
    }

    async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let told_long_ago = {
            let (mut stopped, clock) = (stopped.clone(), self.clock.clone());
            async move {
                // An error means that nobody holds the other end any more: stop as well.
                stopped.wait_for(|stop| *stop).await.ok();
                clock.sleep(STOP_GRACE).await;
            }
        };
        let mut told_long_ago = std::pin::pin!(told_long_ago);
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = self.clock.sleep(self.schedule.every) => {}
            }
            tokio::select! {
                biased;
                () = self.invoke() => {}
                () = &mut told_long_ago => return,
            }
        }
    }

    async fn invoke(&self) {
        let _alone = self.alone.lock().await;
        let now = self.clock.now();
        let event = self.schedule.input.clone().unwrap_or_else(|| event_of(&self.schedule, now));
        let answer = self.functions.invoke(&self.schedule.function, event).await;
        let mut status = self.status();
        status.runs += 1;
        status.last_run_at = Some(now);
        if let Err(error @ InvokeError::Failed(_)) = &answer {
            tracing::warn!(schedule = self.schedule.id, "{error}");
        }
        (status.last_answer, status.last_error) = match answer {
            Ok(answer) => (Some(answer), None),
            Err(error) => (None, Some(error.to_string())),
        };
    }

    fn status(&self) -> MutexGuard<'_, ScheduleStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What EventBridge Scheduler sends where a schedule has no input of its own.
fn event_of(schedule: &Schedule, now: DateTime<Utc>) -> String {
    let name = schedule.id.replace('.', "");
    json!({
        "version": "0",
        "id": ulid::Ulid::generate().to_string(),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "000000000000",
        "time": now.to_rfc3339_opts(SecondsFormat::Secs, true),
        "region": LOCAL_REGION,
        "resources": [format!("arn:aws:scheduler:{LOCAL_REGION}:000000000000:schedule/default/{name}")],
        "detail": "{}",
    })
    .to_string()
}

#[cfg(test)]
#[path = "schedules_tests.rs"]
mod tests;
