use std::error::Error;
use std::time::Duration;

use ::http::Uri;
use async_trait::async_trait;
use axum::body::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::JwkSet;
use ledgerline_web::{KeySource, KeySourceError};

use crate::StartupError;

/// An issuer's key set behind a URL.
pub struct JwksUrl {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// The longest that a fetch takes.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The largest answer that is read.
const LIMIT_BYTES: usize = 256 * 1024;

impl JwksUrl {
    /// Fetches from `url`: `https`, trusting the Mozilla root certificates that are compiled in, or
    /// `http` on this machine (whoever can change an answer on its way can sign tokens).
    ///
    /// # Errors
    /// [`StartupError::Invalid`] for any other URL.
    pub fn new(url: &str) -> Result<Self, StartupError> {
        let invalid = |reason| StartupError::invalid("JWKS_URL", reason);
        let url: Uri = url.parse().map_err(|_| invalid("is not a URL"))?;
        let on_this_machine = matches!(url.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match url.scheme_str() {
            Some("https") => {}
            Some("http") if on_this_machine => {}
            _ => return Err(invalid("must begin with https://")),
        }
        let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        Ok(Self { url, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    async fn get(&self) -> Result<JwkSet, String> {
        let response = self.client.get(self.url.clone()).await.map_err(|error| with_sources(&error))?;
        if !response.status().is_success() {
            return Err(format!("the answer was {}", response.status()));
        }
        let body = Limited::new(response.into_body(), LIMIT_BYTES).collect().await;
        let body = body.map_err(|error| with_sources(&*error))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| format!("the answer is not a key set: {error}"))
    }
}

#[async_trait]
impl KeySource for JwksUrl {
    async fn fetch(&self) -> Result<JwkSet, KeySourceError> {
        let fetched = tokio::time::timeout(TIMEOUT, self.get()).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")));
        fetched.map_err(|reason| KeySourceError(format!("{}: {reason}", self.url)))
    }
}

/// An error and what caused it, in one line.
fn with_sources(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
#[path = "jwks_url_tests.rs"]
mod tests;
