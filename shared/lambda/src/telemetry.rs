//! Logs.

use lambda_http::tracing::init_default_subscriber;

/// Logs to standard output from here on, as Lambda's logging controls say: `AWS_LAMBDA_LOG_LEVEL`
/// (else `RUST_LOG`, else `INFO`), and JSON where `AWS_LAMBDA_LOG_FORMAT` is `JSON`.
///
/// To be called once per process, by its `main`.
pub fn init() {
    init_default_subscriber();
}
