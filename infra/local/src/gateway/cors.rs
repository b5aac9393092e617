//! What API Gateway does for browsers by itself: it answers preflight requests, and says on every
//! other answer which origins may read it.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, request};
use serde::Deserialize;

/// The `CorsConfiguration` of an HTTP API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
pub struct Cors {
    allow_origins: Vec<String>,
    allow_methods: Vec<String>,
    allow_headers: Vec<String>,
    expose_headers: Vec<String>,
    allow_credentials: bool,
    max_age: Option<u64>,
}

impl Cors {
    /// The answer to a preflight request, if this is one. No function hears of it.
    pub(super) fn preflight(&self, request: &request::Parts) -> Option<Response<Body>> {
        let asks = [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD].iter().all(|name| request.headers.contains_key(name));
        if !(asks && request.method == Method::OPTIONS) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.allow(&request.headers, response.headers_mut()) {
            let max_age = self.max_age.map(|seconds| seconds.to_string()).unwrap_or_default();
            set(response.headers_mut(), ACCESS_CONTROL_ALLOW_METHODS, &self.allow_methods.join(","));
            set(response.headers_mut(), ACCESS_CONTROL_ALLOW_HEADERS, &self.allow_headers.join(","));
            set(response.headers_mut(), ACCESS_CONTROL_MAX_AGE, &max_age);
        }
        Some(response)
    }

    /// Says on the answer to a request with these headers who may read it, and what of it.
    pub(super) fn mark(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        if self.allow(asked, answer) {
            set(answer, ACCESS_CONTROL_EXPOSE_HEADERS, &self.expose_headers.join(","));
        }
    }

    /// Whether the request comes from an origin that is allowed; says so in the answer.
    fn allow(&self, asked: &HeaderMap, answer: &mut HeaderMap) -> bool {
        let Some(origin) = asked.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else { return false };
        let Some(allowed) = self.allow_origins.iter().find(|allowed| match allowed.strip_suffix('*') {
            // `*`, `http://*` and `https://*` are the wildcards that API Gateway has.
            Some(beginning) => origin.starts_with(beginning),
            None => *allowed == origin,
        }) else {
            return false;
        };
        set(answer, ACCESS_CONTROL_ALLOW_ORIGIN, if allowed == "*" { "*" } else { origin });
        set(answer, ACCESS_CONTROL_ALLOW_CREDENTIALS, if self.allow_credentials { "true" } else { "" });
        true
    }
}

/// Sets a header, unless there is nothing to say.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Some(value) = HeaderValue::from_str(value).ok().filter(|value| !value.is_empty()) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
#[path = "cors_tests.rs"]
mod tests;
