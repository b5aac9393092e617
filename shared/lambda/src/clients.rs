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

/// An S3 client: [`sdk_config`] for `S3`. With an endpoint of its own, which has no names for buckets,
/// it addresses them by path.
pub async fn s3_client(config: &Config) -> aws_sdk_s3::Client {
    s3_client_of(&sdk_config(config, "S3").await)
}

/// As [`s3_client`], and waits ten minutes for an answer: S3 copies a large object before it has one. A
/// function's own timeout is what ends it earlier.
pub async fn patient_s3_client(config: &Config) -> aws_sdk_s3::Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(600))
        .build();
    s3_client_of(&sdk_config(config, "S3").await.into_builder().timeout_config(timeouts).build())
}

fn s3_client_of(sdk: &SdkConfig) -> aws_sdk_s3::Client {
    let by_path = sdk.endpoint_url().is_some();
    aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(sdk).force_path_style(by_path).build())
}

/// An SQS client: [`sdk_config`] for `SQS`.
pub async fn sqs_client(config: &Config) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::new(&sdk_config(config, "SQS").await)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_an_endpoint_of_its_own_has_buckets_addressed_by_path() {
        for (endpoint, by_path) in [(Some("http://127.0.0.1:9"), true), (None, false)] {
            let config = Config::new(move |name| match name {
                "AWS_ENDPOINT_URL_S3" => endpoint.map(str::to_owned),
                "AWS_REGION" => Some("eu-west-1".to_owned()),
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
                _ => None,
            });
            let client = Box::pin(s3_client(&config)).await;
            let request = client.get_object().bucket("states").key("k");
            let expiry = Duration::from_secs(1);
            let presigning = aws_sdk_s3::presigning::PresigningConfig::expires_in(expiry).unwrap();
            let presigned = request.presigned(presigning).await.unwrap();
            let url = presigned.uri().split('?').next().unwrap().to_owned();
            let expected =
                if by_path { "http://127.0.0.1:9/states/k" } else { "https://states.s3.eu-west-1.amazonaws.com/k" };
            assert_eq!(url, expected);
        }
    }
}
