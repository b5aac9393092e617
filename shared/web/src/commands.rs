//! The routes that change entities, thin over [`Commands`].

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::header::{HeaderValue, LOCATION};
use http::{Method, StatusCode};
use ledgerline_app::{CommandRequest, Commands, RequestOrigin};
use ledgerline_kernel::{Action, DynDomain, Entity, SortKey};

use crate::auth::Verified;
use crate::body::{self, Accepts};
use crate::parameters::{EntityPath, Parameters, percent_encoded};
use crate::permission::{Access, Guard, Permission};
use crate::problem::ApiError;
use crate::respond::{EntityView, Extra, Incoming, set_entity_tag, success};
use crate::routes::{Routes, base_path};

/// What versions name as the entry point they came through.
const SOURCE: &str = "command-api";

/// One domain's commands.
#[derive(Clone)]
struct Endpoint {
    commands: Commands,
    domain: Arc<dyn DynDomain>,
}

/// Adds the routes that change entities of `domain`.
pub(crate) fn mount(routes: Routes, commands: &Commands, domain: &Arc<dyn DynDomain>) -> Routes {
    let base = base_path(domain.as_ref());
    let guard = Guard::Needs(Permission::Resource(domain.resource(), Access::Write));
    let endpoint = Endpoint { commands: commands.clone(), domain: Arc::clone(domain) };
    let create = {
        let endpoint = endpoint.clone();
        move |caller: Verified, incoming: Incoming, parameters: Parameters, request: Request| {
            let endpoint = endpoint.clone();
            async move { endpoint.execute(Action::Create, caller, None, incoming, parameters, request).await }
        }
    };
    let on_entity = |action: Action<'static>| {
        let endpoint = endpoint.clone();
        move |caller: Verified, sk: EntityPath, incoming: Incoming, parameters: Parameters, request: Request| {
            let endpoint = endpoint.clone();
            async move { endpoint.execute(action, caller, Some(sk.0), incoming, parameters, request).await }
        }
    };
    let entity = format!("{base}/{{sk}}");
    let mut routes = routes
        .add(&Method::POST, &base, guard, create)
        .add(&Method::PUT, &entity, guard, on_entity(Action::Replace))
        .add(&Method::PATCH, &entity, guard, on_entity(Action::Update))
        .add(&Method::DELETE, &entity, guard, on_entity(Action::Delete))
        .add(&Method::POST, &format!("{entity}/restore"), guard, on_entity(Action::Restore));
    for command in domain.commands() {
        let path = format!("{entity}/commands/{command}");
        routes = routes.add(&Method::POST, &path, guard, on_entity(Action::Named(command)));
    }
    routes
}

impl Endpoint {
    async fn execute(
        &self,
        action: Action<'static>,
        caller: Verified,
        sk: Option<SortKey>,
        incoming: Incoming,
        parameters: Parameters,
        request: Request,
    ) -> Result<Response, ApiError> {
        parameters.finish()?;
        let if_match = body::if_match(request.headers())?;
        let accepts = if action == Action::Update { Accepts::MergePatch } else { Accepts::Json };
        let body = body::read(request, accepts).await?;
        let origin = RequestOrigin {
            request_id: incoming.id.clone(),
            source: SOURCE.to_owned(),
            traceparent: incoming.traceparent.clone(),
        };
        let domain = self.domain.as_ref();
        let command = CommandRequest { domain, action, sk, if_match, body: &body, caller: caller.0, origin };
        let accepted = Box::pin(self.commands.execute(command)).await?;
        let entity = Entity::from(&accepted.item);
        let status = if action == Action::Create { StatusCode::CREATED } else { StatusCode::OK };
        let extra = Extra { changed: Some(accepted.changed), ..Extra::default() };
        let mut response = success(status, &incoming, &EntityView::of(&entity), extra, None)?;
        set_entity_tag(&mut response, entity.version);
        if action == Action::Create {
            let location = format!("{}/{}", base_path(domain), percent_encoded(entity.key.sk.as_str()));
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(LOCATION, location);
            }
        }
        Ok(response)
    }
}
