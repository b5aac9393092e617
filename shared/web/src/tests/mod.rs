//! The router as a whole, by `oneshot`, over in-memory ports.

mod access;
mod bad_input;
mod commands;
mod conditions;
pub(crate) mod issuer;
mod queries;
mod world;
