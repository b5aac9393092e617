//! From API Gateway (HTTP API, payload format 2.0; function URLs send the same) to a router.
//!
//! `lambda_http` builds the request, but panics where an event's host, protocol, path, query or
//! base64 body do not parse, and it normalises paths. So it is handed an event without those, and
//! the request gets its path and query here, as they came.

use std::borrow::Cow;
use std::convert::Infallible;

use ::http::{Extensions, Response, Uri, header};
use axum::Router;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::util::BoxService;
use lambda_http::tower::{Service, ServiceExt};
use lambda_http::{Adapter, Body, Error, LambdaEvent, Request, lambda_runtime, service_fn};
use ledgerline_web::{RequestId, SourceIp};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What API Gateway gets back. `lambda_http` has the type but does not export its name.
pub type LambdaResponse =
    <Adapter<'static, Response<Body>, BoxService<Request, Response<Body>, Infallible>> as Service<
        LambdaEvent<LambdaRequest>,
    >>::Response;

/// Runs the router as a function until the process is stopped, on as many requests at once as
/// `AWS_LAMBDA_MAX_CONCURRENCY` says: one, on ordinary functions.
///
/// # Errors
/// What the Lambda runtime cannot recover from.
pub async fn run(router: Router) -> Result<(), Error> {
    lambda_runtime::run_concurrent(service(router)).await
}

/// The router as a function: it takes an event and gives what API Gateway gets back. No event that
/// deserialises can make it panic.
pub fn service(
    router: Router,
) -> impl Service<LambdaEvent<LambdaRequest>, Response = LambdaResponse, Error = Infallible, Future: Send> + Clone + Send
{
    service_fn(move |mut event: LambdaEvent<LambdaRequest>| {
        let origin = Origin::take(&mut event);
        let router = router.clone();
        let answer = service_fn(move |request: Request| router.clone().oneshot(origin.restored(request)));
        // Ready as it is: neither part has to wait for anything before it is called.
        Adapter::from(answer).call(event)
    })
}

/// What is kept from `lambda_http`.
#[derive(Debug, Clone)]
struct Origin {
    uri: Uri,
    request_id: String,
    source_ip: Option<String>,
}

impl Origin {
    /// Takes out of the event what `lambda_http` must not see.
    fn take(event: &mut LambdaEvent<LambdaRequest>) -> Self {
        let invocation_id = event.context.request_id.clone();
        match &mut event.payload {
            LambdaRequest::ApiGatewayV2(request) => Self {
                uri: take_uri(request),
                // The id in the gateway's access log; function URLs have one as well.
                request_id: request.request_context.request_id.clone().unwrap_or(invocation_id),
                source_ip: request.request_context.http.source_ip.clone(),
            },
            // No other trigger is compiled in.
            _ => Self { uri: Uri::from_static("/"), request_id: invocation_id, source_ip: None },
        }
    }

    fn restored(&self, request: Request) -> ::http::Request<axum::body::Body> {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.uri.clone();
        parts.extensions = Extensions::new();
        parts.extensions.insert(RequestId(self.request_id.clone()));
        if let Some(ip) = &self.source_ip {
            parts.extensions.insert(SourceIp(ip.clone()));
        }
        ::http::Request::from_parts(parts, axum::body::Body::new(body))
    }
}

fn take_uri(request: &mut ApiGatewayV2httpRequest) -> Uri {
    let raw_path = request.raw_path.replace("/".to_owned()).unwrap_or_default();
    let stage = request.request_context.stage.take().unwrap_or_default();
    let query = request.raw_query_string.take().unwrap_or_default();
    let is_function_url = is_function_url(request);
    request.headers.remove(header::HOST);
    request.request_context.domain_name = None;
    if request.is_base64_encoded && request.body.as_ref().is_some_and(|body| STANDARD.decode(body).is_err()) {
        // Handed on as the text that it is; the route refuses it as any other malformed body.
        request.is_base64_encoded = false;
    }
    // Under a stage with a name, the path begins with it; routes do not.
    let path = match raw_path.strip_prefix('/').and_then(|path| path.strip_prefix(stage.as_str())) {
        Some(rest) if !stage.is_empty() && rest.starts_with('/') => rest,
        _ => &raw_path,
    };
    let mut target = if is_function_url { escaped_path(path) } else { encoded_path(path) };
    if !query.is_empty() {
        target.push('?');
        target.extend(utf8_percent_encode(&query, NOT_IN_QUERY));
    }
    // Only one of more than 64 KB does not parse; no route has such a path.
    target.parse().unwrap_or_else(|_| Uri::from_static("/"))
}

/// What cannot stand in a query as it is.
const NOT_IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// What cannot stand in a path as it is.
const NOT_IN_PATH: &AsciiSet = &NOT_IN_QUERY.add(b'?').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// The same where a `%` is itself and begins no escape.
const NOT_IN_DECODED_PATH: &AsciiSet = &NOT_IN_PATH.add(b'%');

/// Whether the event is of a function URL rather than of an HTTP API, whose `$default` route looks
/// the same otherwise. The function URLs of `cargo lambda watch` belong to no API.
fn is_function_url(request: &ApiGatewayV2httpRequest) -> bool {
    let context = &request.request_context;
    let domain = context.domain_name.as_deref().unwrap_or_default();
    context.apiid.is_none() || domain.contains(".lambda-url.")
}

/// The path of an HTTP API, which hands it over decoded: a `%` in it is one.
fn encoded_path(decoded: &str) -> String {
    utf8_percent_encode(&with_slash(decoded), NOT_IN_DECODED_PATH).to_string()
}

/// The path of a function URL, handed over as sent: escapes what cannot stand in a path, and leaves
/// alone what looks escaped already.
fn escaped_path(raw: &str) -> String {
    let mut path = String::with_capacity(raw.len() + 1);
    for (index, part) in with_slash(raw).split('%').enumerate() {
        if index > 0 {
            let escape = part.len() >= 2 && part.bytes().take(2).all(|b| b.is_ascii_hexdigit());
            path.push_str(if escape { "%" } else { "%25" });
        }
        path.extend(utf8_percent_encode(part, NOT_IN_PATH));
    }
    path
}

fn with_slash(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
