use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::run::Parts;
use super::status::Trouble;
use super::{Clock, FailureDestination, Invoke, Mapping, Position, PositionStore, Positions, StreamSource};

/// Told to stop; what is not done is left for the next start.
#[derive(Debug)]
pub(super) struct Stopped;

/// What all parts of a mapping's delivery share.
pub(super) struct Shared {
    pub(super) mapping: Mapping,
    pub(super) stream: Arc<dyn StreamSource>,
    pub(super) functions: Arc<dyn Invoke>,
    pub(super) failures: Arc<dyn FailureDestination>,
    pub(super) clock: Clock,
    pub(super) trouble: Arc<Mutex<Trouble>>,
    store: Arc<dyn PositionStore>,
    positions: watch::Sender<Positions>,
    /// Held while positions are saved, so that older ones never replace newer ones.
    saving: tokio::sync::Mutex<()>,
    stopped: watch::Receiver<bool>,
}

impl Shared {
    pub(super) fn new(
        mapping: Mapping,
        parts: Parts,
        positions: Positions,
        stopped: watch::Receiver<bool>,
    ) -> (Self, watch::Receiver<Positions>) {
        let (positions, progress) = watch::channel(positions);
        let Parts { stream, positions: store, functions, failures, clock } = parts;
        let (trouble, saving) = (Arc::default(), tokio::sync::Mutex::default());
        (Self { mapping, stream, functions, failures, clock, trouble, store, positions, saving, stopped }, progress)
    }

    /// Where a shard is.
    pub(super) fn position(&self, shard: &str) -> Position {
        self.positions.borrow().get(shard).cloned().unwrap_or_default()
    }

    /// Notes and saves where a shard is, if that is news.
    pub(super) async fn reach(&self, shard: &str, position: Position) {
        if self.position(shard) == position {
            return;
        }
        let _alone = self.saving.lock().await;
        let mut positions = self.positions.borrow().clone();
        positions.insert(shard.to_owned(), position);
        if let Err(error) = self.store.save(&positions).await {
            // Delivered all the same; a restart would deliver it again.
            self.complain(format!("the position cannot be saved: {error:#}"));
        }
        self.positions.send_replace(positions);
    }

    /// Waits until told to stop, or until nobody holds the other end any more.
    pub(super) async fn stopped(&self) {
        self.stopped.clone().wait_for(|stop| *stop).await.ok();
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.stopped.borrow() || self.stopped.has_changed().is_err()
    }

    /// Waits, unless told to stop.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = self.stopped() => Err(Stopped),
            () = self.clock.sleep(time) => Ok(()),
        }
    }

    /// Remembers a problem, and logs it once, however often it comes up in a row.
    pub(super) fn complain(&self, problem: String) {
        let mut trouble = self.trouble();
        if trouble.now.as_ref() != Some(&problem) {
            tracing::warn!(mapping = self.mapping.id, "{problem}");
        }
        trouble.now = Some(problem.clone());
        trouble.last = Some((problem, self.clock.now()));
    }

    pub(super) fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
