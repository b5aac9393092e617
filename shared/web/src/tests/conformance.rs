//! What MBC CQRS Serverless promises of reads, as far as the routes decide it. Numbers are those of the
//! feature study; the cases that the use cases decide are told beside those.

use super::issuer::token;
use super::world::{World, request};

#[tokio::test]
async fn case_57_a_version_that_does_not_exist_is_not_answered_with_another() {
    // MBC answers with the projected row where the command of a session is missing.
    let world = World::new();
    world.create("p", "1").await;
    world.project().await;
    world.get("/api/v1/products/p?minVersion=9").await.expect(503, "NOT_YET_VISIBLE");
    let headers = [("x-min-version", "p@9")];
    world.ask("GET", "/api/v1/products", &headers, "").await.expect(503, "NOT_YET_VISIBLE");
}

#[tokio::test]
async fn case_64_and_109_a_read_with_another_tenants_key_is_as_of_one_that_does_not_exist() {
    // MBC reads whatever pk the request names (109), and takes sessions by the request's tenant (64).
    let world = World::new();
    world.create("p", "1").await;
    world.project().await;
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        world.send(request("GET", path, headers, "", &token("globex", "viewer"))).await
    };
    let known = ask("/api/v1/products/none", &[]).await.expect(404, "NOT_FOUND").essence();
    for sk in ["p", "PRODUCT%23acme%23p", "p%400000000001"] {
        for query in ["", "?consistency=strong", "?version=1", "?minVersion=1", "?asOf=2999-01-01T00:00:00Z"] {
            assert_eq!(ask(&format!("/api/v1/products/{sk}{query}"), &[]).await.essence(), known, "{sk}{query}");
        }
        assert_eq!(ask(&format!("/api/v1/products/{sk}/history"), &[]).await.essence(), known);
    }
    for query in ["", "?store=data", "?store=data&sk.prefix=p", "?q=product", "?includeDeleted=true"] {
        let page = ask(&format!("/api/v1/products{query}"), &[]).await;
        assert_eq!((page.status.as_u16(), &page.json["data"]), (200, &serde_json::json!([])), "{query}");
    }
    ask("/api/v1/products", &[("x-min-version", "p@1")]).await.expect(503, "NOT_YET_VISIBLE");
}
