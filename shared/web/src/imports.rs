//! The routes of imports, thin over [`Imports`].

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, LINK, LOCATION};
use http::{Method, StatusCode, Uri};
use ledgerline_app::{Caller, CommandError, ErrorPlace, ImportError, ImportRequest, ImportStatus, Imports, NewImport};
use ledgerline_kernel::{
    ImportCounts, ImportFailure, ImportFormat, ImportId, ImportJob, ImportKey, ImportMode, ImportState, Timestamp,
};
use serde::Serialize;
use serde_json::Value;

use crate::auth::Verified;
use crate::body::{self, Accepts};
use crate::commands::IDEMPOTENT_REPLAYED;
use crate::cursor::CursorKey;
use crate::parameters::{EntityPath, Parameters};
use crate::permission::{Access, Guard, Permission};
use crate::problem::{ApiError, RequestError};
use crate::queries::links;
use crate::respond::{Extra, Incoming, success};
use crate::routes::Routes;

const BASE: &str = "/api/v1/imports";

/// The routes' state.
#[derive(Clone)]
struct Endpoint {
    imports: Imports,
    cursor_key: CursorKey,
}

/// Adds the routes of imports; without `imports`, declares them.
pub(crate) fn mount(routes: Routes, imports: Option<&Imports>, cursor_key: &CursorKey) -> Routes {
    let endpoint = imports.map(|imports| Endpoint { imports: imports.clone(), cursor_key: cursor_key.clone() });
    let (read, write) = (needs(Access::Read), needs(Access::Write));
    let ask = endpoint.clone().map(|endpoint| {
        move |caller: Verified, incoming: Incoming, query: Parameters, request: Request| {
            let endpoint = endpoint.clone();
            async move { endpoint.ask(&caller.0, &incoming, query, request).await }
        }
    });
    let list = endpoint.clone().map(|endpoint| {
        move |caller: Verified, incoming: Incoming, uri: Uri, query: Parameters| {
            let endpoint = endpoint.clone();
            async move { endpoint.list(&caller.0, &incoming, &uri, query).await }
        }
    });
    let errors = endpoint.clone().map(|endpoint| {
        move |caller: Verified, id: EntityPath, uri: Uri, query: Parameters| {
            let endpoint = endpoint.clone();
            async move { endpoint.errors(&key(&caller.0, &id)?, &uri, query).await }
        }
    });
    let on_one = |action: Act| {
        endpoint.clone().map(|endpoint| {
            move |caller: Verified, id: EntityPath, incoming: Incoming, query: Parameters| {
                let endpoint = endpoint.clone();
                async move { endpoint.act(action, &key(&caller.0, &id)?, &incoming, query).await }
            }
        })
    };
    let one = format!("{BASE}/{{id}}");
    routes
        .add(&Method::POST, BASE, write, ask)
        .add(&Method::GET, BASE, read, list)
        .add(&Method::GET, &one, read, on_one(Act::Show))
        .add(&Method::GET, &format!("{one}/errors"), read, errors)
        .add(&Method::POST, &format!("{one}/cancel"), write, on_one(Act::Cancel))
        .add(&Method::POST, &format!("{one}/resume"), write, on_one(Act::Resume))
}

fn needs(access: Access) -> Guard {
    Guard::Needs(Permission::Resource("imports", access))
}

/// What is no id is the id of no import.
fn key(caller: &Caller, id: &EntityPath) -> Result<ImportKey, ApiError> {
    let id: ImportId = id.0.as_str().parse().map_err(|_| RequestError::ImpossibleKey)?;
    Ok(ImportKey { tenant: caller.tenant.clone(), id })
}

/// What is done with one import.
#[derive(Debug, Clone, Copy)]
enum Act {
    Show,
    Cancel,
    Resume,
}

