//! What every answer has, and the shapes of the successful ones.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use ledgerline_kernel::{
    Entity, EntityKey, EntityType, PartitionKey, SortKey, StoredEvent, TenantCode, Timestamp, Version, VersionItem,
};
use serde::Serialize;
use serde_json::Value;
use tracing::Instrument;
use ulid::Ulid;

use crate::problem::{ApiError, Problem, RequestError};

/// The id of a request, as an extension of it. Whoever runs the router may set it to the id under
/// which the platform logs the request; otherwise it is a new ULID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// The caller's IP address, as an extension of the request, where whoever runs the router knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceIp(pub String);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Runs around every route: names the request, writes the problem if there is one (logging it once
/// if it is our fault), and sets the headers that every answer has.
pub(crate) async fn finish(mut request: Request, next: Next) -> Response {
    let (id, header) = request_id(&request);
    let span = tracing::info_span!(
        "request",
        request.id = %id.0,
        http.method = %request.method(),
        http.path = request.uri().path()
    );
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
        span.in_scope(|| problem.log(&id.0));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // An answer to HEAD loses it again outside, once its length is known.
        *response.body_mut() = Body::from(problem.body(&id.0));
    }
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, header);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn request_id(request: &Request) -> (RequestId, HeaderValue) {
    if let Some(id) = request.extensions().get::<RequestId>()
        && !id.0.is_empty()
        && let Ok(header) = HeaderValue::from_str(&id.0)
    {
        return (id.clone(), header);
    }
    let id = Ulid::generate().to_string();
    let header = HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"));
    (RequestId(id), header)
}

/// What a panicking handler answers.
#[expect(clippy::needless_pass_by_value, reason = "the signature that tower-http asks for")]
pub(crate) fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    axum::response::IntoResponse::into_response(ApiError::from(RequestError::Internal(format!("panicked: {text}"))))
}

/// How a request came in, taken from its extensions and headers.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(crate) id: String,
    pub(crate) traceparent: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Incoming {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        let traceparent = parts.headers.get("traceparent").and_then(|value| value.to_str().ok());
        Ok(Self { id, traceparent: traceparent.filter(|text| is_traceparent(text)).map(str::to_owned) })
    }
}

/// Whether a text is a `traceparent` of W3C Trace Context, version 00.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let set = |part: &str| part.bytes().any(|b| b != b'0');
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts.as_slice(), ["00", trace, span, flags]
        if hex(trace, 32) && set(trace) && hex(span, 16) && set(span) && hex(flags, 2))
}

/// What an answer says besides its data.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Extra {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) changed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total_count: Option<u64>,
    /// How many entities of a page are left out because they cannot be read. Not there where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unreadable_count: Option<u64>,
}

/// Where a list goes on.
#[derive(Debug, Serialize)]
pub(crate) struct Links {
    #[serde(rename = "self")]
    pub(crate) this: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// Which request an answer tells of, and from when.
///
/// What a command answers is of the version that it shows: so a repeated request gets the first
/// answer to the byte. The request that is being answered is in `x-request-id`, always.
#[derive(Debug)]
pub(crate) struct Answered<'a> {
    request_id: &'a str,
    timestamp: Timestamp,
}

impl<'a> From<&'a Incoming> for Answered<'a> {
    /// This request, now.
    fn from(incoming: &'a Incoming) -> Self {
        Self { request_id: &incoming.id, timestamp: DateTime::<Utc>::from(SystemTime::now()).into() }
    }
}

impl<'a> From<&'a VersionItem> for Answered<'a> {
    /// The request that led to the version, then.
    fn from(item: &'a VersionItem) -> Self {
        Self { request_id: &item.request_id, timestamp: item.updated.at }
    }
}

/// Writes a success: `data`, `meta` and, for a list, `links`.
pub(crate) fn success<'a, T: Serialize>(
    status: StatusCode,
    answered: impl Into<Answered<'a>>,
    data: &T,
    extra: Extra,
    links: Option<Links>,
) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta<'a> {
        request_id: &'a str,
        timestamp: Timestamp,
        #[serde(flatten)]
        extra: Extra,
    }
    #[derive(Serialize)]
    struct Success<'a, T> {
        data: &'a T,
        meta: Meta<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        links: Option<Links>,
    }
    let Answered { request_id, timestamp } = answered.into();
    let body = Success { data, meta: Meta { request_id, timestamp, extra }, links };
    let text = serde_json::to_vec(&body)
        .map_err(|error| RequestError::Internal(format!("an answer could not be written: {error}")))?;
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The strong entity tag of a version: `"3"`.
pub(crate) fn entity_tag(version: Version) -> String {
    format!("\"{version}\"")
}

/// Sets the `ETag` of an answer about an entity at `version`.
pub(crate) fn set_entity_tag(response: &mut Response, version: Version) {
    if let Ok(tag) = HeaderValue::from_str(&entity_tag(version)) {
        response.headers_mut().insert(ETAG, tag);
    }
}

/// An entity as callers see it. `sk` is as the caller typed it; `id` and `pk` are as stored.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EntityView<'a> {
    id: &'a EntityKey,
    pk: &'a PartitionKey,
    sk: &'a SortKey,
    r#type: &'a EntityType,
    tenant_code: &'a TenantCode,
    code: &'a str,
    name: &'a str,
    version: Version,
    is_deleted: bool,
    attributes: &'a Value,
    created_at: Timestamp,
    created_by: &'a str,
    updated_at: Timestamp,
    updated_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<&'a [StoredEvent]>,
}

impl<'a> EntityView<'a> {
    pub(crate) fn of(entity: &'a Entity) -> Self {
        Self {
            id: &entity.key,
            pk: &entity.key.partition,
            sk: &entity.key.sk,
            r#type: &entity.key.partition.entity_type,
            tenant_code: &entity.key.partition.tenant,
            code: &entity.code,
            name: &entity.name,
            version: entity.version,
            is_deleted: entity.is_deleted,
            attributes: &entity.attributes,
            created_at: entity.created.at,
            created_by: &entity.created.by,
            updated_at: entity.updated.at,
            updated_by: &entity.updated.by,
            events: None,
        }
    }

    /// The same as an entry of a history: with what led to it.
    pub(crate) fn with_events(self, events: &'a [StoredEvent]) -> Self {
        Self { events: Some(events), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_traceparent_is_kept() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for text in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(!is_traceparent(text), "{text:?}");
        }
    }
}
