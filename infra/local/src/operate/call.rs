//! The operator's side: asks a host for an operation.

use anyhow::{Context as _, bail};
use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Request, StatusCode};
use futures::StreamExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::door::{BASE, Line};
use super::{Operation, Progress};

/// How much of an error's text is shown, in bytes.
const ERROR_LIMIT: usize = 4096;

/// Runs an operation in the host at `url`.
pub(super) async fn call<O: Operation>(
    url: &str,
    key: &str,
    operation: &O,
    progress: &Progress,
) -> anyhow::Result<O::Report> {
    let url = url.trim_end_matches('/');
    let request = Request::post(format!("{url}{BASE}/{}", O::NAME))
        .header(AUTHORIZATION, format!("Bearer {key}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(serde_json::to_string(operation)?))?;
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await;
    let response = response.with_context(|| format!("cannot reach the host at {url}"))?;
    let (status, body) = (response.status(), Body::new(response.into_body()));
    if status != StatusCode::OK {
        let said = to_bytes(body, ERROR_LIMIT).await.unwrap_or_default();
        bail!("the host at {url} answered {status}: {}", String::from_utf8_lossy(&said));
    }
    let (mut parts, mut text) = (body.into_data_stream(), Vec::new());
    while let Some(part) = parts.next().await {
        text.extend_from_slice(&part.context("the host stopped answering")?);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            match serde_json::from_slice(&line).context("the host's answer makes no sense")? {
                Line::Step(step) => (progress.0)(step),
                Line::Report(report) => return Ok(report),
                Line::Error(failure) => return Err(failure.into()),
            }
        }
    }
    bail!("the host at {url} stopped before it was done")
}
