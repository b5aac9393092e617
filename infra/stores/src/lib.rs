//! The stores that the local host and the tests run on: an embedded DynamoDB, a proxy that makes it
//! fail, and a local Postgres.

mod dynamo;
mod fault;
mod postgres;
mod test_database;

pub use dynamo::{DynamoAt, LocalDynamo};
pub use fault::{Fault, FaultyDynamo};
pub use postgres::{LocalPostgres, PostgresChoice, PostgresKind};
pub use test_database::TestDatabase;
