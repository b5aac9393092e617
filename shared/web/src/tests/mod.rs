//! The router as a whole, by `oneshot`, over in-memory ports.

mod access;
mod admin;
mod bad_input;
mod bulk;
mod commands;
mod conditions;
mod conformance;
mod idempotency;
mod imports;
pub(crate) mod issuer;
mod large_states;
mod lists;
mod logs;
mod queries;
mod summaries;
mod waiting;
mod world;
