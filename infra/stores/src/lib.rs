//! The stores that the local host and the tests run on: an embedded DynamoDB and a local Postgres.

mod dynamo;
mod postgres;
mod test_database;

pub use dynamo::{DynamoAt, LocalDynamo};
pub use postgres::{LocalPostgres, PostgresChoice, PostgresKind};
pub use test_database::TestDatabase;
