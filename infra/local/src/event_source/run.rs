use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::shard_pump::ShardPump;
use super::shared::Shared;
use super::status::SourceReader;
use super::{
    Clock, FailureDestination, Invoke, Mapping, Position, PositionStore, Positions, StartingPosition, StreamSource,
};

/// How long to wait before the list of shards is read again.
const SHARDS_POLL: Duration = Duration::from_secs(1);

/// What an event source mapping works with.
pub struct Parts {
    /// What it reads.
    pub stream: Arc<dyn StreamSource>,
    /// Where its positions are kept.
    pub positions: Arc<dyn PositionStore>,
    /// What it invokes.
    pub functions: Arc<dyn Invoke>,
    /// Where that goes which it gives up.
    pub failures: Arc<dyn FailureDestination>,
    /// The time that it goes by.
    pub clock: Clock,
}

/// A running event source mapping. Dropping it stops it, as [`stop`](Self::stop) does, but does not
/// wait.
#[derive(Debug)]
pub struct EventSource {
    reader: SourceReader,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl EventSource {
    /// Starts delivering from where the positions say, or from where the mapping begins.
    ///
    /// A position is saved only after the function has succeeded on all records before it (or the
    /// failure destination has taken them), so what a process leaves undone when it ends is
    /// delivered to the next one. Some records may be delivered twice.
    ///
    /// # Errors
    /// If the positions or the stream cannot be read.
    pub async fn start(mapping: Mapping, parts: Parts) -> anyhow::Result<Self> {
        let mut positions = parts.positions.load().await?;
        if positions.is_empty() && mapping.start == StartingPosition::Newest {
            positions = newest(&*parts.stream).await?;
        }
        let (stop, stopped) = watch::channel(false);
        let (shared, progress) = Shared::new(mapping, parts, positions, stopped);
        let shared = Arc::new(shared);
        let reader = SourceReader::new(&shared, progress);
        Ok(Self { reader, stop, task: tokio::spawn(coordinate(shared)) })
    }

    /// Says how far it is, also once it has stopped.
    #[must_use]
    pub fn reader(&self) -> &SourceReader {
        &self.reader
    }

    /// Waits until every record that is in the stream now is done with: delivered, filtered out or
    /// given up.
    ///
    /// # Errors
    /// If the stream cannot be read, or delivery stopped before that.
    pub async fn caught_up(&self) -> anyhow::Result<()> {
        let newest = newest(self.reader.stream()).await?;
        let mut progress = self.reader.progress();
        let reached = |positions: &Positions| has_reached(positions, &newest);
        progress.wait_for(reached).await.context("delivery stopped before it caught up")?;
        Ok(())
    }

    /// Whether every record that is in the stream now is done with.
    ///
    /// # Errors
    /// If the stream cannot be read.
    pub async fn is_caught_up(&self) -> anyhow::Result<bool> {
        let newest = newest(self.reader.stream()).await?;
        Ok(has_reached(&self.reader.progress().borrow(), &newest))
    }

    /// Lets the invocations under way finish, within two seconds, saves the positions and stops.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!("an event source mapping ended badly: {error}");
        }
    }

    /// Ends it as a crash of the process does: at once, in the middle of whatever it does. What is under
    /// way is cut off at its next await.
    pub async fn kill(self) {
        self.task.abort();
        // An error says that it was cut off, which is what was asked for.
        let _ = self.task.await;
    }
}

/// The newest record of each shard that has one.
async fn newest(stream: &dyn StreamSource) -> anyhow::Result<Positions> {
    let mut positions = Positions::new();
    for shard in stream.shards().await? {
        if let Some(newest) = stream.newest(&shard.id).await? {
            positions.insert(shard.id, Position { sequence_number: Some(newest), is_finished: false });
        }
    }
    Ok(positions)
}

fn has_reached(positions: &Positions, newest: &Positions) -> bool {
    newest.iter().all(|(shard, newest)| {
        let newest = newest.sequence_number.as_ref();
        newest.is_none_or(|newest| positions.get(shard).is_some_and(|position| position.reached(newest)))
    })
}

/// Delivers each shard once its parent is finished, until told to stop.
async fn coordinate(shared: Arc<Shared>) {
    let mut pumps = JoinSet::new();
    let mut started = BTreeSet::new();
    loop {
        match shared.stream.shards().await {
            Ok(shards) => {
                let known: BTreeSet<&str> = shards.iter().map(|shard| shard.id.as_str()).collect();
                for shard in &shards {
                    let waits = shard.parent.as_deref().filter(|parent| known.contains(parent));
                    let may_start = waits.is_none_or(|parent| shared.position(parent).is_finished);
                    if may_start && !shared.position(&shard.id).is_finished && started.insert(shard.id.clone()) {
                        pumps.spawn(ShardPump::new(Arc::clone(&shared), &shard.id).run());
                    }
                }
            }
            Err(error) => shared.complain(format!("the shards of {} cannot be read: {error:#}", shared.stream.arn())),
        }
        tokio::select! {
            biased;
            () = shared.stopped() => break,
            Some(ended) = pumps.join_next(), if !pumps.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!("a shard of {} ended badly: {error}", shared.mapping.id);
                    return;
                }
            }
            () = shared.clock.sleep(SHARDS_POLL) => {}
        }
    }
    while pumps.join_next().await.is_some() {}
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
