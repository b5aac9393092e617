//! Read models on Postgres: one table per domain, written by guarded bulk upserts and read by
//! keyset lists.
//!
//! Every access is a transaction in one of two roles that row-level security knows: the projector,
//! which writes all tenants' rows, and the query role, which sees the rows of one tenant.

mod apply;
mod audit;
mod delta;
mod delta_sql;
mod failure;
mod list;
mod list_sql;
mod list_terms;
mod quarantine;
mod rebuild;
mod resyncs;
mod session;
mod sums;
mod table_sql;
#[cfg(test)]
mod tests;
mod views;

pub use rebuild::{PostgresRebuild, UnfinishedRebuild};
pub use sqlx::migrate::MigrateError;
pub use views::PostgresViews;
