//! The router as a whole, by `oneshot`, over in-memory ports.

mod access;
mod bad_input;
mod bulk;
mod commands;
mod conditions;
mod idempotency;
pub(crate) mod issuer;
mod logs;
mod queries;
mod waiting;
mod world;
