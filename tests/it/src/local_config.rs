//! What a function's environment says of local stores.

use aws_sdk_dynamodb::Client;
use ledgerline_lambda::{Config, dynamodb_client};

/// That DynamoDB is at `dynamodb`, and what `more` says.
pub(crate) fn config(dynamodb: &str, more: &[(&'static str, &str)]) -> Config {
    let own = [
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
    ];
    let values: Vec<_> = own.iter().chain(more).map(|(name, value)| (*name, (*value).to_owned())).collect();
    Config::new(move |name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
}

/// A client as the functions make theirs.
pub(crate) async fn client(dynamodb: &str) -> Client {
    dynamodb_client(&config(dynamodb, &[])).await
}
