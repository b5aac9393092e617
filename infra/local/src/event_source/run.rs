use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{
    Delivery, DynamoDbStream, FailureFile, GivenUp, Invoke, InvokeError, Mapping, PositionFile, Record, SequenceNumber,
    Settled, StartingPosition,
};

/// How long to wait before a stream that had nothing new is read again.
const POLL: Duration = Duration::from_millis(50);

/// How long to wait before a file or a database that failed is tried again.
const STORE_DELAY: Duration = Duration::from_secs(1);

/// How long an invocation may go on once its mapping is to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// A running event source mapping. Dropping it stops it, as [`stop`](Self::stop) does, but does not
/// wait.
#[derive(Debug)]
pub struct EventSource {
    stream: DynamoDbStream,
    progress: watch::Receiver<Option<SequenceNumber>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl EventSource {
    /// Starts delivering from where `position` says, or from where the mapping begins.
    ///
    /// A position is saved only after the function has succeeded on all records before it (or the
    /// failure destination has taken them), so what a process leaves undone when it ends is
    /// delivered to the next one. Some records may be delivered twice.
    ///
    /// # Errors
    /// If the position or the stream cannot be read.
    pub async fn start(
        mapping: Mapping,
        stream: DynamoDbStream,
        position: PositionFile,
        functions: Arc<dyn Invoke>,
        failures: FailureFile,
    ) -> anyhow::Result<Self> {
        let mut at = position.load()?;
        if at.is_none() && mapping.start == StartingPosition::Newest {
            at = stream.newest().await?;
        }
        let (progressed, progress) = watch::channel(at.clone());
        let (stop, stopped) = watch::channel(false);
        let pump = Pump {
            mapping,
            stream: stream.clone(),
            position,
            functions,
            failures,
            at,
            progressed,
            stopped,
            problem: None,
        };
        Ok(Self { stream, progress, stop, task: tokio::spawn(pump.run()) })
    }

    /// Waits until every record that is in the stream now is done with: delivered, filtered out or
    /// given up.
    ///
    /// # Errors
    /// If the stream cannot be read, or delivery stopped before that.
    pub async fn caught_up(&self) -> anyhow::Result<()> {
        let Some(newest) = self.stream.newest().await? else { return Ok(()) };
        let mut progress = self.progress.clone();
        let reached = |at: &Option<SequenceNumber>| at.as_ref().is_some_and(|at| *at >= newest);
        progress.wait_for(reached).await.context("delivery stopped before it caught up")?;
        Ok(())
    }

    /// Lets the invocation under way finish, within two seconds, saves the position and stops.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!("an event source mapping ended badly: {error}");
        }
    }
}

/// Told to stop; what is not done is left for the next start.
struct Stopped;

struct Pump {
    mapping: Mapping,
    stream: DynamoDbStream,
    position: PositionFile,
    functions: Arc<dyn Invoke>,
    failures: FailureFile,
    at: Option<SequenceNumber>,
    progressed: watch::Sender<Option<SequenceNumber>>,
    stopped: watch::Receiver<bool>,
    problem: Option<String>,
}

impl Pump {
    async fn run(mut self) {
        while let Ok(()) = self.turn().await {}
    }

    /// Gathers one batch and delivers it.
    async fn turn(&mut self) -> Result<(), Stopped> {
        let records = self.gather().await?;
        let last = records.last().map(|record| record.sequence_number.clone());
        let wanted: Vec<_> = records.into_iter().filter(|record| self.mapping.accepts(&record.event_name)).collect();
        self.deliver(&wanted).await?;
        self.reach(last.as_ref()).await;
        Ok(())
    }

