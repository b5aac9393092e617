//! Lists by words, in the order of keys, and after one's own writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use ledgerline_app::{Environment, Queries};
use ledgerline_kernel::Timestamp;
use ledgerline_kernel::ports::StateSink as _;
use serde_json::{Value, json};

use super::world::{Answer, TestEnvironment, World};

const PRODUCTS: &str = "/api/v1/products";

fn sks(answer: &Answer) -> Vec<&str> {
    let Some(data) = answer.json["data"].as_array() else { panic!("{}", answer.json) };
    data.iter().map(|entity| entity["sk"].as_str().unwrap()).collect()
}

/// Every page's keys.
async fn pages(world: &World, path: &str) -> Vec<Vec<String>> {
    let (mut pages, mut link) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = link {
        let answer = world.get(&path).await;
        assert_eq!(answer.json["meta"]["count"], json!(sks(&answer).len()));
        pages.push(sks(&answer).into_iter().map(str::to_owned).collect());
        link = answer.json["links"]["next"].as_str().map(str::to_owned);
    }
    pages
}

async fn world_with(sks: &[&str]) -> World {
    let world = World::new();
    for sk in sks {
        world.create(sk, "1").await;
    }
    world.project().await;
    world
}

#[tokio::test]
async fn a_search_combines_with_filters_order_pages_and_a_total() {
    let world = world_with(&["ring-1", "ring-2", "brooch-1", "ring-3"]).await;
    let answer = world.get(&format!("{PRODUCTS}?q=RIN+pro&category=Ideal&sort=-name&total=true")).await;
    assert_eq!(sks(&answer), ["ring-3", "ring-2", "ring-1"]);
    assert_eq!(answer.json["meta"]["totalCount"], json!(3));
    assert_eq!(pages(&world, &format!("{PRODUCTS}?q=ring&limit=2")).await, [vec!["ring-1", "ring-2"], vec!["ring-3"]]);
    assert_eq!(sks(&world.get(&format!("{PRODUCTS}?q=1%2C+product")).await), ["brooch-1", "ring-1"]);
    assert_eq!(sks(&world.get(&format!("{PRODUCTS}?q=nothing")).await), [""; 0]);
}

#[tokio::test]
async fn no_search_text_is_a_server_error() {
    let world = world_with(&["a"]).await;
    let long = "x ".repeat(10_000);
    let texts = [
        "' OR 1=1 --",
        "a & (b | !c):*",
        "\\",
        "\"",
        "a\0b",
        "💎",
        "戒指",
        "'a':* <2> b",
        "%",
        "_",
        "(",
        long.as_str(),
    ];
    for text in texts {
        let encoded = crate::parameters::percent_encoded(text).to_string();
        let answer = world.get(&format!("{PRODUCTS}?q={encoded}")).await;
        assert!(answer.status == 200 || answer.code() == "INVALID_PARAMETER", "{text}: {}", answer.json);
    }
}

#[tokio::test]
async fn keys_are_listed_in_order_by_prefix_or_range_page_by_page() {
    let world = world_with(&["b-1", "a-2", "a-1", "c", "a-3"]).await;
    for (query, expected) in [
        ("", vec![vec!["a-1", "a-2"], vec!["a-3", "b-1"], vec!["c"]]),
        ("&sk.prefix=a-", vec![vec!["a-1", "a-2"], vec!["a-3"]]),
        ("&sk.gte=a-2&sk.lt=c", vec![vec!["a-2", "a-3"], vec!["b-1"]]),
        ("&sk.lt=a", vec![vec![]]),
        ("&sk.gte=z&sk.lt=a", vec![vec![]]),
    ] {
        assert_eq!(pages(&world, &format!("{PRODUCTS}?store=data&limit=2{query}")).await, expected, "{query}");
    }
    world.change("DELETE", &format!("{PRODUCTS}/a-2"), "*", &Value::Null).await;
    world.project().await;
    assert_eq!(pages(&world, &format!("{PRODUCTS}?store=data&sk.prefix=a")).await, [["a-1", "a-3"]]);
    let all = format!("{PRODUCTS}?store=data&sk.prefix=a&includeDeleted=true");
    assert_eq!(pages(&world, &all).await, [["a-1", "a-2", "a-3"]]);
}

#[tokio::test]
async fn a_cursor_is_of_its_store_search_range_and_tenant_alone() {
    let world = world_with(&["a", "b", "c"]).await;
    let cursor = async |query: &str| {
        let answer = world.get(&format!("{PRODUCTS}?{query}")).await;
        let next = answer.json["links"]["next"].as_str().unwrap().to_owned();
        next.split_once("cursor=").unwrap().1.to_owned()
    };
    let (searched, keyed) = (cursor("limit=1&q=product").await, cursor("limit=1&store=data&sk.gte=a").await);
    for (query, cursor) in [
        ("q=products", &searched),
        ("q=Product", &searched),
        ("", &searched),
        ("q=product&category=Ideal", &searched),
        ("store=data", &searched),
        ("", &keyed),
        ("store=data", &keyed),
        ("store=data&sk.gte=b", &keyed),
        ("store=data&sk.prefix=a", &keyed),
        ("store=data&sk.gte=a&sk.lt=c", &keyed),
        ("store=data&sk.gte=a&includeDeleted=true", &keyed),
    ] {
        world.get(&format!("{PRODUCTS}?{query}&cursor={cursor}")).await.expect(400, "INVALID_CURSOR");
    }
    for (query, cursor) in [("q=product", searched), ("store=data&sk.gte=a", keyed)] {
        let path = format!("{PRODUCTS}?{query}&cursor={cursor}");
        assert_eq!(sks(&world.get(&path).await), ["b", "c"]);
        let token = super::issuer::token("globex", "viewer");
        let theirs = world.send(super::world::request("GET", &path, &[], "", &token)).await;
        theirs.expect(400, "INVALID_CURSOR");
        let mut tampered = path;
        let last = if tampered.pop() == Some('A') { 'B' } else { 'A' };
        tampered.push(last);
        world.get(&tampered).await.expect(400, "INVALID_CURSOR");
    }
}

