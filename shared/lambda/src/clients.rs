use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;

use ledgerline_views_postgres::PostgresViews;

use crate::{Config, StartupError};

/// The read models in the database that `DATABASE_URL` names, behind a pool of `max_connections` that
/// connects on first use.
///
/// # Errors
/// [`StartupError`] names the variable if it is missing or makes no sense.
pub fn postgres_views(config: &Config, max_connections: u32) -> Result<PostgresViews, StartupError> {
    PostgresViews::lazy(&config.required("DATABASE_URL")?, max_connections)
        .map_err(|_| StartupError::invalid("DATABASE_URL", "is not a URL of a PostgreSQL database"))
}

/// A DynamoDB client: [`sdk_config`] for `DYNAMODB`.
pub async fn dynamodb_client(config: &Config) -> Client {
    Client::new(&sdk_config(config, "DYNAMODB").await)
}

/// What a client of one service is made from, as the SDK's own environment variables describe it:
/// `AWS_REGION`, credentials and `AWS_ENDPOINT_URL_{service}` or `AWS_ENDPOINT_URL`, read from `config`
/// so that functions in one process can have different ones. What `config` does not have, the SDK
/// looks for as usual.
///
/// An attempt takes 2.5 s at most and a call 5 s, retries included: a function whose timeout is 15 s
/// makes several calls one after the other, and answers before its caller gives up.
pub async fn sdk_config(config: &Config, service: &str) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_millis(2500))
        .operation_timeout(Duration::from_secs(5))
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts);
    if let Some(region) = config.optional("AWS_REGION") {
        loader = loader.region(Region::new(region));
    }
    if let (Some(id), Some(secret)) = (config.optional("AWS_ACCESS_KEY_ID"), config.optional("AWS_SECRET_ACCESS_KEY")) {
        let token = config.optional("AWS_SESSION_TOKEN");
        loader = loader.credentials_provider(Credentials::new(id, secret, token, None, "environment"));
    }
    let own = config.optional(&format!("AWS_ENDPOINT_URL_{service}"));
    if let Some(url) = own.or_else(|| config.optional("AWS_ENDPOINT_URL")) {
        loader = loader.endpoint_url(url);
    }
    Box::pin(loader.load()).await
}
