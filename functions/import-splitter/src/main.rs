//! The `import-splitter` Lambda function.

use ledgerline_import_splitter::{Deps, service};
use ledgerline_lambda::{Config, telemetry};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init();
    let deps = Deps::from_config(&Config::from_env()).await?;
    lambda_runtime::run_concurrent(service(deps)).await
}