impl Endpoint {
    async fn ask(
        &self,
        caller: &Caller,
        incoming: &Incoming,
        mut query: Parameters,
        request: Request,
    ) -> Result<Response, ApiError> {
        let idempotency_key = query.checked(body::idempotency_key(request.headers())).flatten();
        query.finish()?;
        let text = body::read(request, Accepts::Json, body::LIMIT_BYTES).await?;
        let request = ImportRequest::read(&text).map_err(CommandError::Input)?;
        let NewImport { job, upload, replayed } = match idempotency_key {
            Some(key) => self.imports.ask_once(caller, request, &key, &text).await?,
            None => self.imports.ask(caller, request).await?,
        };
        let mut view = ImportView::of_job(&job);
        view.counts = view.counts.or_else(|| Some(CountsView::of(ImportCounts::default())));
        view.upload = upload.map(|(url, expires_at)| UploadView { method: "PUT", url, expires_at });
        let mut response = success(StatusCode::ACCEPTED, incoming, &view, Extra::default(), None)?;
        if let Ok(location) = HeaderValue::from_str(&format!("{BASE}/{}", job.key.id)) {
            response.headers_mut().insert(LOCATION, location);
        }
        if replayed {
            response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(response)
    }

    async fn list(
        &self,
        caller: &Caller,
        incoming: &Incoming,
        uri: &Uri,
        mut query: Parameters,
    ) -> Result<Response, ApiError> {
        let (limit, cursor) = (query.limit(), query.text("cursor"));
        query.finish()?;
        let scope = ["imports", caller.tenant.as_str()];
        let before: Option<ImportId> = cursor.map(|cursor| self.cursor_key.open(&scope, &cursor)).transpose()?;
        let mut jobs =
            self.imports.list(&caller.tenant, before.as_ref(), limit + 1).await.map_err(ImportError::Store)?;
        let has_more = jobs.len() > limit;
        jobs.truncate(limit);
        let views: Vec<_> = jobs.iter().map(ImportView::of_job).collect();
        let next = jobs.last().filter(|_| has_more).map(|last| self.cursor_key.seal(&scope, &last.key.id));
        let extra = Extra { count: Some(views.len()), ..Extra::default() };
        success(StatusCode::OK, incoming, &views, extra, Some(links(uri, next.as_deref())))
    }

    async fn act(
        &self,
        action: Act,
        key: &ImportKey,
        incoming: &Incoming,
        query: Parameters,
    ) -> Result<Response, ApiError> {
        query.finish()?;
        let status = match action {
            Act::Show => StatusCode::OK,
            Act::Cancel => self.imports.cancel(key).await.map(|_| StatusCode::OK)?,
            Act::Resume => self.imports.resume(key).await.map(|_| StatusCode::ACCEPTED)?,
        };
        let now = self.imports.get(key).await?;
        success(status, incoming, &ImportView::of(&now), Extra::default(), None)
    }

    /// A page of a table, with a link to the next one (RFC 8288). Pages of the same file name put together are the
    /// file. An import has several where the files of its archive have other columns than those before them:
    /// each begins with the page that has a header, as `header` of the content type says (RFC 4180).
    async fn errors(&self, key: &ImportKey, uri: &Uri, mut query: Parameters) -> Result<Response, ApiError> {
        let cursor = query.text("cursor");
        query.finish()?;
        let scope = ["import errors", key.tenant.as_str(), key.id.as_str()];
        let from: Option<ErrorPlace> = cursor.map(|cursor| self.cursor_key.open(&scope, &cursor)).transpose()?;
        let page = self.imports.error_page(key, from).await?;
        let mut response = Response::new(Body::from(page.csv));
        let headers = response.headers_mut();
        let content_type = match page.has_header {
            true => "text/csv; charset=utf-8; header=present",
            false => "text/csv; charset=utf-8; header=absent",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let table = if page.table > 1 { format!("-{}", page.table) } else { String::new() };
        if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{}.errors{table}.csv\"", key.id)) {
            headers.insert(CONTENT_DISPOSITION, name);
        }
        let next = page.next.map(|next| self.cursor_key.seal(&scope, &next));
        let link = next.and_then(|next| links(uri, Some(&next)).next).map(|next| format!("<{next}>; rel=\"next\""));
        if let Some(Ok(link)) = link.map(|link| HeaderValue::from_str(&link)) {
            headers.insert(LINK, link);
        }
        Ok(response)
    }
}

/// An import, as callers see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportView<'a> {
    id: &'a ImportId,
    resource: &'a str,
    format: ImportFormat,
    mode: ImportMode,
    #[serde(skip_serializing_if = "Value::is_null")]
    mapping: &'a Value,
    state: ImportState,
    created_at: Timestamp,
    created_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    updated_at: Timestamp,
    expires_at: Timestamp,
    /// Not in a list while it is under way: the sum of all outcomes is taken for one at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<CountsView>,
    progress: ProgressView,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a ImportFailure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<UploadView>,
}

#[derive(Serialize)]
struct CountsView {
    total: u64,
    #[serde(flatten)]
    counts: ImportCounts,
}

/// How much of the file is read, and how much of that is done.
#[derive(Serialize)]
struct ProgressView {
    rows: u64,
    chunks: u32,
    whole: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UploadView {
    method: &'static str,
    url: String,
    expires_at: Timestamp,
}

impl<'a> ImportView<'a> {
    fn of_job(job: &'a ImportJob) -> Self {
        Self {
            id: &job.key.id,
            resource: &job.resource,
            format: job.format,
            mode: job.mode,
            mapping: &job.mapping,
            state: job.state,
            created_at: job.created.at,
            created_by: &job.created.by,
            started_at: job.started_at,
            updated_at: job.updated_at,
            expires_at: job.expires_at,
            counts: job.counts.map(CountsView::of),
            progress: ProgressView {
                rows: job.split.rows,
                chunks: job.split.chunks,
                whole: job.split.whole,
                done: None,
            },
            rows_per_second: None,
            failure: job.failure.as_ref(),
            upload: None,
        }
    }

    fn of(status: &'a ImportStatus) -> Self {
        let view = Self::of_job(&status.job);
        let progress = ProgressView { done: status.progress, ..view.progress };
        let counts = Some(CountsView::of(status.counts));
        Self { counts, progress, rows_per_second: status.rows_per_second, ..view }
    }
}

impl CountsView {
    fn of(counts: ImportCounts) -> Self {
        Self { total: counts.total(), counts }
    }
}