    /// A full batch, or what there is when the window is over; at least one record. Reading takes
    /// nothing out of the stream, so a batch that is not full yet is read again.
    async fn gather(&mut self) -> Result<Vec<Record>, Stopped> {
        let mut window_end = None;
        loop {
            match self.stream.read(self.at.clone(), self.mapping.batch_size).await {
                Ok(records) if !records.is_empty() => {
                    let end = *window_end.get_or_insert_with(|| Instant::now() + self.mapping.window);
                    if records.len() >= self.mapping.batch_size || Instant::now() >= end {
                        return Ok(records);
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    self.complain(format!("the stream {} cannot be read: {error:#}", self.stream.arn()));
                    self.pause(STORE_DELAY).await?;
                }
            }
            self.pause(POLL).await?;
        }
    }

    async fn deliver(&mut self, records: &[Record]) -> Result<(), Stopped> {
        let mapping = self.mapping.clone();
        let mut delivery = Delivery::new(&mapping, records);
        while let Some(batch) = delivery.next() {
            let answer = self.invoke(event_of(batch)).await?;
            let settled = delivery.settle(&answer, Utc::now());
            if let Settled::GivenUp(given_up) = &settled {
                self.give_up(given_up).await?;
            }
            self.reach(delivery.delivered()).await;
            match settled {
                Settled::Retry(delay) => {
                    let reason = answer.map_or_else(|error| error.to_string(), |text| format!("it answered {text}"));
                    self.complain(format!("{} did not take {} records: {reason}", mapping.function, batch.len()));
                    self.pause(delay).await?;
                }
                Settled::Delivered => self.problem = None,
                Settled::GivenUp(_) => {}
            }
            self.pause(Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Once told to stop, waits for an answer no longer than [`STOP_GRACE`]: the position stays, and
    /// the next start delivers the batch again.
    async fn invoke(&self, event: String) -> Result<Result<String, InvokeError>, Stopped> {
        let mut stopped = self.stopped.clone();
        let told_long_ago = async {
            // An error means that nobody holds the other end any more: stop as well.
            stopped.wait_for(|stop| *stop).await.ok();
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            answer = self.functions.invoke(&self.mapping.function, event) => Ok(answer),
            () = told_long_ago => Err(Stopped),
        }
    }

    /// Hands records to the failure destination. Goes on only when that has them.
    async fn give_up(&mut self, given_up: &GivenUp<'_>) -> Result<(), Stopped> {
        while let Err(error) = self.failures.take(&self.mapping, &self.stream, given_up, Utc::now()) {
            self.complain(format!("the failure destination takes nothing: {error:#}"));
            self.pause(STORE_DELAY).await?;
        }
        let (count, file) = (given_up.records.len(), self.failures.path().display());
        tracing::error!("{} failed for good on {count} records, see {file}: {}", self.mapping.function, given_up.error);
        Ok(())
    }

    async fn reach(&mut self, position: Option<&SequenceNumber>) {
        let Some(position) = position.filter(|position| self.at.as_ref() != Some(position)) else { return };
        let (file, number) = (self.position.clone(), position.clone());
        let saved = tokio::task::spawn_blocking(move || file.save(&number)).await;
        if let Err(error) = saved.map_err(anyhow::Error::from).flatten() {
            // Delivered all the same; a restart would deliver it again.
            self.complain(format!("the position cannot be saved: {error:#}"));
        }
        self.at = Some(position.clone());
        self.progressed.send_replace(Some(position.clone()));
    }

    /// Logs a problem once, however often it comes up in a row.
    fn complain(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!(mapping = self.mapping.id, "{problem}");
            self.problem = Some(problem);
        }
    }

    /// Waits, unless told to stop.
    async fn pause(&mut self, time: Duration) -> Result<(), Stopped> {
        // An error means that nobody holds the other end any more: stop as well.
        let stopped = tokio::time::timeout(time, self.stopped.wait_for(|stop| *stop)).await;
        if stopped.is_ok() { Err(Stopped) } else { Ok(()) }
    }
}

fn event_of(records: &[Record]) -> String {
    let records: Vec<_> = records.iter().map(|record| record.json.as_str()).collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
