use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What can go wrong with a request to DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is carried out, and the connection closes before the answer.
    DropResponse,
    /// It is carried out, and the answer is 500 `InternalServerError`.
    ServerError,
    /// It is refused for its rate, 400 `ProvisionedThroughputExceededException`, and not carried out.
    Throttle,
    /// Somebody else's transaction is at one of its items, and it is not carried out:
    /// `TransactionCanceledException` with the reason `TransactionConflict` for its first item, or
    /// `TransactionConflictException` where it is no transaction.
    Conflict,
    /// It is carried out later, and answered.
    Delay(Duration),
}

/// A proxy in front of a DynamoDB that does what an emulator does not: fail. It also counts.
///
/// Operations go by their names in `X-Amz-Target`, such as `PutItem`. Without a fault every request
/// is passed on unchanged. Dropping it closes its connections.
pub struct FaultyDynamo {
    endpoint: String,
    plan: Arc<Mutex<Plan>>,
    server: JoinHandle<()>,
}

impl FaultyDynamo {
    /// Serves on a loopback port of its own, before the DynamoDB at `backend`
    /// (`http://127.0.0.1:PORT`). Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// If `backend` is no such address, or no loopback port is free.
    pub async fn start(backend: &str) -> anyhow::Result<Self> {
        let authority = backend.parse::<Uri>()?.authority().cloned().context("the backend's address has no host")?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for the proxy")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let plan = Arc::new(Mutex::new(Plan::default()));
        let proxy = Proxy {
            backend: authority.to_string(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            plan: plan.clone(),
        };
        Ok(Self { endpoint, plan, server: tokio::spawn(accept(listener, proxy)) })
    }

    /// The address of the proxy, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The next request of this operation meets this fault; several queue up, one for each request.
    pub fn fail_next(&self, operation: &str, fault: Fault) {
        lock(&self.plan).next.entry(operation.to_owned()).or_default().push_back(fault);
    }

    /// From now on so large a `share` (0 to 1) of the requests of this operation meets this fault.
    /// Which ones, by their number in order of arrival, follows from `seed`. Of several such rules
    /// the first that strikes counts, and what [`fail_next`](Self::fail_next) asks for goes before.
    pub fn fail_at_random(&self, seed: u64, operation: &str, fault: Fault, share: f64) {
        let random = fastrand::Rng::with_seed(seed);
        lock(&self.plan).rules.push(Rule { operation: operation.to_owned(), fault, share, random });
    }

    /// How many requests of each operation came in.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        lock(&self.plan).calls.clone()
    }

    /// How many requests met each fault.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<Fault, u64> {
        lock(&self.plan).faults.clone()
    }

    /// Forgets all counts and all faults to come.
    pub fn reset(&self) {
        *lock(&self.plan) = Plan::default();
    }
}

impl Drop for FaultyDynamo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Default)]
struct Plan {
    next: BTreeMap<String, VecDeque<Fault>>,
    rules: Vec<Rule>,
    calls: BTreeMap<String, u64>,
    faults: BTreeMap<Fault, u64>,
}

struct Rule {
    operation: String,
    fault: Fault,
    share: f64,
    random: fastrand::Rng,
}

impl Plan {
    /// Counts a request, and says what it meets.
    fn meet(&mut self, operation: &str) -> Option<Fault> {
        *self.calls.entry(operation.to_owned()).or_default() += 1;
        let asked_for = self.next.get_mut(operation).and_then(VecDeque::pop_front);
        let mut rules = self.rules.iter_mut().filter(|rule| rule.operation == operation);
        let fault =
            asked_for.or_else(|| rules.find_map(|rule| (rule.random.f64() < rule.share).then_some(rule.fault)))?;
        *self.faults.entry(fault).or_default() += 1;
        Some(fault)
    }
}

/// A test that panicked while it held the lock fails by itself; others need not follow.
fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Proxy {
    backend: String,
    client: Client<HttpConnector, Full<Bytes>>,
    plan: Arc<Mutex<Plan>>,
}

/// The answer that never comes: the connection is closed instead.
#[derive(Debug, thiserror::Error)]
#[error("closed by the proxy")]
struct Closed;

/// Serves until it is aborted, and its connections with it.
async fn accept(listener: TcpListener, proxy: Proxy) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((connection, _)) = listener.accept() => { connections.spawn(serve(connection, proxy.clone())); }
            Some(_) = connections.join_next() => {}
            else => return,
        }
    }
}

async fn serve(connection: TcpStream, proxy: Proxy) {
    let service = service_fn(|request| proxy.answer(request));
    // Errors are the client hanging up, or us on purpose.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
}

impl Proxy {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Closed> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
        let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let fault = lock(&self.plan).meet(operation);
        match fault {
            Some(Fault::Throttle) => return Ok(refusal("ProvisionedThroughputExceededException", "")),
            Some(Fault::Conflict) if operation == "TransactWriteItems" => return Ok(cancelled(&body)),
            Some(Fault::Conflict) => return Ok(refusal("TransactionConflictException", "")),
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::DropResponse | Fault::ServerError) | None => {}
        }
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = format!("http://{}{path}", self.backend).parse().map_err(|_| Closed)?;
        let answer = self.client.request(Request::from_parts(head, Full::new(body))).await.map_err(|_| Closed)?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
        match fault {
            Some(Fault::DropResponse) => Err(Closed),
            Some(Fault::ServerError) => Ok(error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "")),
            _ => Ok(Response::from_parts(head, Full::new(body))),
        }
    }
}

fn refusal(code: &str, more: &str) -> Response<Full<Bytes>> {
    error(StatusCode::BAD_REQUEST, code, more)
}

/// As DynamoDB writes it when the first item of a transaction is part of another one.
fn cancelled(request: &Bytes) -> Response<Full<Bytes>> {
    let items = serde_json::from_slice::<serde_json::Value>(request).ok();
    let count = items.and_then(|request| Some(request.get("TransactItems")?.as_array()?.len())).unwrap_or(1);
    let conflict = r#"{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"}"#;
    let others = r#",{"Code":"None"}"#.repeat(count.saturating_sub(1));
    refusal("TransactionCanceledException", &format!(r#","CancellationReasons":[{conflict}{others}]"#))
}

fn error(status: StatusCode, code: &str, more: &str) -> Response<Full<Bytes>> {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"by the proxy"{more}}}"#);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
