//! The event source mapping of SQS queues, as Lambda runs it: batches within a window, several invocations at
//! a time, filters, partial batch responses. What a function does not take stays in the queue, comes into
//! sight again after the visibility timeout, and in the end goes to the dead-letter queue: that is the
//! queue's business.
//!
//! [`Gathering`] and [`settle`] decide what a batch is and what of it is deleted, without a clock or IO;
//! [`QueueSource`] does what they say, over any [`MessageSource`] and by a [`Clock`](crate::event_source::Clock).

mod batch;
mod mapping;
mod message;
mod run;
mod sqs;
mod status;

pub use batch::{Gathering, PAYLOAD, Settled, settle};
pub use mapping::QueueMapping;
pub use message::{Message, MessageSource};
pub use run::{QueueParts, QueueSource};
pub use sqs::{SqsApi, local_client};
pub use status::{QueueReader, QueueStatus};
