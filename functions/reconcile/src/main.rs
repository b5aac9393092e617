//! The `reconcile` Lambda function.

use ledgerline_lambda::{Config, telemetry};
use ledgerline_reconcile::{Deps, service};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init();
    let deps = Deps::from_config(&Config::from_env()).await?;
    lambda_runtime::run(service(deps)).await
}
