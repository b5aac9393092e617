use serde_json::{Value, json};

use super::world::World;

async fn world_with(prices: &[&str]) -> World {
    let world = World::new();
    for (index, price) in prices.iter().enumerate() {
        world.create(&format!("p{index}"), price).await;
    }
    world.project().await;
    world
}

fn column(answer: &Value, name: &str) -> Vec<Value> {
    answer["data"].as_array().unwrap().iter().map(|entity| entity[name].clone()).collect()
}

#[tokio::test]
async fn an_entity_is_read_with_its_version_as_the_tag() {
    let world = world_with(&["1"]).await;
    let answer = world.get("/api/v1/products/p0").await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"1\""));
    assert_eq!(answer.json["data"]["sk"], json!("p0"));
    assert_eq!(answer.json["data"]["attributes"]["price"], json!("1"));
    assert_eq!(answer.json["meta"]["changed"], Value::Null);
}

#[tokio::test]
async fn a_reader_who_knows_the_version_gets_304() {
    let world = world_with(&["1"]).await;
    for tag in ["\"1\"", "W/\"1\"", "\"9\", \"1\"", "*"] {
        let answer = world.ask("GET", "/api/v1/products/p0", &[("if-none-match", tag)], "").await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json, answer.header("etag")),
            (304, &Value::Null, "\"1\""),
            "{tag}"
        );
    }
    let answer = world.ask("GET", "/api/v1/products/p0", &[("if-none-match", "\"2\"")], "").await;
    assert_eq!(answer.status.as_u16(), 200);
}

#[tokio::test]
async fn consistency_version_and_min_version_choose_what_is_read() {
    let world = world_with(&["1"]).await;
    world.change("PATCH", "/api/v1/products/p0", "*", &json!({"name": "second"})).await;
    for (query, version) in [
        ("", 1),
        ("?consistency=eventual", 1),
        ("?consistency=strong", 2),
        ("?minVersion=1", 1),
        ("?minVersion=2", 2),
        ("?version=1", 1),
        ("?version=2", 2),
    ] {
        let answer = world.get(&format!("/api/v1/products/p0{query}")).await;
        assert_eq!(answer.json["data"]["version"], json!(version), "{query}");
    }
    world.get("/api/v1/products/p0?version=3").await.expect(404, "NOT_FOUND");
    let all = world.get("/api/v1/products/p0/history").await.json;
    let (second, first) = (&all["data"][0]["updatedAt"], &all["data"][1]["updatedAt"]);
    for (moment, version) in [(first, 1), (second, 2), (&json!("2999-01-01T01:00:00%2B01:00"), 2)] {
        let answer = world.get(&format!("/api/v1/products/p0?asOf={}", moment.as_str().unwrap())).await;
        assert_eq!(answer.json["data"]["version"], json!(version), "{moment}");
        assert_eq!(answer.header("etag"), format!("\"{version}\""));
    }
    world.get("/api/v1/products/p0?asOf=2026-11-20T11:59:59Z").await.expect(404, "NOT_FOUND");
    let behind = world.get("/api/v1/products/p0?minVersion=3").await.expect(503, "NOT_YET_VISIBLE");
    assert_eq!(behind.header("retry-after"), "1");
}

#[tokio::test]
async fn a_deleted_entity_is_still_read_and_says_so() {
    let world = world_with(&["1"]).await;
    world.change("DELETE", "/api/v1/products/p0", "*", &Value::Null).await;
    world.project().await;
    assert_eq!(world.get("/api/v1/products/p0").await.json["data"]["isDeleted"], json!(true));
    assert_eq!(column(&world.get("/api/v1/products").await.json, "sk"), Vec::<Value>::new());
    assert_eq!(column(&world.get("/api/v1/products?includeDeleted=true").await.json, "sk"), ["p0"]);
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let world = world_with(&["1"]).await;
    let answer = world.ask("HEAD", "/api/v1/products/p0", &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.header("etag"), &answer.json), (200, "\"1\"", &Value::Null));
    let answer = world.ask("HEAD", "/api/v1/products/none", &[], "").await;
    assert_eq!((answer.status.as_u16(), &answer.json), (404, &Value::Null));
}

