//! Functions that somebody else serves: `cargo lambda watch`, by its Invoke API.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

use crate::event_source::{Invoke, InvokeError};

/// Lambda's limit on a function's answer, in bytes.
const ANSWER_LIMIT: usize = 6 * 1024 * 1024;

/// Longer than any function's timeout, because the first call of a function compiles it.
const PATIENCE: Duration = Duration::from_secs(900);

/// The functions that `cargo lambda watch` serves.
pub struct WatchServer {
    url: Url,
    client: Client<HttpConnector, Body>,
}

impl WatchServer {
    /// The one at this address. It need not be up yet.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self { url, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    async fn post(&self, function: &str, event: String) -> anyhow::Result<Result<String, InvokeError>> {
        let url = self.url.join(&format!("2015-03-31/functions/{function}/invocations"))?;
        let request = Request::post(url.as_str()).header("content-type", "application/json").body(Body::from(event))?;
        let response = tokio::time::timeout(PATIENCE, self.client.request(request)).await??;
        let (status, failed) = (response.status(), response.headers().contains_key("x-amz-function-error"));
        let body = to_bytes(Body::new(response.into_body()), ANSWER_LIMIT).await?;
        Ok(judge(status, failed, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// What an answer says of the function. Only the header says that it ran and failed; any other
/// answer but 200 is the server's own, while it compiles the function, for one.
fn judge(status: StatusCode, failed: bool, body: String) -> Result<String, InvokeError> {
    let said = || if body.trim().is_empty() { format!("{status}") } else { format!("{status}: {}", body.trim()) };
    match status {
        _ if failed => Err(InvokeError::Failed(said())),
        StatusCode::OK => Ok(body),
        _ => Err(InvokeError::Unavailable(format!("the watch server answered {}", said()))),
    }
}

#[async_trait]
impl Invoke for WatchServer {
    async fn invoke(&self, function: &str, event: String) -> Result<String, InvokeError> {
        match self.post(function, event).await {
            Ok(answer) => answer,
            Err(error) => Err(InvokeError::Unavailable(format!("{} does not answer: {error:#}", self.url))),
        }
    }
}

/// The file that `cargo lambda watch --env-file` takes. Quoted, because it refuses a bare `?`; a
/// shell can read it as well.
///
/// # Errors
/// If a value holds a quote or a line break, which such a file cannot express.
pub fn env_file(environment: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let mut text = String::new();
    for (name, value) in environment {
        anyhow::ensure!(!value.contains(['\'', '\n']), "{name} holds a quote or a line break");
        writeln!(text, "{name}='{value}'").context("out of memory")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_the_function_itself_can_be_its_failure() {
        let judged = |status: u16, failed| judge(StatusCode::from_u16(status).unwrap(), failed, String::new());
        assert_eq!(judged(200, false), Ok(String::new()));
        for status in [200, 500] {
            assert!(
                matches!(judged(status, true), Err(InvokeError::Failed(reason)) if reason.contains("00")),
                "{status}"
            );
        }
        for status in [204, 404, 500, 502, 503] {
            let unavailable = judged(status, false).unwrap_err();
            let InvokeError::Unavailable(reason) = unavailable else { panic!("{status}: {unavailable}") };
            assert!(reason.contains(&status.to_string()), "{reason}");
        }
    }

    #[test]
    fn an_env_file_quotes_its_values_and_refuses_what_it_cannot_quote() {
        let url = [("DATABASE_URL".to_owned(), "postgres://h/d?sslmode=disable".to_owned())];
        assert_eq!(env_file(&url.into()).unwrap(), "DATABASE_URL='postgres://h/d?sslmode=disable'\n");
        assert!(env_file(&[("KEY".to_owned(), "it's".to_owned())].into()).is_err());
    }
}
