//! The routes of imports, from outside.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LINK};
use axum::http::{Method, Request, Response, StatusCode};
use futures::stream;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const BASE: &str = "/api/v1/imports";

/// How much of a file is in memory at once while it is uploaded.
const PIECE: usize = 256 * 1024;

/// The largest answer that is read, apart from errors, which go to a file.
const ANSWER_LIMIT: usize = 1 << 20;

/// An import, as the API shows it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ImportView {
    pub(crate) id: String,
    pub(crate) resource: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) counts: Counts,
    pub(crate) progress: Progress,
    #[serde(default)]
    pub(crate) failure: Option<Failure>,
    #[serde(default)]
    pub(crate) upload: Option<Upload>,
}

/// What became of its rows.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) created: u64,
    pub(crate) updated: u64,
    pub(crate) unchanged: u64,
    pub(crate) failed: u64,
}

/// How much of its file was read.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Progress {
    pub(crate) rows: u64,
    pub(crate) whole: bool,
}

/// Why it failed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// Where its file goes.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Upload {
    pub(crate) url: String,
}

impl ImportView {
    pub(super) fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "cancelled" | "failed")
    }
}

/// The API answered that it would not or could not.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
struct Refused {
    status: StatusCode,
    said: String,
}

/// Whether what was asked in vain may be answered when it is asked again.
pub(super) fn may_pass(error: &anyhow::Error) -> bool {
    let passes = |status: StatusCode| status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    error.downcast_ref::<Refused>().is_none_or(|refused| passes(refused.status))
}

/// The API of a host, for one caller.
pub(super) struct Api {
    client: Client<HttpConnector, Body>,
    base: String,
    token: String,
}

impl Api {
    pub(super) fn new(url: &str, token: &str) -> anyhow::Result<Self> {
        let base = url.trim_end_matches('/');
        if !base.starts_with("http://") {
            bail!("{base} is not an http:// address");
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { client, base: format!("{base}{BASE}"), token: token.to_owned() })
    }

    /// Asks for an import.
    pub(super) async fn ask(&self, request: &Value) -> anyhow::Result<ImportView> {
        self.view(Method::POST, "", Body::from(request.to_string())).await
    }

    pub(super) async fn get(&self, id: &str) -> anyhow::Result<ImportView> {
        self.view(Method::GET, &format!("/{id}"), Body::empty()).await
    }

    /// Has it go on with what has no outcome yet.
    pub(super) async fn resume(&self, id: &str) -> anyhow::Result<ImportView> {
        self.view(Method::POST, &format!("/{id}/resume"), Body::from("{}")).await
    }

    /// The import, if there is such a one and its file is uploaded. It may have ended.
    pub(super) async fn uploaded(&self, id: &str) -> anyhow::Result<Option<ImportView>> {
        let response = self.send(Method::GET, &format!("/{id}"), Body::empty()).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let view = self.read(response).await?;
        Ok((view.state != "awaiting-upload").then_some(view))
    }

    /// Puts a file where the API says, piece by piece.
    pub(super) async fn upload(&self, url: &str, file: &Path, size: u64, bar: &ProgressBar) -> anyhow::Result<()> {
        let open = File::open(file).await.with_context(|| format!("cannot read {}", file.display()))?;
        let bar = bar.clone();
        let pieces = stream::try_unfold(open, move |mut open| {
            let bar = bar.clone();
            async move {
                let mut piece = vec![0; PIECE];
                let read = open.read(&mut piece).await?;
                piece.truncate(read);
                bar.inc(read.try_into().unwrap_or_default());
                Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(piece), open)))
            }
        });
        let request = Request::put(url).header(CONTENT_LENGTH, size).body(Body::from_stream(pieces))?;
        let response = self.client.request(request).await.context("the upload broke off")?;
        let status = response.status();
        if !status.is_success() {
            let said = to_bytes(Body::new(response.into_body()), ANSWER_LIMIT).await.unwrap_or_default();
            bail!("the upload was refused: {status} {}", String::from_utf8_lossy(&said));
        }
        Ok(())
    }

    /// Writes the rows that were not accepted to the file at `path`, and beside it to as many more as it
    /// takes where they have other columns. Gives all of them.
    pub(super) async fn errors(&self, id: &str, path: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let (mut paths, mut file, mut from) = (Vec::new(), None, Some(format!("/{id}/errors")));
        while let Some(page) = from {
            let response = self.send(Method::GET, &page, Body::empty()).await?;
            let (next, begins, status) = (next_page(&response), begins_a_file(&response), response.status());
            let text = to_bytes(response.into_body(), usize::MAX).await.context("the answer broke off")?;
            anyhow::ensure!(status == StatusCode::OK, "{status} {}", String::from_utf8_lossy(&text));
            let mut open = match file.take().filter(|_| !begins) {
                Some(open) => open,
                None => {
                    let path = numbered(path, paths.len() + 1);
                    let made = File::create(&path).await.with_context(|| format!("cannot write {}", path.display()));
                    paths.push(path);
                    made?
                }
            };
            let written = async { open.write_all(&text).await.and(open.flush().await) };
            written.await.with_context(|| format!("cannot write {}", path.display()))?;
            (file, from) = (Some(open), next);
        }
        Ok(paths)
    }

    async fn view(&self, method: Method, path: &str, body: Body) -> anyhow::Result<ImportView> {
        let response = self.send(method, path, body).await?;
        self.read(response).await
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> anyhow::Result<Response<Body>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json")
            .body(body)?;
        let response = self.client.request(request).await.with_context(|| format!("cannot reach {}", self.base))?;
        Ok(response.map(Body::new))
    }

    async fn read(&self, response: Response<Body>) -> anyhow::Result<ImportView> {
        #[derive(Deserialize)]
        struct Answer {
            data: ImportView,
        }
        let status = response.status();
        let text = to_bytes(response.into_body(), ANSWER_LIMIT).await.context("the answer broke off")?;
        if !status.is_success() {
            return Err(Refused { status, said: refusal(status, &text) }.into());
        }
        serde_json::from_slice(&text).map(|answer: Answer| answer.data).context("the API's answer makes no sense")
    }
}

/// Where the next page is (RFC 8288), behind the routes' base.
fn next_page<B>(response: &Response<B>) -> Option<String> {
    let (next, _) = response.headers().get(LINK)?.to_str().ok()?.strip_prefix('<')?.split_once('>')?;
    Some(next.strip_prefix(BASE)?.to_owned())
}

/// Whether a page is the first of its file (RFC 4180).
fn begins_a_file<B>(response: &Response<B>) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.split(';').any(|part| part.trim() == "header=present"))
}

/// The name of a second file beside `rings.errors.csv`: `rings.errors-2.csv`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// What a problem says, for people.
fn refusal(status: StatusCode, text: &[u8]) -> String {
    let problem = serde_json::from_slice::<Value>(text).unwrap_or_default();
    let string = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut said = string(&problem, "detail");
    if said.is_empty() {
        // Not one of the API's own, but of something before it: all that there is has to do.
        let text = String::from_utf8_lossy(text);
        return format!("the API answered {status}: {}", if text.trim().is_empty() { "nothing" } else { text.trim() });
    }
    for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
        said.push_str(&format!("\n  {} {}", string(error, "path"), string(error, "message")));
    }
    said
}
