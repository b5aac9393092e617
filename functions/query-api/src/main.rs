//! The `query-api` Lambda function.

use ledgerline_lambda::{Config, http, telemetry};
use ledgerline_query_api::{Deps, service};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    let deps = Deps::from_config(&Config::from_env()).await?;
    http::run(service(deps)).await
}
