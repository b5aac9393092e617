//! The routes of a tenant's administrator: what the read models lack, and how they get it.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::header::{HeaderValue, LOCATION};
use http::{Method, StatusCode};
use ledgerline_app::{Caller, CommandError, Maintenance, QueryError, Redrive, Redriven, ResyncTarget};
use ledgerline_kernel::input::{Fields, InputError};
use ledgerline_kernel::ports::{QuarantineQuery, Quarantined, Resync, ResyncState};
use ledgerline_kernel::{DynDomain, EntityKey, SortKey, Timestamp, Version};
use serde::Serialize;
use serde_json::Value;

use crate::auth::Verified;
use crate::body::{self, Accepts};
use crate::cursor::CursorKey;
use crate::parameters::{EntityPath, Parameters};
use crate::permission::{Access, Guard, Permission};
use crate::problem::{ApiError, RequestError};
use crate::queries::links;
use crate::respond::{Extra, Incoming, success};
use crate::routes::Routes;

const BASE: &str = "/api/v1/admin";

/// What an administrator's routes work with.
#[derive(Clone)]
pub struct Admin {
    /// Projects again what is asked for.
    pub maintenance: Maintenance,
    /// Knows what is quarantined, and tries it again.
    pub redrive: Redrive,
}

/// The routes' state.
#[derive(Clone)]
struct Endpoint {
    admin: Admin,
    cursor_key: CursorKey,
}

/// Adds the routes of administrators for these domains; without `admin`, declares them.
pub(crate) fn mount<'a>(
    mut routes: Routes,
    admin: Option<&Admin>,
    cursor_key: &CursorKey,
    domains: impl IntoIterator<Item = &'a Arc<dyn DynDomain>>,
) -> Routes {
    let endpoint = admin.map(|admin| Endpoint { admin: admin.clone(), cursor_key: cursor_key.clone() });
    for domain in domains {
        let guard = Guard::Needs(Permission::Resource(domain.resource(), Access::Operate));
        let resync = endpoint.clone().map(|endpoint| {
            let domain = Arc::clone(domain);
            move |caller: Verified, incoming: Incoming, query: Parameters, request: Request| {
                let (endpoint, domain) = (endpoint.clone(), Arc::clone(&domain));
                async move { endpoint.ask(domain.as_ref(), caller.0, &incoming, query, request).await }
            }
        });
        routes = routes.add(&Method::POST, &format!("{BASE}/{}/resync", domain.resource()), guard, resync);
    }
    let resync = endpoint.clone().map(|endpoint| {
        move |caller: Verified, id: EntityPath, incoming: Incoming, query: Parameters| {
            let endpoint = endpoint.clone();
            async move { endpoint.resync(&caller.0, &id.0, &incoming, query).await }
        }
    });
    let list = endpoint.clone().map(|endpoint| {
        move |caller: Verified, incoming: Incoming, uri: http::Uri, query: Parameters| {
            let endpoint = endpoint.clone();
            async move { endpoint.quarantine(caller.0, &incoming, &uri, query).await }
        }
    });
    let redrive = endpoint.map(|endpoint| {
        move |caller: Verified, incoming: Incoming, query: Parameters, request: Request| {
            let endpoint = endpoint.clone();
            async move { endpoint.redrive(&caller.0, &incoming, query, request).await }
        }
    });
    let needs = |resource| Guard::Needs(Permission::Resource(resource, Access::Operate));
    routes
        .add(&Method::GET, &format!("{BASE}/resyncs/{{id}}"), needs("resyncs"), resync)
        .add(&Method::GET, &format!("{BASE}/quarantine"), needs("quarantine"), list)
        .add(&Method::POST, &format!("{BASE}/quarantine/redrive"), needs("quarantine"), redrive)
}

impl Endpoint {
    async fn ask(
        &self,
        domain: &dyn DynDomain,
        caller: Caller,
        incoming: &Incoming,
        query: Parameters,
        request: Request,
    ) -> Result<Response, ApiError> {
        query.finish()?;
        let text = body::read(request, Accepts::Json, body::LIMIT_BYTES).await?;
        let sk: Option<SortKey> = only_field(&text, "sk")?;
        let target = ResyncTarget { tenant: caller.tenant, resource: domain.resource().to_owned(), sk };
        let resync = self.admin.maintenance.ask(target, &caller.user).await.map_err(QueryError::Store)?;
        let view = ResyncView::of(&resync);
        let mut response = success(StatusCode::ACCEPTED, incoming, &view, Extra::default(), None)?;
        if let Ok(location) = HeaderValue::from_str(&format!("{BASE}/resyncs/{}", resync.id)) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }

