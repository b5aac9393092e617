//! Buckets that tell functions of new objects, as S3 and Lambda do: the function is invoked asynchronously,
//! twice more if it fails, and then what it was told goes to its failure destination.
//!
//! Whoever created an object hears of its success only after the [`Journal`] has the notification on disk. It
//! goes from there when the function has succeeded or the failure destination has it: nothing is lost, however
//! the process ends, and something may be told twice.

mod deliver;
mod event;
mod failures;
mod journal;
mod rule;

pub use deliver::{Deliveries, NotificationReader, NotificationStatus};
pub use failures::AsyncFailures;
pub use journal::Journal;
pub use rule::{AsyncInvoke, Next, Rule};
