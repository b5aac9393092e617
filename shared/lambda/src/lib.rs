//! What every function needs around its use case: configuration, clients, telemetry, the adapter
//! from API Gateway to the router, and batch responses.

mod allocator;
mod auth;
mod clients;
mod config;
mod deadline;
mod environment;
pub mod http;
mod jwks_url;
mod state_bucket;
pub mod stream;
pub mod telemetry;
mod upkeep;

pub use auth::authenticator;
pub use clients::{dynamodb_client, postgres_views, sdk_config};
pub use config::{Config, StartupError};
pub use deadline::deadline;
pub use environment::SystemEnvironment;
pub use jwks_url::JwksUrl;
pub use state_bucket::{large_states, s3_client};
pub use upkeep::Upkeep;
