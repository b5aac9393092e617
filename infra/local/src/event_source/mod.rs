//! The event source mapping of DynamoDB streams, as Lambda runs it: batches in order, windows, filters,
//! several invocations for one shard, retries, bisection, partial batch responses, a maximum age, a
//! failure destination, shards that split, and positions that survive the process.
//!
//! [`Delivery`] decides what becomes of a batch, without a clock or IO; [`EventSource`] does what it
//! says, over any [`StreamSource`] and by a [`Clock`]. Tests drive it with a [`simulation`]: a stream
//! with several shards that is put together from a seed, and a clock that they move.

mod backlog;
mod clock;
mod delivery;
mod dynamodb_stream;
mod failures;
mod mapping;
mod position;
mod record;
mod run;
mod shard_pump;
mod shared;
pub mod simulation;
mod status;

use async_trait::async_trait;

pub use clock::Clock;
pub use delivery::{Delivery, GivenUp, Settled, Why};
pub use dynamodb_stream::{DynamoDbStream, LOCAL_REGION};
pub use failures::{Discarded, FailureDestination, FailureFile, MemoryFailures};
pub use mapping::{Mapping, StartingPosition};
pub use position::{MemoryPositions, Position, PositionFile, PositionStore, Positions};
pub use record::{Page, Record, SequenceNumber, Shard, StreamSource};
pub use run::{EventSource, Parts};
pub use shard_pump::POLL;
pub use status::{SourceReader, SourceStatus};

/// Why an invocation has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// The function was invoked and failed: an error, a panic, a timeout.
    #[error("the function failed: {0}")]
    Failed(String),
    /// The function was not invoked, because nothing that serves it could be reached. Tried again
    /// for as long as it takes; no retry is used up.
    #[error("the function could not be invoked: {0}")]
    Unavailable(String),
}

/// Invokes functions by name, with the JSON text of an event.
#[async_trait]
pub trait Invoke: Send + Sync {
    /// The JSON text that the function answered with.
    async fn invoke(&self, function: &str, event: String) -> Result<String, InvokeError>;
}
