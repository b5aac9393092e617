//! Which paths there are, and who may use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use ledgerline_app::{Commands, Imports, Projector, Queries, Registry};
use ledgerline_kernel::DynDomain;
use ledgerline_kernel::ports::SummaryRead;
use tower_http::catch_panic::CatchPanicLayer;

use crate::admin::Admin;
use crate::auth::{Authenticator, authorise};
use crate::cursor::CursorKey;
use crate::permission::Guard;
use crate::problem::{ApiError, RequestError};
use crate::respond::{Extra, Incoming, finish, panicked, success};
use crate::{admin, commands, imports, queries, summaries};

/// What a router serves.
#[derive(Clone)]
pub struct Api {
    /// The domains; each gets its own resource.
    pub registry: Registry,
    /// The write path. Without it, its routes answer 405.
    pub commands: Option<Commands>,
    /// What `Prefer: wait` applies an accepted command's projections with. Without it, the preference
    /// is not applied.
    pub projector: Option<Projector>,
    /// The read path. Without it, its routes answer 405.
    pub queries: Option<Queries>,
    /// Reads the sums of delta projections. Without it, their routes answer 405.
    pub summaries: Option<Arc<dyn SummaryRead>>,
    /// Takes in imports and says how they are. Without it, their routes answer 405.
    pub imports: Option<Imports>,
    /// What administrators work with. Without it, their routes answer 405.
    pub admin: Option<Admin>,
    /// Verifies callers.
    pub authenticator: Arc<Authenticator>,
    /// Signs the cursors of lists.
    pub cursor_key: CursorKey,
}

/// Builds the router: the one that functions, the local host and tests all use.
///
/// It answers every request itself; no error of the framework reaches a caller.
pub fn router(api: Api) -> Router {
    let mut routes = Routes { router: Router::new(), methods: BTreeMap::new(), authenticator: api.authenticator };
    for path in ["/healthz", "/api/v1/healthz"] {
        routes = routes.add(&Method::GET, path, Guard::Public, Some(healthz));
    }
    for domain in api.registry.domains() {
        routes = commands::mount(routes, api.commands.as_ref(), api.projector.as_ref(), domain);
        routes = queries::mount(routes, api.queries.as_ref(), &api.cursor_key, domain);
        routes = summaries::mount(routes, api.summaries.as_ref(), &api.cursor_key, domain);
    }
    routes = imports::mount(routes, api.imports.as_ref(), &api.cursor_key);
    routes = admin::mount(routes, api.admin.as_ref(), &api.cursor_key, api.registry.domains());
    routes.finish().layer(CatchPanicLayer::custom(panicked)).layer(from_fn(finish))
}

/// The path of a domain's collection.
pub(crate) fn base_path(domain: &dyn DynDomain) -> String {
    format!("/api/v1/{}", domain.resource())
}

/// The path where `POST` takes a batch. Any other method finds the entity called `bulk` there.
pub(crate) fn bulk_path(domain: &dyn DynDomain) -> String {
    format!("{}/bulk", base_path(domain))
}

/// The routes so far.
pub(crate) struct Routes {
    router: Router,
    /// Which methods each path takes, here or in the function that serves the rest of the API.
    methods: BTreeMap<String, Vec<Method>>,
    authenticator: Arc<Authenticator>,
}

impl Routes {
    /// Adds a route. There is no way to add one without saying who may use it. Without a handler it
    /// is declared only: it answers 405 here, and counts as a method of its path all the same.
    pub(crate) fn add<H, T>(mut self, method: &Method, path: &str, guard: Guard, handler: Option<H>) -> Self
    where
        H: Handler<T, ()>,
        T: 'static,
    {
        self.methods.entry(path.to_owned()).or_default().push(method.clone());
        // Every method that this crate uses has a filter; a route of any other would match nothing.
        let (Some(handler), Ok(filter)) = (handler, MethodFilter::try_from(method.clone())) else { return self };
        let route = match guard {
            Guard::Public => on(filter, handler),
            Guard::Needs(permission) => {
                let gate = (Arc::clone(&self.authenticator), permission);
                on(filter, handler).route_layer(from_fn_with_state(gate, authorise))
            }
        };
        self.router = self.router.route(path, route);
        self
    }

    /// The router, with an answer to every request that none of the routes takes.
    fn finish(self) -> Router {
        let paths = self.methods.into_iter().map(|(path, methods)| (path, allow(&methods)));
        let router = paths.fold(self.router, |router, (path, allow)| {
            let method_not_allowed = async move || {
                let mut response = ApiError::from(RequestError::MethodNotAllowed).into_response();
                response.headers_mut().extend(allow.map(|allow| (ALLOW, allow)));
                response
            };
            router.route(&path, MethodRouter::new().fallback(method_not_allowed))
        });
        router.fallback(async || ApiError::from(RequestError::NoSuchRoute))
    }
}

/// The value of `Allow` for a path that takes these methods.
fn allow(methods: &[Method]) -> Option<HeaderValue> {
    let mut names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.sort_unstable();
    HeaderValue::from_str(&names.join(", ")).ok()
}

async fn healthz(incoming: Incoming) -> Result<Response, ApiError> {
    #[derive(serde::Serialize)]
    struct Health {
        status: &'static str,
    }
    success(StatusCode::OK, &incoming, &Health { status: "ok" }, Extra::default(), None)
}
