//! The stores that the local host and the tests run on: an embedded DynamoDB, a proxy that makes it
//! fail, a local Postgres, and an S3 over a folder.

mod cut;
mod dynamo;
mod fault;
mod lock;
mod messaging;
mod postgres;
mod s3;
mod test_database;

pub use cut::{Cut, CutPostgres};
pub use dynamo::{DynamoAt, LocalDynamo};
pub use fault::{Fault, FaultyDynamo};
pub use lock::lock;
pub use messaging::pattern::{EventPattern, UnsupportedPattern};
pub use messaging::{LocalMessaging, QueueDepth, QueueMessage, Queues, Subscription};
pub use postgres::{LocalPostgres, PostgresChoice, PostgresKind};
pub use s3::{CreatedObject, LocalS3, ObjectListener};
pub use test_database::TestDatabase;
