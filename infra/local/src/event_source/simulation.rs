//! A stream and a function's surroundings as bad as AWS documents them, put together from a seed.
//!
//! ```
//! use std::sync::Arc;
//!
//! use ledgerline_local::event_source::simulation::{Simulation, Weather};
//! use ledgerline_local::event_source::{Invoke, Mapping};
//! use serde_json::json;
//!
//! # async fn example(function: Arc<dyn Invoke>) -> anyhow::Result<()> {
//! let mapping = Mapping { parallelization_factor: 4, ..Mapping::new("Sync.Ledger", "data-sync") };
//! let weather = Weather { refused: 0.1, unanswered: 0.1, ..Weather::default() };
//! let simulation = Simulation::new(7, mapping, 3, weather);
//! for number in 0..100 {
//!     let (pk, sk) = (format!("NOTE#t{}", number % 5), format!("n@{number:010}"));
//!     simulation.stream.put(&json!({"pk": {"S": pk}, "sk": {"S": sk}}), simulation.clock.now());
//! }
//! simulation.stream.split();
//! let source = simulation.start(function).await?;
//! simulation.settle(&source).await?; // everything was delivered, however often
//! source.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! On a runtime with one thread the same seed leads to the same invocations. It encodes what the
//! documentation says, not what was observed.

mod stream;
mod weather;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::ensure;
use chrono::DateTime;

use super::{Clock, EventSource, Invoke, Mapping, MemoryFailures, MemoryPositions, Parts};

pub use stream::SimulatedStream;
pub use weather::{Surroundings, Weather};

/// Seconds since 1970 when a simulation begins.
const BEGINNING: i64 = 1_800_000_000;

/// How often others get their turn before time moves on.
const TURNS: usize = 8;

/// Moves of the clock after which something must hang. A thousand storms, each other by its seed, took 8,785
/// at most.
const PATIENCE: usize = 100_000;

/// A mapping over a simulated stream, by a clock of its own. What it keeps outlives the sources that are
/// started, one after the other, as a mapping's positions outlive a crash.
pub struct Simulation {
    /// What the mapping reads.
    pub stream: SimulatedStream,
    /// What time it is. [`settle`](Self::settle) moves it.
    pub clock: Clock,
    /// How far the mapping is.
    pub positions: MemoryPositions,
    /// What it gave up.
    pub failures: MemoryFailures,
    mapping: Mapping,
    weather: Weather,
    seed: u64,
    surroundings: Mutex<Vec<Arc<Surroundings>>>,
}

impl Simulation {
    /// A mapping on an empty stream with so many shards.
    #[must_use]
    pub fn new(seed: u64, mapping: Mapping, shards: usize, weather: Weather) -> Self {
        Self {
            stream: SimulatedStream::new(seed, shards),
            clock: Clock::manual(DateTime::from_timestamp(BEGINNING, 0).unwrap_or_default()),
            positions: MemoryPositions::default(),
            failures: MemoryFailures::default(),
            mapping,
            weather,
            seed,
            surroundings: Mutex::default(),
        }
    }

    /// Starts delivering to `function` from where the positions are.
    ///
    /// # Errors
    /// None in practice.
    pub async fn start(&self, function: Arc<dyn Invoke>) -> anyhow::Result<EventSource> {
        let surroundings = self.surround(function);
        let parts = Parts {
            stream: Arc::new(self.stream.clone()),
            positions: Arc::new(self.positions.clone()),
            functions: surroundings,
            failures: Arc::new(self.failures.clone()),
            clock: self.clock.clone(),
        };
        EventSource::start(self.mapping.clone(), parts).await
    }

    fn surround(&self, function: Arc<dyn Invoke>) -> Arc<Surroundings> {
        let mut all = self.all_surroundings();
        let seed = self.seed.wrapping_add(all.len().try_into().unwrap_or(0));
        let surroundings = Arc::new(Surroundings::new(function, self.weather, seed, self.clock.clone()));
        all.push(Arc::clone(&surroundings));
        surroundings
    }

    fn all_surroundings(&self) -> MutexGuard<'_, Vec<Arc<Surroundings>>> {
        self.surroundings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass until everything that is in the stream is delivered or given up.
    ///
    /// # Errors
    /// If that never comes.
    pub async fn settle(&self, source: &EventSource) -> anyhow::Result<()> {
        for _ in 0..PATIENCE {
            if !self.step().await {
                tokio::task::yield_now().await;
            }
            if source.is_caught_up().await? {
                return Ok(());
            }
        }
        ensure!(source.is_caught_up().await?, "the mapping hangs, seed {}", self.seed);
        Ok(())
    }

    /// Lets everybody do what can be done at this moment, and then moves the clock to the next. `false` if
    /// nobody waits for any.
    pub async fn step(&self) -> bool {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let all = self.all_surroundings().clone();
        for surroundings in all {
            surroundings.idle().await;
        }
        self.clock.advance_to_next()
    }
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod tests;