#[tokio::test]
async fn a_list_is_filtered_sorted_and_counted() {
    let world = world_with(&["5", "30", "4", "100"]).await;
    let answer = world.get("/api/v1/products?sort=-price&price.gte=5&price.lt=100&total=true").await.json;
    assert_eq!(column(&answer, "sk"), ["p1", "p0"]);
    assert_eq!((&answer["meta"]["count"], &answer["meta"]["totalCount"]), (&json!(2), &json!(2)));
    assert_eq!(answer["links"], json!({"self": "/api/v1/products?sort=-price&price.gte=5&price.lt=100&total=true"}));
    let answer = world.get("/api/v1/products?name=Product+p2").await.json;
    assert_eq!(column(&answer, "sk"), ["p2"]);
    assert_eq!(answer["meta"].get("totalCount"), None);
}

#[tokio::test]
async fn next_links_lead_through_the_whole_list_once() {
    let world = world_with(&["3", "1", "2", "2", "5"]).await;
    let mut link = Some("/api/v1/products?limit=2&sort=price&category=Ideal".to_owned());
    let mut seen = Vec::new();
    while let Some(path) = link {
        let answer = world.get(&path).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.json);
        seen.extend(column(&answer.json, "sk"));
        link = answer.json["links"]["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, ["p1", "p2", "p3", "p0", "p4"]);
}

#[tokio::test]
async fn a_cursor_works_only_with_the_list_it_was_handed_out_for() {
    let world = world_with(&["3", "1", "2"]).await;
    let first = world.get("/api/v1/products?limit=1&sort=price").await.json;
    let next = first["links"]["next"].as_str().unwrap();
    let cursor = next.split("cursor=").nth(1).unwrap();
    for path in [
        format!("/api/v1/products?limit=1&sort=-price&cursor={cursor}"),
        format!("/api/v1/products?limit=1&cursor={cursor}"),
        format!("/api/v1/products?limit=1&sort=price&category=Ideal&cursor={cursor}"),
        format!("/api/v1/products?limit=1&sort=price&includeDeleted=true&cursor={cursor}"),
        format!("/api/v1/products/p0/history?cursor={cursor}"),
        format!("/api/v1/products?limit=1&sort=price&cursor={cursor}x"),
        "/api/v1/products?cursor=".to_owned(),
        "/api/v1/products?cursor=%F0%9F%92%8E".to_owned(),
    ] {
        world.get(&path).await.expect(400, "INVALID_CURSOR");
    }
    let page = world.get(&format!("/api/v1/products?limit=2&sort=price&cursor={cursor}")).await;
    assert_eq!(column(&page.json, "sk"), ["p2", "p0"], "another page size is no other list");
}

#[tokio::test]
async fn a_history_is_every_version_with_its_events_newest_first() {
    let world = world_with(&["1"]).await;
    for name in ["b", "c", "d", "e"] {
        world.change("PATCH", "/api/v1/products/p0", "*", &json!({"name": name})).await;
    }
    let first = world.get("/api/v1/products/p0/history?limit=2").await.json;
    assert_eq!(column(&first, "version"), [5, 4]);
    assert_eq!(column(&first, "name"), ["e", "d"]);
    let event = &first["data"][0]["events"][0];
    assert!(event["type"].is_string() && event["v"].is_u64() && event["data"].is_object(), "{event}");
    let mut link = first["links"]["next"].as_str().map(str::to_owned);
    let mut older = Vec::new();
    while let Some(path) = link {
        let page = world.get(&path).await.json;
        older.extend(column(&page, "version"));
        link = page["links"]["next"].as_str().map(str::to_owned);
    }
    assert_eq!(older, [3, 2, 1]);
}

#[tokio::test]
async fn a_cursor_of_one_entitys_history_is_refused_in_anothers() {
    let world = world_with(&["1", "1"]).await;
    for sk in ["p0", "p1"] {
        world.change("PATCH", &format!("/api/v1/products/{sk}"), "*", &json!({"name": "second"})).await;
    }
    let next = world.get("/api/v1/products/p0/history?limit=1").await.json["links"]["next"].clone();
    let next = next.as_str().unwrap();
    assert_eq!(column(&world.get(next).await.json, "version"), [1]);
    world.get(&next.replace("/p0/", "/p1/")).await.expect(400, "INVALID_CURSOR");
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let world = world_with(&["1"]).await;
    for path in [
        "/healthz",
        "/api/v1/products",
        "/api/v1/products/p0",
        "/api/v1/products/none",
        "/api/v1/products/p0/history",
        "/api/v1/products?limit=0",
        "/nowhere",
    ] {
        let (get, head) = (world.get(path).await, world.ask("HEAD", path, &[], "").await);
        assert_eq!((get.status, &get.headers), (head.status, &head.headers), "{path}");
        assert_eq!(get.header("content-length"), get.body.len().to_string(), "{path}");
        assert_eq!(head.body, "", "{path}");
    }
}

#[tokio::test]
async fn a_read_sees_an_entity_that_is_not_projected_yet() {
    let world = World::new();
    world.create("p", "1").await;
    assert_eq!(world.get("/api/v1/products/p").await.status.as_u16(), 200);
}

#[tokio::test]
async fn all_that_is_wrong_with_the_parameters_is_in_one_answer() {
    let world = world_with(&["1"]).await;
    let headers = [("x-min-version", "p0")];
    for (path, names) in [
        (
            "?price=cheap&limit=0&total=yes&colour=red&sort=size,weight&q=%3F&name=%FF&cursor=x",
            &["name", "limit", "total", "X-Min-Version", "colour", "price", "q", "sort", "sort"][..],
        ),
        ("?store=sql&limit=0&colour=red", &["store", "limit", "X-Min-Version", "colour"]),
        (
            "?store=data&limit=0&q=x&sk.prefix=a&sk.lt=b&sk.gte=&sort=name",
            &["limit", "sk.prefix", "sk.gte", "X-Min-Version", "q", "sort"],
        ),
        (
            "/p0?consistency=maybe&version=0&minVersion=x&asOf=now&expand=all",
            &["consistency", "version", "minVersion", "asOf", "X-Min-Version", "expand"],
        ),
        ("/p0?version=1&minVersion=1&asOf=2026-11-20T12:00:00Z", &["version", "asOf", "X-Min-Version"]),
        ("/p0/history?limit=0&sort=version", &["limit", "X-Min-Version", "sort"]),
        ("/summaries/by-category?limit=0&sort=version", &["limit", "X-Min-Version", "sort"]),
    ] {
        let answer = world.ask("GET", &format!("/api/v1/products{path}"), &headers, "").await;
        let answer = answer.expect(400, "INVALID_PARAMETER");
        let problems = answer.json["errors"].as_array().unwrap();
        let mut found: Vec<_> = problems.iter().map(|problem| problem["path"].as_str().unwrap()).collect();
        let mut expected = names.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{path}");
    }
}

#[tokio::test]
async fn a_parameters_name_is_repeated_up_to_a_length_and_twenty_of_them() {
    let world = World::new();
    let long = "x".repeat(1_000);
    for path in [format!("?{long}=1"), format!("?{long}=%FF"), format!("/p?{long}=1"), format!("?store=data&{long}=1")]
    {
        let answer = world.get(&format!("/api/v1/products{path}")).await.expect(400, "INVALID_PARAMETER");
        assert_eq!(answer.json["errors"][0]["path"], json!(format!("{}…", "x".repeat(64))), "{path}");
    }
    let many = (0..1_000).map(|number| format!("p{number}=1")).collect::<Vec<_>>().join("&");
    let answer = world.get(&format!("/api/v1/products?{many}")).await.expect(400, "INVALID_PARAMETER");
    assert_eq!(answer.json["errors"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn a_total_may_be_asked_for_on_any_page() {
    let world = world_with(&["3", "1", "2"]).await;
    let first = world.get("/api/v1/products?limit=1&sort=price").await.json;
    let next = first["links"]["next"].as_str().unwrap();
    let counted = world.get(&format!("{next}&total=true")).await.json;
    assert_eq!((column(&counted, "sk"), &counted["meta"]["totalCount"]), (vec![json!("p2")], &json!(3)));
    let next = counted["links"]["next"].as_str().unwrap().replace("&total=true", "").replace("total=true&", "");
    let last = world.get(&next).await.json;
    assert_eq!((column(&last, "sk"), last["meta"].get("totalCount")), (vec![json!("p0")], None));
}

#[tokio::test]
async fn nonsense_in_the_query_is_400_and_named() {
    let world = world_with(&["1"]).await;
    for (path, name) in [
        ("/api/v1/products?limit=0", "limit"),
        ("/api/v1/products?limit=101", "limit"),
        ("/api/v1/products?limit=ten", "limit"),
        ("/api/v1/products?limit=5&limit=5", "limit"),
        ("/api/v1/products?sort=colour", "sort"),
        ("/api/v1/products?sort=price,-price", "sort"),
        ("/api/v1/products?sort=specification", "sort"),
        ("/api/v1/products?colour=red", "colour"),
        ("/api/v1/products?price=cheap", "price"),
        ("/api/v1/products?price.near=1", "price.near"),
        ("/api/v1/products?name=%00", "name"),
        ("/api/v1/products?name=%FF", "name"),
        ("/api/v1/products?%FF=name", "%FF"),
        ("/api/v1/products?total=yes", "total"),
        ("/api/v1/products?includeDeleted=1", "includeDeleted"),
        ("/api/v1/products?tenantCode=globex", "tenantCode"),
        ("/api/v1/products/p0?consistency=maybe", "consistency"),
        ("/api/v1/products/p0?version=0", "version"),
        ("/api/v1/products/p0?version=1.0", "version"),
        ("/api/v1/products/p0?version=1&minVersion=1", "version"),
        ("/api/v1/products/p0?minVersion=-1", "minVersion"),
        ("/api/v1/products/p0?expand=all", "expand"),
        ("/api/v1/products/p0?asOf=yesterday", "asOf"),
        ("/api/v1/products/p0?asOf=2026-11-20", "asOf"),
        ("/api/v1/products/p0?asOf=2026-11-20T12:00:00+01:00", "asOf"),
        ("/api/v1/products/p0?asOf=2026-11-20T12:00:00Z&version=1", "asOf"),
        ("/api/v1/products/p0?asOf=2026-11-20T12:00:00Z&minVersion=1", "asOf"),
        ("/api/v1/products/p0?asOf=2026-11-20T12:00:00Z&consistency=strong", "asOf"),
        ("/api/v1/products?sort=description", "sort"),
        ("/api/v1/products?description.gte=a", "description.gte"),
        ("/api/v1/products?q=", "q"),
        ("/api/v1/products?q=%26%7C%21%3A%2A%27", "q"),
        ("/api/v1/products?q=%F0%9F%92%8E", "q"),
        ("/api/v1/products?q=%00", "q"),
        ("/api/v1/products?q=%FF", "q"),
        ("/api/v1/products?sk.prefix=a", "sk.prefix"),
        ("/api/v1/products?store=sql", "store"),
        ("/api/v1/products?store=data&q=ring", "q"),
        ("/api/v1/products?store=data&sort=name", "sort"),
        ("/api/v1/products?store=data&total=true", "total"),
        ("/api/v1/products?store=data&category=Ideal", "category"),
        ("/api/v1/products?store=data&sk.gt=a", "sk.gt"),
        ("/api/v1/products?store=data&sk.prefix=a&sk.lt=b", "sk.prefix"),
        ("/api/v1/products?store=data&sk.prefix=", "sk.prefix"),
        ("/api/v1/products?store=data&sk.gte=e%CC%81", "sk.gte"),
        ("/api/v1/products/p0/history?limit=0", "limit"),
        ("/api/v1/products/p0/history?sort=version", "sort"),
    ] {
        let answer = world.get(path).await.expect(400, "INVALID_PARAMETER");
        assert_eq!(answer.json["errors"][0]["path"], json!(name), "{path}");
    }
}
