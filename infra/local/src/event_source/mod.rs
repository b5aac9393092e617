//! The event source mapping of DynamoDB streams, as Lambda runs it: batches in order, retries,
//! bisection, partial batch responses, a failure destination, and a position that survives the
//! process.
//!
//! [`Delivery`] decides, without a clock or IO; [`EventSource`] does what it says.

mod delivery;
mod dynamodb_stream;
mod failures;
mod mapping;
mod position;
mod run;

use async_trait::async_trait;

pub use delivery::{Delivery, GivenUp, Settled, Why};
pub use dynamodb_stream::{DynamoDbStream, LOCAL_REGION, Record, SequenceNumber};
pub use failures::FailureFile;
pub use mapping::{Mapping, StartingPosition, UnsupportedFilter, event_names_of};
pub use position::PositionFile;
pub use run::EventSource;

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
