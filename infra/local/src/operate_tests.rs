use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use ledgerline_kernel::ports::EntityList as _;

use super::*;
use crate::data_dir::HostRecord;
use crate::host::Host;
use crate::host_fixture::{place, start};

/// Asks both stores for something, and tells of it.
#[derive(Serialize, Deserialize)]
struct Look {
    fail: bool,
}

#[async_trait]
impl Operation for Look {
    const NAME: &'static str = "look";
    type Report = usize;

    async fn run(&self, site: &Site, progress: &Progress) -> anyhow::Result<usize> {
        anyhow::ensure!(!self.fail, "as asked");
        progress.step("looking", 1, Some(2));
        use ledgerline_kernel::ports::{LedgerAudit as _, ListQuery};
        let rows = site.ledger.rows(None).await?.0.len();
        let query = ListQuery {
            tenant: "demo".parse()?,
            filters: Vec::new(),
            words: Vec::new(),
            sort: Vec::new(),
            after: None,
            limit: 10,
            include_deleted: true,
            with_total: false,
        };
        let domain = site.registry.by_resource("products").context("no products")?;
        Ok(rows + site.views.list(domain.as_ref(), &query).await?.entities.len())
    }
}

/// Never ends by itself.
#[derive(Serialize, Deserialize)]
struct Wait;

static WAITS: AtomicBool = AtomicBool::new(false);

struct Waiting;

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITS.store(false, Ordering::SeqCst);
    }
}

#[async_trait]
impl Operation for Wait {
    const NAME: &'static str = "wait";
    type Report = ();

    fn alone(&self) -> Option<String> {
        Some("wait".to_owned())
    }

    async fn run(&self, _: &Site, _: &Progress) -> anyhow::Result<()> {
        let _waiting = Waiting;
        WAITS.store(true, Ordering::SeqCst);
        std::future::pending().await
    }
}

/// Serves the operations of this test with a host's stores, and records its address as the host's.
async fn served(host: &Host, data_dir: &Path) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let template = Template::load(None).unwrap();
    let names: Vec<_> = template.tables.iter().map(|table| (table.stream, table.name.clone())).collect();
    let endpoint = host.dynamodb().to_owned();
    let config = Config::new(move |name| match name {
        "AWS_ENDPOINT_URL_DYNAMODB" => Some(endpoint.clone()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "LEDGER_TABLE" | "DATA_TABLE" => {
            names.iter().find(|(stream, _)| *stream == (name == "LEDGER_TABLE")).map(|(_, name)| name.clone())
        }
        _ => Some("local".to_owned()).filter(|_| name.starts_with("AWS_") && name.contains("ACCESS")),
    });
    let site = Site::new(&config, PostgresViews::new(host.pool().clone()), data_dir).await.unwrap();
    let record = read_record(data_dir).unwrap();
    let record = HostRecord { url: format!("http://{}", listener.local_addr().unwrap()), ..record };
    std::fs::write(data_dir.join("host.json"), serde_json::to_vec(&record).unwrap()).unwrap();
    let router = door::add::<Wait>(door::add::<Look>(Router::new())).with_state(site);
    let router = door::guarded(router, format!("Bearer {}", key_in(data_dir).unwrap()));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_does_the_same_in_a_host_and_without_one() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let host = start(&dir).await;
    let refused = operate(&Look { fail: false }, &place(&dir), &Progress::silent()).await.unwrap_err();
    assert!(format!("{refused:#}").contains("404"), "the host has no such operation, but lets us in: {refused:#}");

    let server = served(&host, &dir).await;
    let steps = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&steps);
    let progress = Progress::new(move |step| told.lock().unwrap().push(step));
    assert_eq!(operate(&Look { fail: false }, &place(&dir), &progress).await.unwrap(), 0);
    let step = Step { doing: "looking".to_owned(), done: 1, of: Some(2) };
    assert_eq!(*steps.lock().unwrap(), [step]);
    let failed = operate(&Look { fail: true }, &place(&dir), &Progress::silent()).await.unwrap_err();
    assert_eq!(failed.to_string(), "as asked");
    server.abort();
    host.stop().await.unwrap();

    assert_eq!(operate(&Look { fail: false }, &place(&dir), &Progress::silent()).await.unwrap(), 0);
    let failed = operate(&Look { fail: true }, &place(&dir), &Progress::silent()).await.unwrap_err();
    assert_eq!(failed.to_string(), "as asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_ends_with_whoever_asked_for_it_and_a_stranger_gets_none() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let host = start(&dir).await;
    let stranger = call::call(&host.url(), "a guess", &Look { fail: false }, &Progress::silent()).await.unwrap_err();
    assert!(stranger.to_string().contains("401"), "{stranger}");

    let server = served(&host, &dir).await;
    let at = place(&dir);
    let asked = tokio::spawn(async move { operate(&Wait, &at, &Progress::silent()).await });
    let until = async |waits: bool| {
        let changed = async {
            while WAITS.load(Ordering::SeqCst) != waits {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), changed).await.unwrap();
    };
    until(true).await;
    let second = operate(&Wait, &place(&dir), &Progress::silent()).await.unwrap_err();
    assert_eq!(Failure::of(&second).code, Failure::UNDER_WAY, "{second:#}");
    asked.abort();
    until(false).await;
    server.abort();
    host.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_without_a_ledger_is_refused_and_left_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let refusal = operate(&Look { fail: false }, &place(root.path()), &Progress::silent()).await.unwrap_err();
    assert!(refusal.to_string().contains("there is no ledger"), "{refusal}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}
