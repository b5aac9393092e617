//! What every function needs around its use case: configuration, clients, telemetry, the adapter
//! from API Gateway to the router, and batch responses.

mod auth;
mod clients;
mod config;
mod environment;
pub mod http;
mod jwks_url;
pub mod stream;
pub mod telemetry;

pub use auth::authenticator;
pub use clients::dynamodb_client;
pub use config::{Config, StartupError};
pub use environment::SystemEnvironment;
pub use jwks_url::JwksUrl;