#[tokio::test]
async fn a_list_by_key_is_there_when_postgres_is_not() {
    let world = world_with(&["a", "b"]).await;
    let world = world.without_lists();
    world.get(PRODUCTS).await.expect(503, "UNAVAILABLE");
    assert_eq!(sks(&world.get(&format!("{PRODUCTS}?store=data")).await), ["a", "b"]);
    let headers = [("x-min-version", "a@1")];
    assert_eq!(sks(&world.ask("GET", &format!("{PRODUCTS}?store=data"), &headers, "").await), ["a", "b"]);
}

/// Ticks a second with every look, and projects while somebody waits.
struct Projecting {
    world: World,
    clock: TestEnvironment,
    waits_until: usize,
    waited: AtomicUsize,
}

#[async_trait]
impl Environment for Projecting {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn new_id(&self) -> String {
        self.clock.new_id()
    }

    async fn back_off(&self, _: u32) {
        if self.waited.fetch_add(1, Ordering::Relaxed) + 1 == self.waits_until {
            let domain = self.world.api.registry.by_resource("products").unwrap();
            for item in self.world.stored() {
                self.world.entities.apply(domain.as_ref(), &[&item]).await.unwrap();
            }
        }
    }
}

/// What a list answers that has to show `a@1`, which is projected with the wait of that number.
async fn after(waits: usize, path: &str, headers: &[(&str, &str)]) -> (Answer, usize) {
    let written = World::new();
    written.create("a", "1").await;
    let (ledger, entities) = (Arc::new(written.ledger.clone()), Arc::new(written.entities.clone()));
    let clock = TestEnvironment::default();
    let environment = Arc::new(Projecting { world: written, clock, waits_until: waits, waited: AtomicUsize::new(0) });
    let queries = Queries::new(ledger, entities.clone(), entities, environment.clone());
    let world = World::new().serving(|api| api.queries = Some(queries));
    let answer = world.ask("GET", path, headers, "").await;
    (answer, environment.waited.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_list_waits_for_ones_own_write_and_then_shows_it() {
    for path in [PRODUCTS, "/api/v1/products?store=data", "/api/v1/products?q=product&total=true"] {
        let headers = [("x-min-version", "a@1"), ("prefer", "wait=5")];
        let (answer, waits) = after(3, path, &headers).await;
        assert_eq!((sks(&answer), waits), (vec!["a"], 3), "{path}");
    }
}

#[tokio::test]
async fn a_list_that_does_not_show_it_in_time_is_503_and_never_from_before_it() {
    for (prefer, waits) in [("", 0), ("wait=0", 0), ("wait=3", 2), ("wait=60", 4)] {
        let headers = [("x-min-version", "a@1"), ("prefer", prefer)];
        for path in [PRODUCTS, "/api/v1/products?store=data"] {
            let (answer, waited) = after(9, path, &headers).await;
            assert_eq!(answer.expect(503, "NOT_YET_VISIBLE").header("retry-after"), "1", "{prefer}");
            assert_eq!(waited, waits, "{prefer}: a look is a second here");
        }
    }
}

#[tokio::test]
async fn a_header_that_makes_no_sense_is_400_and_named() {
    let world = world_with(&["a"]).await;
    let many = vec!["a@1"; 21].join(",");
    for value in ["a", "a@", "a@0", "@1", "%FF@1", "a@1;b@2", "a@1 b@2", many.as_str()] {
        for path in [PRODUCTS, "/api/v1/products/a", "/api/v1/products/a/history"] {
            let answer = world.ask("GET", path, &[("x-min-version", value)], "").await;
            let answer = answer.expect(400, "INVALID_PARAMETER");
            assert_eq!(answer.json["errors"][0]["path"], json!("X-Min-Version"), "{path} {value}");
        }
    }
}

#[tokio::test]
async fn a_read_by_key_is_not_from_before_what_the_header_names() {
    let world = world_with(&["a,@b"]).await;
    let path = "/api/v1/products/a%2C%40b";
    world.change("PATCH", path, "*", &json!({"name": "second"})).await;
    let ask = async |query: &str, header: &str| {
        world.ask("GET", &format!("{path}{query}"), &[("x-min-version", header)], "").await
    };
    for (query, header, version) in [
        ("", "other@9", 1),
        ("", "a%2C%40b@1", 1),
        ("", "a%2C%40b@1, other@9, a%2C%40b@2", 2),
        ("?minVersion=1", "a%2C%40b@2", 2),
        ("?minVersion=2", "a%2C%40b@1", 2),
        ("?consistency=strong", "a%2C%40b@2", 2),
        ("?version=1", "other@9", 1),
    ] {
        let answer = ask(query, header).await.expect(200, "");
        assert_eq!(answer.json["data"]["version"], json!(version), "{query} {header}");
    }
    for query in ["", "?minVersion=1", "?consistency=strong", "/history"] {
        ask(query, "a%2C%40b@3").await.expect(503, "NOT_YET_VISIBLE");
    }
    ask("/history", "a%2C%40b@2").await.expect(200, "");
    for query in ["?version=1", "?asOf=2999-01-01T00:00:00Z"] {
        let refused = ask(query, "a%2C%40b@1").await.expect(400, "INVALID_PARAMETER");
        assert_eq!(refused.json["errors"][0]["path"], json!("X-Min-Version"), "{query}");
    }
}
