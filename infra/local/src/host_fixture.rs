//! Hosts for tests.

use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use clap::Parser as _;
use serde_json::json;

use crate::command::{self, Cli};
use crate::host::{Host, HostOptions, Serving};
use crate::operate::Place;

/// A host on a free port that keeps what it has in `data_dir`.
pub(crate) fn options(data_dir: &Path) -> HostOptions {
    HostOptions {
        port: 0,
        data_dir: data_dir.to_owned(),
        ephemeral: false,
        template: None,
        database_url: None,
        serving: Serving::InProcess,
    }
}

pub(crate) async fn start(data_dir: &Path) -> Host {
    Host::start(options(data_dir)).await.unwrap()
}

/// Where an operator's command finds that host, or its stores.
pub(crate) fn place(data_dir: &Path) -> Place {
    Place { data_dir: data_dir.to_owned(), template: None, host_url: None, database_url: None }
}

/// As the command line does it, from its arguments to its exit status.
pub(crate) async fn run(data_dir: &Path, command: &[&str]) -> Result<(), String> {
    let data_dir = ["--data-dir", data_dir.to_str().unwrap()];
    let cli = Cli::parse_from(["ledgerline"].iter().chain(command).chain(&data_dir));
    let ran = tokio::task::spawn_blocking(move || command::run(&cli)).await.unwrap();
    ran.map(drop).map_err(|error| format!("{error:#}"))
}

/// Creates a product of category `c`, by a command.
pub(crate) async fn create(host: &Host, sk: &str) {
    let product = json!({ "sk": sk, "code": sk, "name": sk, "attributes": { "category": "c", "price": "12.50" } });
    let request = Request::post("/api/v1/products")
        .header(AUTHORIZATION, format!("Bearer {}", host.token()))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(product.to_string()))
        .unwrap();
    assert_eq!(host.answer(request).await.status(), 201);
}
