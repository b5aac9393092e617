//! The sums of delta projections, over HTTP.

use serde_json::json;

use super::issuer::token;
use super::world::{World, product, request};

const SUMMARY: &str = "/api/v1/products/summaries/by-category";

async fn created(world: &World, sk: &str, category: Option<&str>, price: Option<&str>) {
    let mut body = product(sk, "1");
    body["attributes"] = json!({"category": category, "price": price});
    body["attributes"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let headers = [("prefer", "wait=5")];
    world.ask("POST", "/api/v1/products", &headers, &body.to_string()).await.expect(201, "");
}

#[tokio::test]
async fn a_category_tells_how_many_products_it_has_and_what_they_cost() {
    let world = World::new();
    assert_eq!(world.get(SUMMARY).await.expect(200, "").json["data"], json!([]));
    for (sk, price) in [("a", Some("12.50")), ("b", Some("3")), ("c", None)] {
        created(&world, sk, Some("Ideal"), price).await;
    }
    created(&world, "d", None, None).await;
    let answer = world.get(SUMMARY).await.expect(200, "");
    let ideal = json!({"category": "Ideal", "products": 3, "priced": 2, "priceSum": "15.50", "priceMin": "3", "priceMax": "12.50"});
    let none = json!({"category": "", "products": 1, "priced": 0, "priceSum": "0", "priceMin": null, "priceMax": null});
    assert_eq!(answer.json["data"], json!([none, ideal]));
    assert_eq!(answer.json["meta"]["count"], 2);
    let headers = [("prefer", "wait=5"), ("if-match", "*")];
    world.ask("DELETE", "/api/v1/products/a", &headers, "").await.expect(200, "");
    let left = &world.get(SUMMARY).await.json["data"][1];
    assert_eq!((&left["products"], &left["priceMax"]), (&json!(2), &json!("3")));
}

#[tokio::test]
async fn it_is_read_page_by_page_with_a_cursor_of_its_own() {
    let world = World::new();
    for number in 0..5 {
        created(&world, &format!("p{number}"), Some(&format!("C{number}")), Some("1")).await;
    }
    let (mut path, mut read) = (format!("{SUMMARY}?limit=2"), Vec::new());
    loop {
        let page = world.get(&path).await.expect(200, "");
        read.extend(
            page.json["data"].as_array().unwrap().iter().map(|row| row["category"].as_str().unwrap().to_owned()),
        );
        match page.json["links"]["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(read, ["C0", "C1", "C2", "C3", "C4"]);
    world.get(&format!("{SUMMARY}?cursor=x")).await.expect(400, "INVALID_CURSOR");
    world.get(&format!("{SUMMARY}?limit=0")).await.expect(400, "INVALID_PARAMETER");
    world.get(&format!("{SUMMARY}?colour=red")).await.expect(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn it_shows_the_callers_tenant_only_and_needs_a_permission_to_read() {
    let world = World::new();
    created(&world, "a", Some("Ideal"), Some("1")).await;
    let viewer = world.send(request("GET", SUMMARY, &[], "", &token("acme", "viewer"))).await;
    assert_eq!(viewer.json["data"].as_array().unwrap().len(), 1);
    let other = world.send(request("GET", SUMMARY, &[], "", &token("globex", "admin"))).await;
    assert_eq!((other.status.as_u16(), &other.json["data"]), (200, &json!([])));
    world.send(request("GET", SUMMARY, &[], "", "")).await.expect(401, "UNAUTHORIZED");
    world.send(request("GET", SUMMARY, &[], "", &token("acme", "stranger"))).await.expect(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_product_may_be_called_summaries_all_the_same() {
    let world = World::new();
    created(&world, "summaries", Some("Ideal"), Some("1")).await;
    assert_eq!(world.get("/api/v1/products/summaries").await.expect(200, "").json["data"]["sk"], "summaries");
    world.get("/api/v1/products/summaries/history").await.expect(200, "");
    let body = json!({"price": "2"});
    let path = "/api/v1/products/summaries/commands/change-price";
    world.change("POST", path, "*", &body).await.expect(200, "");
    world.get("/api/v1/products/summaries/by-colour").await.expect(404, "NOT_FOUND");
    world.ask("POST", SUMMARY, &[], "{}").await.expect(405, "METHOD_NOT_ALLOWED");
    let without = world.serving(|api| api.summaries = None);
    without.get(SUMMARY).await.expect(405, "METHOD_NOT_ALLOWED");
}
