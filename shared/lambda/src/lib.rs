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
pub mod sqs;
mod state_bucket;
pub mod stream;
pub mod telemetry;
mod upkeep;

pub use auth::authenticator;
pub use clients::{dynamodb_client, patient_s3_client, postgres_views, s3_client, sdk_config, sqs_client};
pub use config::{Config, StartupError};
pub use deadline::deadline;
pub use environment::SystemEnvironment;
pub use jwks_url::JwksUrl;
pub use state_bucket::large_states;
pub use upkeep::Upkeep;
