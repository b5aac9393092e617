//! The routes that change entities, thin over [`Commands`].

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::response::Response;
use http::header::{HeaderName, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Method, StatusCode};
use ledgerline_app::{Accepted, Caller, CommandRequest, Commands, Projector, RequestOrigin};
use ledgerline_kernel::{Action, DynDomain, Entity, SortKey};

use crate::auth::Verified;
use crate::body::{self, Accepts};
use crate::parameters::{EntityPath, Parameters, percent_encoded};
use crate::permission::{Access, Guard, Permission};
use crate::prefer::{PREFERENCE_APPLIED, Wait};
use crate::problem::ApiError;
use crate::respond::{EntityView, Extra, Incoming, set_entity_tag, success};
use crate::routes::{Routes, base_path, bulk_path};

/// What versions name as the entry point they came through.
const SOURCE: &str = "command-api";

/// Says that an answer was given before, to the same request.
pub(crate) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// One domain's commands.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) commands: Commands,
    pub(crate) projector: Option<Projector>,
    pub(crate) domain: Arc<dyn DynDomain>,
}

/// Adds the routes that change entities of `domain`; without commands, declares them.
pub(crate) fn mount(
    routes: Routes,
    commands: Option<&Commands>,
    projector: Option<&Projector>,
    domain: &Arc<dyn DynDomain>,
) -> Routes {
    let base = base_path(domain.as_ref());
    let guard = Guard::Needs(Permission::Resource(domain.resource(), Access::Write));
    let endpoint = commands.map(|commands| Endpoint {
        commands: commands.clone(),
        projector: projector.cloned(),
        domain: Arc::clone(domain),
    });
    let create = endpoint.clone().map(|endpoint| {
        move |sent: Sent, request: Request| {
            let endpoint = endpoint.clone();
            async move { endpoint.execute(Action::Create, None, sent, request).await }
        }
    });
    let bulk = endpoint.clone().map(|endpoint| {
        move |sent: Sent, request: Request| {
            let endpoint = endpoint.clone();
            async move { endpoint.execute_bulk(sent, request).await }
        }
    });
    let on_entity = |action: Action<'static>| {
        endpoint.clone().map(|endpoint| {
            move |sk: EntityPath, sent: Sent, request: Request| {
                let endpoint = endpoint.clone();
                async move { endpoint.execute(action, Some(sk.0), sent, request).await }
            }
        })
    };
    let entity = format!("{base}/{{sk}}");
    let mut routes = routes
        .add(&Method::POST, &base, guard, create)
        .add(&Method::POST, &bulk_path(domain.as_ref()), guard, bulk)
        .add(&Method::POST, &format!("{entity}/restore"), guard, on_entity(Action::Restore));
    for path in [&entity, &bulk_path(domain.as_ref())] {
        routes = routes
            .add(&Method::PUT, path, guard, on_entity(Action::Replace))
            .add(&Method::PATCH, path, guard, on_entity(Action::Update))
            .add(&Method::DELETE, path, guard, on_entity(Action::Delete));
    }
    for command in domain.commands() {
        let path = format!("{entity}/commands/{command}");
        routes = routes.add(&Method::POST, &path, guard, on_entity(Action::Named(command)));
    }
    routes
}

/// What a command's request says besides its path and body.
pub(crate) struct Sent {
    pub(crate) caller: Caller,
    pub(crate) incoming: Incoming,
    pub(crate) parameters: Parameters,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) wait: Option<Wait>,
}

impl Sent {
    pub(crate) fn origin(&self) -> RequestOrigin {
        RequestOrigin {
            request_id: self.incoming.id.clone(),
            source: SOURCE.to_owned(),
            traceparent: self.incoming.traceparent.clone(),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Sent {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Verified(caller) = Verified::from_request_parts(parts, state).await?;
        let Ok(incoming) = Incoming::from_request_parts(parts, state).await;
        let Ok(mut parameters) = Parameters::from_request_parts(parts, state).await;
        let idempotency_key = parameters.checked(body::idempotency_key(&parts.headers)).flatten();
        Ok(Self { caller, incoming, parameters, idempotency_key, wait: Wait::preferred(&parts.headers) })
    }
}

impl Endpoint {
    async fn execute(
        &self,
        action: Action<'static>,
        sk: Option<SortKey>,
        mut sent: Sent,
        request: Request,
    ) -> Result<Response, ApiError> {
        let if_match = sent.parameters.checked(body::if_match(request.headers())).flatten();
        sent.parameters.checked(body::if_none_match(request.headers(), action == Action::Create));
        std::mem::take(&mut sent.parameters).finish()?;
        let accepts = if action == Action::Update { Accepts::MergePatch } else { Accepts::Json };
        let body = body::read(request, accepts, body::limit_of(self.domain.as_ref())).await?;
        let origin = sent.origin();
        let (domain, caller, idempotency_key) = (self.domain.as_ref(), sent.caller, sent.idempotency_key);
        let command = CommandRequest { domain, action, sk, if_match, idempotency_key, body: &body, caller, origin };
        let accepted = Box::pin(self.commands.execute(command)).await?;
        let entity = Entity::from(&accepted.item);
        let status = if action == Action::Create { StatusCode::CREATED } else { StatusCode::OK };
        let extra = Extra { changed: Some(accepted.changed), ..Extra::default() };
        let mut response = success(status, &accepted.item, &EntityView::of(&entity), extra, None)?;
        set_entity_tag(&mut response, entity.version);
        if action == Action::Create {
            let location = format!("{}/{}", base_path(domain), percent_encoded(entity.key.sk.as_str()));
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(LOCATION, location);
            }
        }
        self.finish(&mut response, sent.wait, &[&accepted]).await;
        Ok(response)
    }

    /// Sets what an answer says of how it came about, after waiting for the read models if asked to.
    pub(crate) async fn finish(&self, response: &mut Response, wait: Option<Wait>, accepted: &[&Accepted]) {
        let headers = response.headers_mut();
        if !accepted.is_empty() && accepted.iter().all(|accepted| accepted.replayed) {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        if let (Some(wait), Some(projector)) = (wait, &self.projector)
            && let Some(applied) = wait.for_projection(projector, accepted.iter().copied()).await
        {
            headers.insert(PREFERENCE_APPLIED, applied);
        }
    }
}
