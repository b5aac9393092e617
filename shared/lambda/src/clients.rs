use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;

use crate::Config;

/// A DynamoDB client as the SDK's own environment variables describe it: `AWS_REGION`, credentials
/// and `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`, read from `config` so that functions in
/// one process can have different ones. What `config` does not have, the SDK looks for as usual.
///
/// An attempt takes 2.5 s at most and a call 5 s, retries included: a function whose timeout is 15 s
/// makes several calls one after the other, and answers before its caller gives up.
pub async fn dynamodb_client(config: &Config) -> Client {
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
    if let Some(url) = config.optional("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| config.optional("AWS_ENDPOINT_URL")) {
        loader = loader.endpoint_url(url);
    }
    Client::new(&Box::pin(loader.load()).await)
}
