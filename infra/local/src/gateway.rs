//! API Gateway's HTTP API on loopback: HTTP in, function events out.

mod cors;
mod event;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Response, StatusCode, request};
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Json, Router};
use chrono::Utc;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::event_source::Invoke;
use crate::issuer::{ISSUER, KeySet};
use crate::routes::{self, Route};
pub use cors::Cors;
use event::{Arrival, raw_path, to_event, to_response};

/// API Gateway's limit on a request body, in bytes.
const BODY_LIMIT: usize = 10 * 1024 * 1024;

/// Where the host's own routes are, away from those of the template.
const OWN_PATHS: &str = "/_ledgerline/";

/// How long open requests may take once the gateway stops.
const GRACE: Duration = Duration::from_secs(3);

/// The gateway, serving until it is stopped.
pub struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    router: Router,
    stop: watch::Sender<bool>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// A bound port that answers only once [`Gateway::start`] is called: the functions' settings hold
/// its address before there are functions.
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

struct Shared {
    routes: Vec<Route>,
    keys: KeySet,
    /// Set once everything is up.
    functions: OnceLock<Arc<dyn Invoke>>,
    /// The routes of the host itself, below [`OWN_PATHS`].
    operators: OnceLock<Router>,
}

impl Door {
    /// Binds a port on loopback; 0 picks one.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn bind(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener
            .with_context(|| format!("cannot listen on port {port}; take another with --port, or 0 for any"))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where the gateway will answer: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Gateway {
    /// Opens the door: the key set answers at once, everything else with 503 until
    /// [`ready`](Self::ready).
    #[must_use]
    pub fn start(door: Door, routes: Vec<Route>, keys: KeySet) -> Self {
        let shared = Arc::new(Shared { routes, keys, functions: OnceLock::new(), operators: OnceLock::new() });
        let router = Router::new()
            .route("/.well-known/jwks.json", get(jwks))
            .route("/.well-known/openid-configuration", get(openid_configuration))
            .fallback(handle)
            .with_state(Arc::clone(&shared));
        let (stop, mut stopped) = watch::channel(false);
        let service = router.clone().into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(async move {
            let until_stopped = async move {
                // An error means that the gateway was dropped: stop then, too.
                let _gone = stopped.wait_for(|stop| *stop).await;
            };
            axum::serve(door.listener, service).with_graceful_shutdown(until_stopped).await
        });
        Self { address: door.address, shared, router, stop, serving }
    }

    /// Says that everything is up, and hands over the functions behind the routes.
    pub fn ready(&self, functions: Arc<dyn Invoke>) {
        if self.shared.functions.set(functions).is_err() {
            tracing::debug!("the gateway was ready before");
        }
    }

    /// Hands over the host's own routes, which are below `/_ledgerline/` and look after themselves.
    pub fn admit_operators(&self, operators: Router) {
        if self.shared.operators.set(operators).is_err() {
            tracing::debug!("operators were admitted before");
        }
    }

    /// Answers a request that comes from this process, as if it had come over the network.
    pub async fn answer(&self, mut request: Request) -> Response<Body> {
        request.extensions_mut().insert(ConnectInfo(self.address));
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Where it answers: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no more requests and waits for those that are open, for a few seconds.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(GRACE, self.serving).await.is_err() {
            tracing::warn!("requests were still open after {} s and are cut off", GRACE.as_secs());
        }
    }
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Response<Body> {
    Json(shared.keys.current()).into_response()
}

async fn openid_configuration(request: Request) -> Response<Body> {
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    Json(json!({
        "issuer": ISSUER,
        "jwks_uri": format!("http://{host}/.well-known/jwks.json"),
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
    }))
    .into_response()
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    if request.uri().path().starts_with(OWN_PATHS)
        && let Some(operators) = shared.operators.get()
    {
        return operators.clone().oneshot(request).await.into_response();
    }
    let (request, body) = request.into_parts();
    let mut response = shared.answer(peer, &request, body).await;
    if let Some(cors) = shared.cors() {
        cors.mark(&request.headers, response.headers_mut());
    }
    response
}

impl Shared {
    async fn answer(&self, peer: SocketAddr, request: &request::Parts, body: Body) -> Response<Body> {
        let path = raw_path(request);
        let Some(functions) = self.functions.get() else {
            return message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
        };
        if let Some(preflight) = self.cors().and_then(|cors| cors.preflight(request)) {
            return preflight;
        }
        let Some((route, parameters)) = routes::find(&self.routes, request.method.as_str(), &path) else {
            // Where the functions are served elsewhere, this alone says that the rest is up.
            let is_health = self.routes.is_empty() && path == "/healthz";
            return if is_health { message(StatusCode::OK, "OK") } else { message(StatusCode::NOT_FOUND, "Not Found") };
        };
        let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
        };
        let request_id = ulid::Ulid::generate().to_string();
        let arrival = Arrival { request, body: &body, peer, request_id: &request_id, time: Utc::now() };
        let event = to_event(&arrival, route.pattern.key(), parameters).to_string();
        let answered = functions.invoke(&route.function, event).await.map_err(anyhow::Error::from);
        let answered = answered.and_then(|answer| to_response(&answer).context("the answer makes no sense"));
        let mut response = match answered {
            Ok(response) => {
                let status = response.status();
                if status.is_server_error() {
                    let (function, method) = (&route.function, &request.method);
                    tracing::warn!(function, request.id = request_id, "{method} {path} was answered with {status}");
                }
                response
            }
            Err(error) => {
                tracing::error!(function = route.function, request.id = request_id, "{error:#}");
                message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            }
        };
        if let Ok(request_id) = request_id.parse() {
            response.headers_mut().entry("apigw-requestid").or_insert(request_id);
        }
        response
    }

    /// What the API tells browsers. All routes are of one API.
    fn cors(&self) -> Option<&Cors> {
        self.routes.first()?.cors.as_deref()
    }
}

fn message(status: StatusCode, text: &str) -> Response<Body> {
    (status, Json(json!({ "message": text }))).into_response()
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
