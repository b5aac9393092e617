//! Which paths there are, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, MethodRouter, on};
use http::{Method, StatusCode};
use ledgerline_app::{Commands, Projector, Queries, Registry};
use ledgerline_kernel::DynDomain;
use tower_http::catch_panic::CatchPanicLayer;

use crate::auth::{Authenticator, authorise};
use crate::cursor::CursorKey;
use crate::permission::Guard;
use crate::problem::{ApiError, RequestError};
use crate::respond::{Extra, Incoming, finish, panicked, success};
use crate::{commands, queries};

/// What a router serves.
#[derive(Clone)]
pub struct Api {
    /// The domains; each gets its own resource.
    pub registry: Registry,
    /// The write path. Without it, the paths exist and answer 405.
    pub commands: Option<Commands>,
    /// What `Prefer: wait` applies an accepted command's projections with. Without it, the preference
    /// is not applied.
    pub projector: Option<Projector>,
    /// The read path. Without it, the paths exist and answer 405.
    pub queries: Option<Queries>,
    /// Verifies callers.
    pub authenticator: Arc<Authenticator>,
    /// Signs the cursors of lists.
    pub cursor_key: CursorKey,
}

/// Builds the router: the one that functions, the local host and tests all use.
///
/// It answers every request itself; no error of the framework reaches a caller.
pub fn router(api: Api) -> Router {
    let mut routes = Routes { router: Router::new(), authenticator: api.authenticator };
    for path in ["/healthz", "/api/v1/healthz"] {
        routes = routes.add(&Method::GET, path, Guard::Public, healthz);
    }
    for domain in api.registry.domains() {
        routes = routes.declare(domain.as_ref());
        if let Some(commands) = &api.commands {
            routes = commands::mount(routes, commands, api.projector.as_ref(), domain);
        }
        if let Some(queries) = &api.queries {
            routes = queries::mount(routes, queries, &api.cursor_key, domain);
        }
    }
    routes
        .router
        .fallback(async || ApiError::from(RequestError::NoSuchRoute))
        .method_not_allowed_fallback(async || ApiError::from(RequestError::MethodNotAllowed))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(finish))
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
    authenticator: Arc<Authenticator>,
}

impl Routes {
    /// Adds a route. There is no way to add one without saying who may use it.
    pub(crate) fn add<H, T>(mut self, method: &Method, path: &str, guard: Guard, handler: H) -> Self
    where
        H: Handler<T, ()>,
        T: 'static,
    {
        // Every method that this crate uses has a filter; a route of any other would match nothing.
        let Ok(filter) = MethodFilter::try_from(method.clone()) else { return self };
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

    /// Makes all paths of a domain exist, so that a method that is not served here is a 405.
    fn declare(mut self, domain: &dyn DynDomain) -> Self {
        let base = base_path(domain);
        let entity = format!("{base}/{{sk}}");
        let mut paths = vec![format!("{entity}/restore"), format!("{entity}/history"), bulk_path(domain), base];
        paths.extend(domain.commands().iter().map(|command| format!("{entity}/commands/{command}")));
        paths.push(entity);
        for path in paths {
            self.router = self.router.route(&path, MethodRouter::new());
        }
        self
    }
}

async fn healthz(incoming: Incoming) -> Result<axum::response::Response, ApiError> {
    #[derive(serde::Serialize)]
    struct Health {
        status: &'static str,
    }
    success(StatusCode::OK, &incoming, &Health { status: "ok" }, Extra::default(), None)
}
