//! The routes that read, thin over [`Queries`].

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::IF_NONE_MATCH;
use http::{HeaderMap, Method, StatusCode, Uri};
use ledgerline_app::{Caller, KeyListRequest, ListRequest, MinVersions, Queries};
use ledgerline_kernel::ports::KeyRange;
use ledgerline_kernel::{DynDomain, Entity, SortKey, TenantCode, Timestamp, Version};

use crate::auth::Verified;
use crate::cursor::CursorKey;
use crate::min_version::{X_MIN_VERSION, min_versions};
use crate::parameters::{EntityPath, Parameters, percent_encoded};
use crate::permission::{Access, Guard, Permission};
use crate::problem::{ApiError, RequestError};
use crate::respond::{EntityView, Extra, Incoming, Links, entity_tag, set_entity_tag, success};
use crate::routes::{Routes, base_path, bulk_path};

const A_VERSION: &str = "must be a version, a whole number from 1";
const A_TIME: &str = "must be a time like 2026-11-20T12:00:00Z (RFC 3339), a + in it written %2B";
const A_KEY: &str = "must be what can be a key, 1 to 128 characters in NFC without NUL";

/// A page of a list, wherever it came from.
struct Page {
    entities: Vec<Entity>,
    next: Option<String>,
    total: Option<u64>,
    unreadable: u64,
}

/// One domain's reads.
#[derive(Clone)]
struct Endpoint {
    queries: Queries,
    domain: Arc<dyn DynDomain>,
    cursor_key: CursorKey,
}

/// Adds the routes that read entities of `domain`; without queries, declares them.
pub(crate) fn mount(
    routes: Routes,
    queries: Option<&Queries>,
    cursor_key: &CursorKey,
    domain: &Arc<dyn DynDomain>,
) -> Routes {
    let base = base_path(domain.as_ref());
    let guard = Guard::Needs(Permission::Resource(domain.resource(), Access::Read));
    let endpoint = queries.map(|queries| Endpoint {
        queries: queries.clone(),
        domain: Arc::clone(domain),
        cursor_key: cursor_key.clone(),
    });
    let list = endpoint.clone().map(|endpoint| {
        move |caller: Verified, incoming: Incoming, uri: Uri, query: Parameters, request: Request| {
            let endpoint = endpoint.clone();
            async move { endpoint.list(caller.0, &incoming, &uri, query, request.headers()).await }
        }
    });
    let history = endpoint.clone().map(|endpoint| {
        move |caller: Verified, sk: EntityPath, incoming: Incoming, uri: Uri, query: Parameters, request: Request| {
            let endpoint = endpoint.clone();
            async move { endpoint.history(caller.0, sk.0, &incoming, &uri, query, request.headers()).await }
        }
    });
    let get = endpoint.map(|endpoint| {
        move |caller: Verified, sk: EntityPath, incoming: Incoming, query: Parameters, request: Request| {
            let endpoint = endpoint.clone();
            async move { endpoint.get(caller.0, sk.0, &incoming, query, request.headers()).await }
        }
    });
    routes
        .add(&Method::GET, &base, guard, list)
        .add(&Method::GET, &format!("{base}/{{sk}}"), guard, get.clone())
        .add(&Method::GET, &bulk_path(domain.as_ref()), guard, get)
        .add(&Method::GET, &format!("{base}/{{sk}}/history"), guard, history)
}

