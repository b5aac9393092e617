//! What the stores and other callers do to a request.

use std::sync::Arc;

use async_trait::async_trait;
use ledgerline_app::Queries;
use ledgerline_kernel::ports::{EntityList, EntityRead, KeyPage, KeyQuery, ListPage, ListQuery, StoreError};
use ledgerline_kernel::{DynDomain, Entity, EntityKey, SortKey, TenantCode, Version};
use serde_json::json;

use super::world::{TestEnvironment, World, product};

const PRODUCTS: &str = "/api/v1/products";
const PRODUCT: &str = "/api/v1/products/p";

#[tokio::test]
async fn an_older_version_than_the_newest_is_a_conflict_that_names_it() {
    let world = World::new();
    world.create("p", "1").await;
    world.change("PATCH", PRODUCT, "\"1\"", &json!({"name": "n2"})).await;
    let header = world.change("PATCH", PRODUCT, "\"1\"", &json!({"name": "n3"})).await.expect(412, "VERSION_CONFLICT");
    assert_eq!(header.json["currentVersion"], json!(2));
    let body = world.ask("PATCH", PRODUCT, &[], r#"{"name": "n3", "version": 1}"#).await;
    assert_eq!(body.expect(409, "VERSION_CONFLICT").json["currentVersion"], json!(2));
    assert_eq!(world.stored().len(), 2);
}

#[tokio::test]
async fn a_lost_race_at_the_same_version_is_a_conflict_that_names_the_winner() {
    let world = World::new();
    world.create("p", "1").await;
    let twin = World::new();
    twin.create("p", "1").await;
    twin.change("PATCH", PRODUCT, "*", &json!({"name": "theirs"})).await;
    let theirs = twin.stored().pop().unwrap();
    world.ledger.before_next_commit(move |ledger| ledger.insert(theirs));
    let answer = world.change("PATCH", PRODUCT, "\"1\"", &json!({"name": "ours"})).await;
    assert_eq!(answer.expect(412, "VERSION_CONFLICT").json["currentVersion"], json!(2));
}

#[tokio::test]
async fn a_create_of_what_exists_is_refused_deleted_or_not() {
    let world = World::new();
    world.create("p", "1").await;
    let create = || async { world.ask("POST", "/api/v1/products", &[], &product("p", "2").to_string()).await };
    create().await.expect(409, "ALREADY_EXISTS");
    world.change("DELETE", PRODUCT, "*", &json!(null)).await;
    create().await.expect(409, "ALREADY_EXISTS");
    assert_eq!(world.stored().len(), 2);
}

#[tokio::test]
async fn a_create_that_expects_a_version_is_412_and_one_that_expects_none_is_a_create() {
    let world = World::new();
    let body = product("p", "1").to_string();
    for tag in ["*", "\"1\""] {
        let headers = [("if-match", tag), ("idempotency-key", "k")];
        let refused = world.ask("POST", PRODUCTS, &headers, &body).await.expect(412, "VERSION_CONFLICT");
        assert_eq!(refused.json["detail"], json!("a create has no version to match: leave If-Match out"), "{tag}");
        assert_eq!(refused.json.get("currentVersion"), None);
    }
    assert_eq!((world.stored(), world.ledger.records()), (vec![], vec![]));
    let if_none = [("if-none-match", "*")];
    world.ask("POST", PRODUCTS, &if_none, &body).await.expect(201, "");
    world.ask("POST", PRODUCTS, &if_none, &body).await.expect(409, "ALREADY_EXISTS");
    world.ask("POST", PRODUCTS, &[("if-match", "*")], &body).await.expect(412, "VERSION_CONFLICT");
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn a_condition_that_a_command_does_not_keep_is_400_and_named() {
    let world = World::new();
    world.create("p", "1").await;
    for (method, path, body) in [
        ("PUT", PRODUCT, r#"{"code": "c", "name": "n"}"#),
        ("PATCH", PRODUCT, r#"{"name": "n"}"#),
        ("DELETE", PRODUCT, ""),
        ("POST", "/api/v1/products/p/restore", ""),
    ] {
        let headers = [("if-none-match", "*"), ("if-match", "*")];
        let refused = world.ask(method, path, &headers, body).await.expect(400, "INVALID_PARAMETER");
        assert_eq!(refused.json["errors"][0]["path"], json!("If-None-Match"), "{method}");
    }
    for header in ["If-Match", "If-None-Match"] {
        for path in ["/api/v1/products/bulk", "/api/v1/products/bulk?atomic=true"] {
            let batch = json!([product("q", "1")]).to_string();
            let refused = world.ask("POST", path, &[(header, "*")], &batch).await.expect(400, "INVALID_PARAMETER");
            assert_eq!(refused.json["errors"][0]["path"], json!(header), "{path}");
        }
    }
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_commands_headers_and_parameters_is_in_one_answer() {
    let world = World::new();
    let headers = [("if-match", "1"), ("if-none-match", "\"1\""), ("idempotency-key", "")];
    for (path, names) in [
        ("/api/v1/products?atomic=true", &["Idempotency-Key", "If-Match", "If-None-Match", "atomic"][..]),
        (
            "/api/v1/products/bulk?atomic=yes&limit=1",
            &["Idempotency-Key", "atomic", "If-Match", "If-None-Match", "limit"],
        ),
    ] {
        let answer = world.ask("POST", path, &headers, "").await.expect(400, "INVALID_PARAMETER");
        let problems = answer.json["errors"].as_array().unwrap();
        assert_eq!(problems.iter().map(|problem| &problem["path"]).collect::<Vec<_>>(), names, "{path}");
    }
}

#[tokio::test]
async fn a_domains_refusal_is_422_with_its_own_code() {
    let world = World::new();
    world.create("p", "1").await;
    world.change("DELETE", PRODUCT, "*", &json!(null)).await;
    let answer = world.change("PATCH", PRODUCT, "*", &json!({"name": "n"})).await.expect(422, "PRODUCT_DELETED");
    assert_eq!(answer.json["detail"], json!("the product is deleted; restore it first"));
}

#[tokio::test]
async fn a_contended_entity_is_409_with_retry_after() {
    let world = World::new();
    world.create("p", "1").await;
    // Each time just before our append, somebody else's change takes the place.
    let rival = World::new();
    rival.create("p", "1").await;
    for number in 0..6 {
        rival.change("PATCH", PRODUCT, "*", &json!({"name": format!("rival {number}")})).await;
        let theirs = rival.stored().pop().unwrap();
        world.ledger.before_next_commit(move |ledger| ledger.insert(theirs));
    }
    let answer = world.change("PATCH", PRODUCT, "*", &json!({"name": "ours"})).await.expect(409, "CONTENDED");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn a_ledger_that_is_not_available_is_503_with_retry_after_and_without_its_words() {
    let world = World::new();
    world
        .ledger
        .fail_next_commit(StoreError::Unavailable { store: "dynamodb", reason: "secret host".to_owned() }.into());
    let answer = world.ask("POST", "/api/v1/products", &[], &product("p", "1").to_string()).await;
    let answer = answer.expect(503, "UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!answer.json.to_string().contains("secret") && !answer.json.to_string().contains("dynamodb"));
    assert_eq!(world.stored(), []);
}

#[tokio::test]
async fn a_ledger_that_refuses_is_500_without_its_words() {
    let world = World::new();
    world.ledger.fail_next_commit(StoreError::Rejected { store: "dynamodb", reason: "secret table".to_owned() }.into());
    let answer = world.ask("POST", "/api/v1/products", &[], &product("p", "1").to_string()).await;
    assert!(!answer.expect(500, "INTERNAL").json.to_string().contains("secret"));
}

#[tokio::test]
async fn a_panicking_store_is_500_and_the_next_request_is_served() {
    struct Panics;
    #[async_trait]
    impl EntityRead for Panics {
        async fn get(&self, _: &EntityKey) -> Result<Option<Entity>, StoreError> {
            panic!("secret state")
        }

        async fn range(&self, _: &KeyQuery) -> Result<KeyPage, StoreError> {
            panic!("secret state")
        }
    }
    #[async_trait]
    impl EntityList for Panics {
        async fn list(&self, _: &dyn DynDomain, _: &ListQuery) -> Result<ListPage, StoreError> {
            Err(StoreError::Unavailable { store: "postgres", reason: "secret host".to_owned() })
        }

        async fn versions(
            &self,
            _: &dyn DynDomain,
            _: &TenantCode,
            _: &[SortKey],
        ) -> Result<Vec<(SortKey, Version)>, StoreError> {
            panic!("secret state")
        }
    }
    let world = World::new();
    let ledger = Arc::new(world.ledger.clone());
    let environment = Arc::new(TestEnvironment::default());
    let queries = Queries::new(ledger, Arc::new(Panics), Arc::new(Panics), environment);
    let world = world.serving(|api| api.queries = Some(queries));
    let answer = world.get(PRODUCT).await.expect(500, "INTERNAL");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert!(!answer.json.to_string().contains("secret"));
    assert_eq!(world.get("/api/v1/products").await.expect(503, "UNAVAILABLE").header("retry-after"), "1");
}
