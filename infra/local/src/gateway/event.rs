//! HTTP as API Gateway's HTTP API hands it to a function (payload format 2.0), and back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context as _;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::routes::PathParameters;

/// A request, and what the gateway knows about it besides.
pub(super) struct Arrival<'a> {
    pub(super) request: &'a request::Parts,
    pub(super) body: &'a [u8],
    pub(super) peer: SocketAddr,
    pub(super) request_id: &'a str,
    pub(super) time: DateTime<Utc>,
}

/// The path as HTTP APIs pass it on: decoded once, and cut where that uncovers a `?`.
pub(super) fn raw_path(request: &request::Parts) -> String {
    let decoded = percent_decode_str(request.uri.path()).decode_utf8_lossy();
    decoded.split_once('?').map_or(decoded.as_ref(), |(path, _)| path).to_owned()
}

/// The event that the function behind `route_key` gets.
pub(super) fn to_event(arrival: &Arrival<'_>, route_key: &str, parameters: PathParameters) -> Value {
    let Arrival { request, body, .. } = arrival;
    let path = raw_path(request);
    let host = text(request.headers.get(HOST));
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": request.uri.query().unwrap_or_default(),
        "headers": joined_headers(arrival),
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": host.rsplit_once(':').map_or(host.as_ref(), |(name, _)| name),
            "domainPrefix": "local",
            "http": {
                "method": request.method.as_str(),
                "path": path,
                "protocol": format!("{:?}", request.version),
                "sourceIp": arrival.peer.ip().to_string(),
                "userAgent": text(request.headers.get(USER_AGENT)),
            },
            "requestId": arrival.request_id,
            "routeKey": route_key,
            "stage": "$default",
            "time": arrival.time.format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": arrival.time.timestamp_millis(),
        },
        "isBase64Encoded": false,
    });
    let mut set = |name: &str, value: Value| {
        if let Some(event) = event.as_object_mut() {
            event.insert(name.to_owned(), value);
        }
    };
    let cookies: Vec<String> = request.headers.get_all(COOKIE).iter().flat_map(split_cookies).collect();
    if !cookies.is_empty() {
        set("cookies", json!(cookies));
    }
    let query = query_parameters(request.uri.query().unwrap_or_default());
    if !query.is_empty() {
        set("queryStringParameters", json!(query));
    }
    if !parameters.is_empty() {
        set(
            "pathParameters",
            Value::Object(parameters.into_iter().map(|(name, value)| (name, json!(value))).collect()),
        );
    }
    if !body.is_empty() {
        match std::str::from_utf8(body).ok().filter(|_| is_text(&request.headers)) {
            Some(body) => set("body", json!(body)),
            None => {
                set("body", json!(BASE64.encode(body)));
                set("isBase64Encoded", json!(true));
            }
        }
    }
    event
}

/// Lower-case names; several values of one header joined by commas; cookies travel on their own.
fn joined_headers(arrival: &Arrival<'_>) -> BTreeMap<String, String> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &arrival.request.headers {
        if name != COOKIE {
            let value = String::from_utf8_lossy(value.as_bytes());
            let held = joined.entry(name.as_str().to_owned());
            held.and_modify(|held| *held = format!("{held},{value}")).or_insert_with(|| value.into_owned());
        }
    }
    let peer = arrival.peer.ip().to_string();
    let forwarded = joined.entry("x-forwarded-for".to_owned());
    forwarded.and_modify(|held| *held = format!("{held}, {peer}")).or_insert(peer);
    joined.insert("x-forwarded-proto".to_owned(), "http".to_owned());
    let host = text(arrival.request.headers.get(HOST));
    let port = host.rsplit_once(':').map_or("80", |(_, port)| port);
    joined.insert("x-forwarded-port".to_owned(), port.to_owned());
    joined
}

fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let held = joined.entry(name.into_owned());
        held.and_modify(|held| *held = format!("{held},{value}")).or_insert_with(|| value.into_owned());
    }
    joined
}

fn split_cookies(value: &HeaderValue) -> Vec<String> {
    String::from_utf8_lossy(value.as_bytes()).split("; ").map(str::to_owned).collect()
}

/// HTTP APIs pass these media types on as text, and every other (`application/merge-patch+json`
/// too) in base64.
fn is_text(headers: &HeaderMap) -> bool {
    let content_type = text(headers.get(CONTENT_TYPE)).to_ascii_lowercase();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.starts_with("text/")
        || matches!(media_type, "application/json" | "application/javascript" | "application/xml")
}

fn text(value: Option<&HeaderValue>) -> Cow<'_, str> {
    value.map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    cookies: Vec<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// The response that a function's answer stands for.
pub(super) fn to_response(answer: &str) -> anyhow::Result<Response<Body>> {
    let answer: Answer = serde_json::from_str(answer).context("the answer is not an HTTP API response")?;
    let body = answer.body.unwrap_or_default();
    let body = match answer.is_base64_encoded {
        true => BASE64.decode(body).context("the body is not base64")?,
        false => body.into_bytes(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status_code)?;
    for (name, value) in &answer.headers {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        response.headers_mut().append(HeaderName::try_from(name.as_str())?, HeaderValue::try_from(value)?);
    }
    for cookie in answer.cookies {
        response.headers_mut().append(SET_COOKIE, HeaderValue::try_from(cookie)?);
    }
    Ok(response)
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