impl Endpoint {
    async fn get(
        &self,
        caller: Caller,
        sk: SortKey,
        incoming: &Incoming,
        mut query: Parameters,
        headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        let consistency = query.text("consistency");
        let version: Option<Version> = query.value("version", A_VERSION);
        let min_version: Option<Version> = query.value("minVersion", A_VERSION);
        let as_of: Option<Timestamp> = query.value("asOf", A_TIME);
        let least = query.checked(min_versions(headers)).unwrap_or_default().of(&sk);
        if !matches!(consistency.as_deref(), None | Some("eventual" | "strong")) {
            query.report("consistency", "must be strong or eventual");
        }
        let is_of_now = consistency.is_some() || min_version.is_some();
        if version.is_some() && is_of_now {
            query.report("version", "is a version of its own: leave out consistency and minVersion");
        }
        if as_of.is_some() && (is_of_now || version.is_some()) {
            query.report("asOf", "says which version it is: leave out version, consistency and minVersion");
        }
        if least.is_some() && (version.is_some() || as_of.is_some()) {
            query.report(X_MIN_VERSION, "must not name what is read as it was: leave out version and asOf");
        }
        query.finish()?;
        let (domain, min_version) = (self.domain.as_ref(), min_version.max(least));
        let strong = consistency.as_deref() == Some("strong");
        let entity = match (version, as_of) {
            (_, Some(moment)) => self.queries.as_of(domain, caller.tenant, sk, moment).await?,
            (Some(version), None) => self.queries.at_version(domain, caller.tenant, sk, version).await?,
            (None, None) => self.queries.get(domain, caller.tenant, sk, strong, min_version).await?,
        };
        if min_version.is_some_and(|min| entity.version < min) {
            return Err(RequestError::NotYetVisible.into());
        }
        let mut response = if is_known(headers, entity.version) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            success(StatusCode::OK, incoming, &EntityView::of(&entity), Extra::default(), None)?
        };
        set_entity_tag(&mut response, entity.version);
        Ok(response)
    }

    async fn list(
        &self,
        caller: Caller,
        incoming: &Incoming,
        uri: &Uri,
        mut query: Parameters,
        headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        let least = query.checked(min_versions(headers)).unwrap_or_default();
        let store = query.text("store");
        if !matches!(store.as_deref(), None | Some("data")) {
            query.report("store", "must be data, or left out");
        }
        let page = match store.as_deref() {
            Some("data") => self.page_by_key(caller.tenant, query, &least).await?,
            _ => self.page(caller.tenant, query, &least).await?,
        };
        let views: Vec<_> = page.entities.iter().map(EntityView::of).collect();
        let unreadable_count = Some(page.unreadable).filter(|count| *count > 0);
        let (count, total_count) = (Some(views.len()), page.total);
        let extra = Extra { count, total_count, unreadable_count, ..Extra::default() };
        success(StatusCode::OK, incoming, &views, extra, Some(links(uri, page.next.as_deref())))
    }

    async fn page(&self, tenant: TenantCode, mut query: Parameters, least: &MinVersions) -> Result<Page, ApiError> {
        let (limit, cursor) = (query.limit(), query.text("cursor"));
        let (q, sort) = (query.text("q"), query.text("sort").unwrap_or_default());
        let (include_deleted, with_total) = (query.flag("includeDeleted"), query.flag("total"));
        let mut filters = query.rest();
        filters.sort_unstable();
        // What is counted besides is the same on every page: `total` may differ, as `limit` may.
        let selection = serde_json::to_string(&(&filters, &q, &sort, include_deleted)).unwrap_or_default();
        let mut request = ListRequest { filters, q, sort, after: None, limit, include_deleted, with_total };
        for problem in request.problems(self.domain.as_ref()) {
            query.report(problem.name, problem.message);
        }
        query.finish()?;
        let owner = tenant.clone();
        let scope = ["list", self.domain.resource(), owner.as_str(), &selection];
        request.after = cursor.map(|cursor| self.cursor_key.open(&scope, &cursor)).transpose()?;
        let page = self.queries.list(self.domain.as_ref(), tenant, request, least).await?;
        let next = page.next.map(|position| self.cursor_key.seal(&scope, &position));
        Ok(Page { entities: page.entities, next, total: page.total, unreadable: 0 })
    }

    /// A list that the data table has: it knows no order but that of keys.
    async fn page_by_key(
        &self,
        tenant: TenantCode,
        mut query: Parameters,
        least: &MinVersions,
    ) -> Result<Page, ApiError> {
        let (limit, cursor) = (query.limit(), query.text("cursor"));
        let include_deleted = query.flag("includeDeleted");
        let prefix: Option<SortKey> = query.value("sk.prefix", A_KEY);
        let (from, end): (Option<SortKey>, Option<SortKey>) =
            (query.value("sk.gte", A_KEY), query.value("sk.lt", A_KEY));
        if prefix.is_some() && (from.is_some() || end.is_some()) {
            query.report("sk.prefix", "goes without sk.gte and sk.lt");
        }
        query.refuse_rest("is not a parameter of a list with store=data");
        query.finish()?;
        let selection = serde_json::to_string(&(&prefix, &from, &end, include_deleted)).unwrap_or_default();
        let keys = match prefix {
            Some(prefix) => KeyRange::Prefix(prefix),
            None => KeyRange::Between(from, end),
        };
        let owner = tenant.clone();
        let scope = ["data", self.domain.resource(), owner.as_str(), &selection];
        let after: Option<String> = cursor.map(|cursor| self.cursor_key.open(&scope, &cursor)).transpose()?;
        let request = KeyListRequest { keys, after, limit, include_deleted };
        let page = self.queries.list_by_key(self.domain.as_ref(), tenant, request, least).await?;
        let next = page.next.map(|sk| self.cursor_key.seal(&scope, &sk));
        Ok(Page { entities: page.entities, next, total: None, unreadable: page.unreadable })
    }

    async fn history(
        &self,
        caller: Caller,
        sk: SortKey,
        incoming: &Incoming,
        uri: &Uri,
        mut query: Parameters,
        headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        let domain = self.domain.as_ref();
        let (limit, cursor) = (query.limit(), query.text("cursor"));
        let least = query.checked(min_versions(headers)).unwrap_or_default().of(&sk);
        query.finish()?;
        let (tenant, key) = (caller.tenant.clone(), sk.clone());
        let scope = ["history", domain.resource(), tenant.as_str(), key.as_str()];
        let before: Option<Version> = cursor.map(|cursor| self.cursor_key.open(&scope, &cursor)).transpose()?;
        let (items, next) = self.queries.history(domain, caller.tenant, sk, before, limit).await?;
        if before.is_none() && items.first().map(|item| item.version) < least {
            return Err(RequestError::NotYetVisible.into());
        }
        let entities: Vec<_> = items.iter().map(Entity::from).collect();
        let views: Vec<_> = entities
            .iter()
            .zip(&items)
            .map(|(entity, item)| EntityView::of(entity).with_events(&item.events))
            .collect();
        let next = next.map(|version| self.cursor_key.seal(&scope, &version));
        let extra = Extra { count: Some(views.len()), ..Extra::default() };
        success(StatusCode::OK, incoming, &views, extra, Some(links(uri, next.as_deref())))
    }
}

/// Whether the caller has that version already (`If-None-Match`, weak comparison).
fn is_known(headers: &HeaderMap, version: Version) -> bool {
    let tag = entity_tag(version);
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The page's own address and, with the next cursor in it, that of the page after.
pub(crate) fn links(uri: &Uri, next: Option<&str>) -> Links {
    let this = uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string);
    let Some(cursor) = next else { return Links { this, next: None } };
    let mut link = format!("{}?", uri.path());
    for (name, value) in Parameters::parse(uri.query().unwrap_or_default()).rest() {
        if name != "cursor" {
            link.push_str(&format!("{}={}&", percent_encoded(&name), percent_encoded(&value)));
        }
    }
    link.push_str(&format!("cursor={cursor}"));
    Links { this, next: Some(link) }
}
