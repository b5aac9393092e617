//! The `command-api` Lambda function.

use ledgerline_command_api::{Deps, service};
use ledgerline_lambda::{Config, http, telemetry};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    let deps = Deps::from_config(&Config::from_env()).await?;
    http::run(service(deps)).await
}
