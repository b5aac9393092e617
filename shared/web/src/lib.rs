//! HTTP in front of the use cases: one router, authentication, and the one mapping from errors to
//! statuses.
//!
//! [`router`] builds the router that the functions, the local host and the tests all use. It is
//! thin: it reads a request into what `ledgerline-app` takes, and writes what comes back. It knows
//! nothing of Lambda; whoever runs it may hand it a [`RequestId`] and a [`SourceIp`] as request
//! extensions.

mod admin;
mod auth;
mod body;
mod bulk;
mod claims;
mod commands;
mod cursor;
mod imports;
mod jwks;
mod min_version;
mod parameters;
mod permission;
mod prefer;
mod problem;
mod queries;
mod respond;
mod routes;
mod summaries;

pub use admin::Admin;
pub use auth::{AuthConfig, Authenticator};
pub use cursor::{CursorKey, WeakCursorKey};
pub use jwks::{KeySource, KeySourceError};
pub use respond::{RequestId, SourceIp};
pub use routes::{Api, router};

#[cfg(test)]
mod tests;
