//! The routes that list the sums of a domain's delta projections.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, Uri};
use ledgerline_app::{Caller, QueryError};
use ledgerline_kernel::ports::{SummaryRead, SummaryRow};
use ledgerline_kernel::{DynDomain, SummarySpec};
use serde_json::{Map, Value};

use crate::auth::Verified;
use crate::cursor::CursorKey;
use crate::min_version::X_MIN_VERSION;
use crate::parameters::Parameters;
use crate::permission::{Access, Guard, Permission};
use crate::problem::ApiError;
use crate::queries::links;
use crate::respond::{Extra, Incoming, success};
use crate::routes::{Routes, base_path};

/// One summary of one domain.
#[derive(Clone)]
struct Endpoint {
    summaries: Arc<dyn SummaryRead>,
    spec: SummarySpec,
    resource: &'static str,
    cursor_key: CursorKey,
}

/// Adds a route for each summary of `domain`; without a reader, declares them.
pub(crate) fn mount(
    routes: Routes,
    summaries: Option<&Arc<dyn SummaryRead>>,
    cursor_key: &CursorKey,
    domain: &Arc<dyn DynDomain>,
) -> Routes {
    let resource = domain.resource();
    let guard = Guard::Needs(Permission::Resource(resource, Access::Read));
    domain.deltas().into_iter().filter_map(|delta| delta.summary()).fold(routes, |routes, spec| {
        let path = format!("{}/summaries/{}", base_path(domain.as_ref()), spec.name);
        let endpoint = summaries.map(|summaries| Endpoint {
            summaries: Arc::clone(summaries),
            spec,
            resource,
            cursor_key: cursor_key.clone(),
        });
        let list = endpoint.map(|endpoint| {
            move |caller: Verified, incoming: Incoming, uri: Uri, query: Parameters, request: Request| {
                let endpoint = endpoint.clone();
                async move { endpoint.list(caller.0, &incoming, &uri, query, request.headers()).await }
            }
        });
        routes.add(&Method::GET, &path, guard, list)
    })
}

impl Endpoint {
    async fn list(
        &self,
        caller: Caller,
        incoming: &Incoming,
        uri: &Uri,
        mut query: Parameters,
        headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        let (limit, cursor) = (query.limit(), query.text("cursor"));
        if headers.contains_key(X_MIN_VERSION) {
            // A sum does not say which versions are in it, so this could not be kept.
            query.report(X_MIN_VERSION, "is for lists and for reads by key");
        }
        query.finish()?;
        let scope = ["summary", self.resource, self.spec.name, caller.tenant.as_str()];
        let after: Option<Vec<String>> = cursor.map(|cursor| self.cursor_key.open(&scope, &cursor)).transpose()?;
        let rows = self.summaries.summary(&self.spec, &caller.tenant, after.as_deref(), limit + 1);
        let mut rows = rows.await.map_err(QueryError::from)?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(|row| self.cursor_key.seal(&scope, &row.key));
        let views: Vec<Value> = rows.into_iter().map(|row| view(&self.spec, row)).collect();
        let extra = Extra { count: Some(views.len()), ..Extra::default() };
        success(StatusCode::OK, incoming, &views, extra, Some(links(uri, next.as_deref())))
    }
}

/// A row as JSON: counts are numbers, amounts texts, the least and the greatest of what there is none
/// of null.
fn view(spec: &SummarySpec, row: SummaryRow) -> Value {
    let mut view = Map::new();
    for (column, value) in spec.table.key.iter().zip(row.key) {
        view.insert(camel_case(column.name), Value::String(value));
    }
    for (name, value) in spec.table.sums.iter().zip(row.sums) {
        let count = value.parse::<u64>().ok().filter(|_| spec.counts.contains(name));
        view.insert(camel_case(name), count.map_or(Value::String(value), Value::from));
    }
    if let Some(column) = spec.histogram.and_then(|histogram| histogram.key.last()) {
        let (least, greatest) = row.extremes.unzip();
        view.insert(format!("{}Min", camel_case(column.name)), least.into());
        view.insert(format!("{}Max", camel_case(column.name)), greatest.into());
    }
    Value::Object(view)
}

/// A column's name as a field's: `price_sum` is `priceSum`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