    async fn resync(
        &self,
        caller: &Caller,
        id: &SortKey,
        incoming: &Incoming,
        query: Parameters,
    ) -> Result<Response, ApiError> {
        query.finish()?;
        let resync = self.admin.maintenance.resync(&caller.tenant, id.as_str()).await.map_err(QueryError::Store)?;
        let resync = resync.ok_or(RequestError::ImpossibleKey)?;
        success(StatusCode::OK, incoming, &ResyncView::of(&resync), Extra::default(), None)
    }

    async fn quarantine(
        &self,
        caller: Caller,
        incoming: &Incoming,
        uri: &http::Uri,
        mut query: Parameters,
    ) -> Result<Response, ApiError> {
        let (limit, cursor) = (query.limit(), query.text("cursor"));
        query.finish()?;
        let tenant = caller.tenant.clone();
        let scope = ["quarantine", tenant.as_str()];
        let after = cursor.map(|cursor| self.cursor_key.open(&scope, &cursor)).transpose()?;
        let asked = QuarantineQuery { tenant: Some(caller.tenant), entity: None, after, limit: limit + 1 };
        let mut held = self.admin.redrive.list(&asked).await.map_err(QueryError::Store)?;
        let has_more = held.len() > limit;
        held.truncate(limit);
        let views: Vec<_> = held.iter().map(QuarantinedView::of).collect();
        let last = held.last().filter(|_| has_more).map(|last| (&last.projection, &last.record));
        let next = last.map(|last| self.cursor_key.seal(&scope, &last));
        let extra = Extra { count: Some(views.len()), ..Extra::default() };
        success(StatusCode::OK, incoming, &views, extra, Some(links(uri, next.as_deref())))
    }

    async fn redrive(
        &self,
        caller: &Caller,
        incoming: &Incoming,
        query: Parameters,
        request: Request,
    ) -> Result<Response, ApiError> {
        query.finish()?;
        let text = body::read(request, Accepts::Json, body::LIMIT_BYTES).await?;
        let id: Option<String> = only_field(&text, "id")?;
        let key: Option<EntityKey> = match id.map(|id| id.parse::<EntityKey>()) {
            // What is no key of this tenant's is in nobody's quarantine.
            Some(key) => {
                Some(key.ok().filter(|key| key.partition.tenant == caller.tenant).ok_or(RequestError::ImpossibleKey)?)
            }
            None => None,
        };
        let redriven = self.admin.redrive.redrive(Some(&caller.tenant), key.as_ref()).await;
        let Redriven { healed, refused, unknown } = redriven.map_err(QueryError::Store)?;
        let view = RedrivenView { healed, refused, unknown };
        success(StatusCode::OK, incoming, &view, Extra::default(), None)
    }
}

/// Reads a body that has one field, or none.
fn only_field<T: ledgerline_kernel::input::FromJson>(text: &str, name: &str) -> Result<Option<T>, ApiError> {
    let text = if text.is_empty() { "{}" } else { text };
    let mut fields = Fields::of_body(text).map_err(CommandError::Input)?;
    let value = fields.optional(name);
    let problems = fields.finish();
    if problems.is_empty() { Ok(value) } else { Err(CommandError::Input(InputError::Invalid(problems)).into()) }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResyncView<'a> {
    id: &'a str,
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sk: Option<&'a SortKey>,
    state: ResyncState,
    asked_by: &'a str,
    asked_at: Timestamp,
    /// Null until something was done.
    report: &'a Value,
}

impl<'a> ResyncView<'a> {
    fn of(resync: &'a Resync) -> Self {
        let Resync { id, resource, sk, asked_by, asked_at, state, report, .. } = resync;
        Self { id, resource, sk: sk.as_ref(), state: *state, asked_by, asked_at: *asked_at, report }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QuarantinedView<'a> {
    projection: &'a str,
    id: Option<&'a EntityKey>,
    version: Option<Version>,
    error: &'a str,
    attempts: u32,
    since: Timestamp,
}

impl<'a> QuarantinedView<'a> {
    fn of(held: &'a Quarantined) -> Self {
        let (id, version) = held.version.as_ref().map(|(key, version)| (key, *version)).unzip();
        let Quarantined { projection, error, attempts, since, .. } = held;
        Self { projection, id, version, error, attempts: *attempts, since: *since }
    }
}

#[derive(Serialize)]
struct RedrivenView {
    healed: usize,
    refused: usize,
    unknown: usize,
}
