//! A router over in-memory ports, and requests to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use ledgerline_app::{Commands, Environment, Imports, Maintenance, Projector, Queries, Reconciler, Redrive, Registry};
use ledgerline_kernel::ports::{EntityList, ListPage, ListQuery, StoreError};
use ledgerline_kernel::{DynDomain, SortKey, TenantCode, Timestamp, Version, VersionItem};
use ledgerline_testkit::{MemoryDeltas, MemoryEntities, MemoryLedger, MemoryObjects, MemoryQuarantine, MemoryResyncs};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::issuer::{ELLIPTIC, Keys, RSA, authenticator, token};
use crate::{Admin, Api, CursorKey, RequestId, SourceIp, router};

/// Noon, a second later every time, names that no two worlds share, and no waiting.
#[derive(Default)]
pub(crate) struct TestEnvironment {
    seconds: AtomicU64,
}

static NAMES: AtomicU64 = AtomicU64::new(0);

#[async_trait]
impl Environment for TestEnvironment {
    fn now(&self) -> Timestamp {
        let noon: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let seconds = std::time::Duration::from_secs(self.seconds.fetch_add(1, Ordering::Relaxed));
        (noon.as_datetime() + seconds).into()
    }

    fn new_id(&self) -> String {
        format!("{:026}", NAMES.fetch_add(1, Ordering::Relaxed))
    }

    async fn back_off(&self, _: u32) {}
}

pub(crate) struct World {
    pub(crate) ledger: MemoryLedger,
    pub(crate) entities: MemoryEntities,
    pub(crate) quarantine: MemoryQuarantine,
    pub(crate) api: Api,
    router: Router,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What a repeated request must get again.
    pub(crate) fn replayable(&self) -> (StatusCode, &str, &str, &str) {
        (self.status, self.header("etag"), self.header("location"), &self.body)
    }

    pub(crate) fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    /// The answer without what differs from request to request.
    pub(crate) fn essence(&self) -> (StatusCode, Value) {
        let mut json = self.json.clone();
        if let Some(fields) = json.as_object_mut() {
            fields.remove("requestId");
            fields.remove("meta");
        }
        (self.status, json)
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.json);
        self
    }
}

/// What administrators work with, over these stores.
fn admin(
    ledger: &MemoryLedger,
    entities: &MemoryEntities,
    projector: Projector,
    quarantine: &MemoryQuarantine,
) -> Admin {
    let (registry, rows) = (Registry::shipped().unwrap(), Arc::new(entities.clone()));
    let (index, ledger) = (Arc::new(ledger.clone()), Arc::new(ledger.clone()));
    let environment = Arc::new(TestEnvironment::default());
    let reconciler = Reconciler::new(registry, index, ledger.clone(), projector.clone(), vec![rows], environment);
    let (kept, ages) = (Arc::new(MemoryResyncs::default()), std::time::Duration::from_secs(900));
    let maintenance = Maintenance::new(reconciler, kept.clone(), kept, ages, std::time::Duration::ZERO);
    Admin { maintenance, redrive: Redrive::new(projector, ledger, Arc::new(quarantine.clone())) }
}

impl World {
    pub(crate) fn new() -> Self {
        let (ledger, entities) = (MemoryLedger::default(), MemoryEntities::default());
        let quarantine = MemoryQuarantine::default();
        let commands = Commands::new(Arc::new(ledger.clone()), Arc::new(TestEnvironment::default()));
        let rows = Arc::new(entities.clone());
        let queries = Queries::new(Arc::new(ledger.clone()), rows.clone(), rows, Arc::new(TestEnvironment::default()));
        let deltas = MemoryDeltas::default();
        let projector = Projector::new(Registry::shipped().unwrap(), vec![Arc::new(entities.clone())])
            .with_deltas(Arc::new(ledger.clone()), Arc::new(deltas.clone()));
        let admin = admin(&ledger, &entities, projector.clone(), &quarantine);
        let imports = Imports::new(
            Registry::shipped().unwrap(),
            Arc::new(ledger.clone()),
            Arc::new(MemoryObjects::default()),
            Arc::new(TestEnvironment::default()),
        );
        let api = Api {
            registry: Registry::shipped().unwrap(),
            commands: Some(commands),
            projector: Some(projector),
            queries: Some(queries),
            summaries: Some(Arc::new(deltas.clone())),
            imports: Some(imports),
            admin: Some(admin),
            authenticator: Arc::new(authenticator(&Keys::of(&[&RSA, &ELLIPTIC]), &Arc::default())),
            cursor_key: CursorKey::new("0123456789abcdef0123456789abcdef").unwrap(),
        };
        Self { ledger, entities, quarantine, router: router(api.clone()), api }
    }

    /// The same stores behind a router that serves something else.
    pub(crate) fn serving(mut self, change: impl FnOnce(&mut Api)) -> Self {
        change(&mut self.api);
        self.router = router(self.api.clone());
        self
    }

    /// The same stores with lists that are not to be had.
    pub(crate) fn without_lists(self) -> Self {
        let (ledger, entities) = (Arc::new(self.ledger.clone()), Arc::new(self.entities.clone()));
        let queries = Queries::new(ledger, entities, Arc::new(Away), Arc::new(TestEnvironment::default()));
        self.serving(|api| api.queries = Some(queries))
    }

    /// As [`send`](Self::send), for an answer that is no JSON.
    pub(crate) async fn send_for_text(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body, json: Value::Null }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        let body = String::from_utf8(bytes.into()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body, json }
    }

    /// Sends as acme's admin.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(request(method, path, headers, body, &token("acme", "admin"))).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// Sends with `If-Match`.
    pub(crate) async fn change(&self, method: &str, path: &str, if_match: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(method, path, &[("if-match", if_match)], &body).await
    }

    /// Creates a product and expects that to work.
    pub(crate) async fn create(&self, sk: &str, price: &str) -> Answer {
        let answer = self.ask("POST", "/api/v1/products", &[], &product(sk, price).to_string()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
        answer
    }

    /// Brings the read model up to the ledger.
    pub(crate) async fn project(&self) {
        let projector = Projector::new(self.api.registry.clone(), vec![Arc::new(self.entities.clone())]);
        projector.apply(&self.ledger.all()).await.unwrap();
    }

    pub(crate) fn stored(&self) -> Vec<VersionItem> {
        self.ledger.all()
    }
}

pub(crate) fn product(sk: &str, price: &str) -> Value {
    json!({"sk": sk, "code": format!("C-{sk}"), "name": format!("Product {sk}"), "attributes": {"category": "Ideal", "price": price}})
}

/// A request with a token and, where there is a body and no other type is given, JSON's.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str, token: &str) -> Request<Body> {
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path)
        .extension(RequestId("request-1".to_owned()))
        .extension(SourceIp("192.0.2.1".to_owned()));
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

/// Lists that are not to be had.
struct Away;

#[async_trait]
impl EntityList for Away {
    async fn list(&self, _: &dyn DynDomain, _: &ListQuery) -> Result<ListPage, StoreError> {
        Err(StoreError::Unavailable { store: "postgres", reason: "nobody there".to_owned() })
    }

    async fn versions(
        &self,
        _: &dyn DynDomain,
        _: &TenantCode,
        _: &[SortKey],
    ) -> Result<Vec<(SortKey, Version)>, StoreError> {
        Err(StoreError::Unavailable { store: "postgres", reason: "nobody there".to_owned() })
    }
}
