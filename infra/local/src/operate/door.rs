//! The host's side: a route for each operation, for whoever can read the data directory.

use std::convert::Infallible;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Response, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse as _;
use axum::routing::post;
use axum::{Json, Router};
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{KEY_FILE, Operation, Progress, Site, Step};
use crate::data_dir::DataDir;
use crate::failure::Failure;

/// Where a host's operations are.
pub(super) const BASE: &str = "/_ledgerline/operations";

/// Steps that wait to be sent; more are left out.
const STEPS: usize = 16;

/// One line of an answer, as JSON. The last one is a report or an error.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Line<R> {
    Step(Step),
    Report(R),
    Error(Failure),
}

/// The routes of all operations. A web page cannot reach them, nor can another user of the machine:
/// neither has the key that is kept in the data directory.
///
/// # Errors
/// If the key cannot be kept there.
pub(crate) fn router(site: Site, dir: &DataDir) -> anyhow::Result<Router> {
    let key = format!("Bearer {}", dir.lasting(KEY_FILE)?);
    Ok(guarded(operations(Router::new()).with_state(site), key))
}

/// Every operation there is: one line each.
fn operations(router: Router<Site>) -> Router<Site> {
    let router = add::<crate::rebuild::Rebuild>(router);
    let router = add::<crate::reconcile::Reconcile>(router);
    let router = add::<crate::reconcile::Resync>(router);
    let router = add::<crate::quarantine::List>(router);
    let router = add::<crate::quarantine::Redrive>(router);
    let router = add::<crate::dead_letters::List>(router);
    let router = add::<crate::dead_letters::Redrive>(router);
    add::<crate::diagnose::Diagnose>(router)
}

pub(super) fn guarded(router: Router, key: String) -> Router {
    router.layer(from_fn_with_state(key, check))
}

/// These routes for whoever has the key in the data directory, as the operations are.
///
/// # Errors
/// If the key cannot be kept there.
pub(crate) fn for_operators(router: Router, dir: &DataDir) -> anyhow::Result<Router> {
    Ok(guarded(router, format!("Bearer {}", dir.lasting(KEY_FILE)?)))
}

/// Adds the route of an operation.
pub(super) fn add<O: Operation>(router: Router<Site>) -> Router<Site> {
    router.route(&format!("{BASE}/{}", O::NAME), post(answer::<O>))
}

async fn check(State(key): State<String>, request: Request, next: Next) -> Response<Body> {
    let given = request.headers().get(AUTHORIZATION).map_or(&[][..], |given| given.as_bytes());
    match verify_slices_are_equal(given, key.as_bytes()) {
        Ok(()) => next.run(request).await,
        Err(_) => (StatusCode::UNAUTHORIZED, "this takes the key in the data directory").into_response(),
    }
}

/// Runs an operation for as long as somebody reads the answer.
async fn answer<O: Operation>(State(site): State<Site>, Json(operation): Json<O>) -> Response<Body> {
    let (lines, received) = mpsc::channel::<String>(STEPS);
    // Ended when it is dropped, with the body.
    let mut running = JoinSet::new();
    running.spawn(async move {
        let steps = lines.clone();
        let progress = Progress::new(move |step| drop(steps.try_send(line(&Line::<()>::Step(step)))));
        let done = async {
            let _turn = operation.alone().map(|what| site.under_way.begin(what)).transpose()?;
            operation.run(&site, &progress).await
        };
        let last = match done.await {
            Ok(report) => Line::Report(report),
            Err(error) => Line::Error(Failure::of(&error)),
        };
        drop(lines.send(line(&last)).await);
    });
    let body = stream::unfold((received, running), async |(mut received, running)| {
        let line = received.recv().await?;
        Some((Ok::<_, Infallible>(line), (received, running)))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response()
}

fn line<R: Serialize>(line: &Line<R>) -> String {
    let cannot = |error| Failure::new(Failure::FAILED, format!("the report cannot be sent: {error}"));
    let text = serde_json::to_string(line).or_else(|error| serde_json::to_string(&Line::<()>::Error(cannot(error))));
    text.unwrap_or_default() + "\n"
}
