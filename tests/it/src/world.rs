//! A whole host on stores of its own, and what a test asks of it.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use ledgerline_kernel::Entity;
use ledgerline_kernel::ports::LedgerScan as _;
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_local::host::{Host, HostOptions, Serving};
use serde_json::Value;
use sqlx::Row as _;

/// The names that the local host gives the template's tables.
pub(crate) const LEDGER: &str = "ledgerline-ledger";
const DATA: &str = "ledgerline-data";

/// A running host and its address book.
pub(crate) struct World {
    pub(crate) host: Host,
}

/// An answer, read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The `code` of a problem.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }
}

/// Which versions a store holds: id to version and hash, in order of ids. Two stores agree exactly
/// when these are equal.
pub(crate) type Digest = BTreeMap<String, (u64, String)>;

impl World {
    /// A host that keeps nothing.
    pub(crate) async fn ephemeral() -> Self {
        let nowhere = tempfile::tempdir().unwrap();
        Self::start(nowhere.path().join("none"), true).await
    }

    /// A host on `data_dir`.
    pub(crate) async fn on(data_dir: &std::path::Path) -> Self {
        Self::start(data_dir.to_owned(), false).await
    }

    async fn start(data_dir: std::path::PathBuf, ephemeral: bool) -> Self {
        let options = HostOptions {
            port: 0,
            data_dir,
            ephemeral,
            template: None,
            database_url: None,
            serving: Serving::InProcess,
        };
        Self { host: Host::start(options).await.unwrap() }
    }

    /// Sends a request the way of the gateway, with the host's own token.
    pub(crate) async fn send(&self, method: Method, path: &str, if_match: Option<&str>, body: &Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        request = request.header("authorization", format!("Bearer {}", self.host.token()));
        if let Some(version) = if_match {
            request = request.header("if-match", version);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.answer(request.body(body).unwrap()).await
    }

    /// Sends any request the way of the gateway.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.host.answer(request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Waits until data-sync has had everything that is on the stream now.
    pub(crate) async fn drain(&self) {
        self.host.caught_up().await.unwrap();
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .endpoint_url(self.host.dynamodb())
            .build();
        aws_sdk_dynamodb::Client::from_conf(config)
    }

    /// What the ledger says: the newest version of each entity.
    pub(crate) async fn ledger_digest(&self) -> Digest {
        let ledger = DynamoLedger::new(self.dynamodb(), LEDGER);
        let mut digest = Digest::new();
        let mut from = None;
        loop {
            let (items, next) = ledger.scan(from).await.unwrap();
            for item in items {
                let newest = (item.version.number(), item.hash.to_string());
                let held = digest.entry(item.key.to_string()).or_insert_with(|| newest.clone());
                if held.0 < newest.0 {
                    *held = newest;
                }
            }
            match next {
                Some(next) => from = Some(next),
                None => return digest,
            }
        }
    }

    /// What Postgres says, to its owner: past row-level security.
    pub(crate) async fn postgres_digest(&self) -> Digest {
        let query = sqlx::query("SELECT id, version, payload_hash FROM product");
        let rows = query.fetch_all(self.host.pool()).await.unwrap();
        let row = |row: &sqlx::postgres::PgRow| -> (String, (u64, String)) {
            (row.get("id"), (row.get::<i64, _>("version").try_into().unwrap(), row.get("payload_hash")))
        };
        rows.iter().map(row).collect()
    }

    /// What the data table says.
    pub(crate) async fn data_table_digest(&self) -> Digest {
        let mut pages = self.dynamodb().scan().table_name(DATA).into_paginator().items().send();
        let mut digest = Digest::new();
        while let Some(item) = pages.next().await {
            let entity: Entity = serde_dynamo::from_item(item.unwrap()).unwrap();
            digest.insert(entity.key.to_string(), (entity.version.number(), entity.hash.to_string()));
        }
        digest
    }

    /// The three stores agree; returns what they say.
    pub(crate) async fn agreed_digest(&self) -> Digest {
        let ledger = self.ledger_digest().await;
        assert_eq!(ledger, self.postgres_digest().await, "Postgres differs from the ledger");
        assert_eq!(ledger, self.data_table_digest().await, "the data table differs from the ledger");
        ledger
    }
}
