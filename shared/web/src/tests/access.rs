//! Who may do what, and for whom.

use serde_json::{Value, json};

use super::issuer::{ELLIPTIC, claims_with, signed, token};
use super::world::{World, product, request};

/// Every route but `healthz`, with a body that works on the product `p` at version 1.
const ROUTES: [(&str, &str, &str); 11] = [
    ("GET", "/api/v1/products", ""),
    ("GET", "/api/v1/products/p", ""),
    ("GET", "/api/v1/products/p/history", ""),
    ("POST", "/api/v1/products", r#"{"code": "c", "name": "n"}"#),
    ("POST", "/api/v1/products/bulk", r#"[{"code": "c", "name": "n"}]"#),
    ("POST", "/api/v1/products/bulk?atomic=true", r#"[{"code": "c", "name": "n"}]"#),
    ("PUT", "/api/v1/products/p", r#"{"code": "c", "name": "n"}"#),
    ("PATCH", "/api/v1/products/p", r#"{"name": "n"}"#),
    ("DELETE", "/api/v1/products/p", ""),
    ("POST", "/api/v1/products/p/restore", ""),
    ("POST", "/api/v1/products/p/commands/change-price", r#"{"price": "2"}"#),
];

async fn world_with_p() -> World {
    let world = World::new();
    world.create("p", "1").await;
    world.project().await;
    world
}

#[tokio::test]
async fn each_role_may_do_exactly_its_part() {
    for (roles, reads, writes) in [
        ("viewer", true, false),
        ("editor", true, true),
        ("admin", true, true),
        ("system_admin", true, true),
        ("", false, false),
        ("Viewer", false, false),
        ("superuser", false, false),
        ("viewer, editor", true, true),
        ("someone viewer", true, false),
    ] {
        for (method, path, body) in ROUTES {
            let world = world_with_p().await;
            let of_one = path.starts_with("/api/v1/products/p");
            let headers = if of_one { &[("if-match", "*")][..] } else { &[] };
            let answer = world.send(request(method, path, headers, body, &token("acme", roles))).await;
            let allowed = if method == "GET" { reads } else { writes };
            if allowed {
                assert!(answer.status.is_success(), "{roles:?} {method} {path}: {}", answer.json);
            } else {
                answer.expect(403, "FORBIDDEN");
                assert_eq!(world.stored().len(), 1);
            }
        }
    }
}

#[tokio::test]
async fn without_a_good_token_every_route_is_401() {
    let world = world_with_p().await;
    let expired = signed(&claims_with("exp", json!(1)), &ELLIPTIC);
    for (method, path, body) in ROUTES {
        for token in ["", "garbage", &expired] {
            let answer = world.send(request(method, path, &[("if-match", "*")], body, token)).await;
            let answer = answer.expect(401, "UNAUTHORIZED");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
    }
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn health_needs_no_token() {
    let world = World::new();
    for path in ["/healthz", "/api/v1/healthz"] {
        let answer = world.send(request("GET", path, &[], "", "")).await;
        assert_eq!((answer.status.as_u16(), &answer.json["data"]["status"]), (200, &json!("ok")));
    }
}

#[tokio::test]
async fn a_token_without_a_usable_tenant_is_403() {
    let world = world_with_p().await;
    for tenant in [Value::Null, json!(""), json!("ACME"), json!("a#b"), json!("acme "), json!("-acme")] {
        let token = signed(&claims_with("custom:tenant", tenant), &ELLIPTIC);
        for (method, path, body) in ROUTES {
            world.send(request(method, path, &[("if-match", "*")], body, &token)).await.expect(403, "FORBIDDEN");
        }
    }
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn another_tenants_entity_is_the_same_as_none() {
    let world = world_with_p().await;
    let theirs = token("globex", "admin");
    let before = world.stored();
    for (method, path, body) in ROUTES.into_iter().filter(|(_, path, _)| path.starts_with("/api/v1/products/p")) {
        let missing = path.replacen("/products/p", "/products/none", 1);
        for if_match in ["*", "\"1\"", "\"7\""] {
            let headers = [("if-match", if_match)];
            let one = world.send(request(method, path, &headers, body, &theirs)).await;
            let other = world.send(request(method, &missing, &headers, body, &theirs)).await;
            assert_eq!(one.essence(), other.essence(), "{method} {path}");
            one.expect(404, "NOT_FOUND");
        }
    }
    assert_eq!(world.stored(), before);
    let list = world.send(request("GET", "/api/v1/products?includeDeleted=true&total=true", &[], "", &theirs)).await;
    assert_eq!((&list.json["data"], &list.json["meta"]["totalCount"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn two_tenants_can_use_the_same_key() {
    let world = world_with_p().await;
    let theirs = token("globex", "admin");
    let created = world.send(request("POST", "/api/v1/products", &[], &product("p", "9").to_string(), &theirs)).await;
    assert_eq!((created.status.as_u16(), &created.json["data"]["tenantCode"]), (201, &json!("globex")));
    assert_eq!(world.get("/api/v1/products/p").await.json["data"]["attributes"]["price"], json!("1"));
}

#[tokio::test]
async fn a_cursor_of_another_tenant_is_refused() {
    let world = world_with_p().await;
    world.create("q", "1").await;
    world.project().await;
    let next = world.get("/api/v1/products?limit=1").await.json["links"]["next"].as_str().unwrap().to_owned();
    let answer = world.send(request("GET", &next, &[], "", &token("globex", "admin"))).await;
    answer.expect(400, "INVALID_CURSOR");
}

#[tokio::test]
async fn only_a_system_admin_may_name_another_tenant() {
    let world = world_with_p().await;
    let asking = |roles: &str, code: &str| {
        world.send(request("GET", "/api/v1/products/p", &[("x-tenant-code", code)], "", &token("globex", roles)))
    };
    assert_eq!(asking("system_admin", "acme").await.json["data"]["tenantCode"], json!("acme"));
    asking("system_admin", "globex").await.expect(404, "NOT_FOUND");
    asking("system_admin", "No Tenant").await.expect(400, "INVALID_PARAMETER");
    for roles in ["viewer", "editor", "admin"] {
        asking(roles, "acme").await.expect(403, "FORBIDDEN");
        asking(roles, "ACME").await.expect(403, "FORBIDDEN");
        asking(roles, "").await.expect(403, "FORBIDDEN");
        asking(roles, "globex").await.expect(404, "NOT_FOUND");
    }
    let homeless = signed(&json_roles(claims_with("custom:tenant", Value::Null), "system_admin"), &ELLIPTIC);
    let answer = world.send(request("GET", "/api/v1/products/p", &[("x-tenant-code", "acme")], "", &homeless)).await;
    assert_eq!(answer.status.as_u16(), 200);
}

fn json_roles(mut claims: Value, roles: &str) -> Value {
    claims["custom:roles"] = json!(roles);
    claims
}

#[tokio::test]
async fn what_a_router_does_not_serve_is_405_and_allow_still_names_the_whole_api() {
    for (path, allow) in [
        ("/api/v1/products", "GET, HEAD, POST"),
        ("/api/v1/products/p", "DELETE, GET, HEAD, PATCH, PUT"),
        ("/api/v1/products/bulk", "DELETE, GET, HEAD, PATCH, POST, PUT"),
        ("/api/v1/products/p/history", "GET, HEAD"),
        ("/api/v1/products/p/restore", "POST"),
        ("/api/v1/products/p/commands/change-price", "POST"),
        ("/healthz", "GET, HEAD"),
    ] {
        let whole = World::new();
        let reads = World::new().serving(|api| api.commands = None);
        let writes = World::new().serving(|api| api.queries = None);
        for (world, method) in [(&whole, "BREW"), (&reads, "BREW"), (&writes, "BREW")] {
            let answer = world.ask(method, path, &[], "").await.expect(405, "METHOD_NOT_ALLOWED");
            assert_eq!(answer.header("allow"), allow, "{path}");
        }
        // What Allow names is there, and nothing else is.
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let answer = whole.ask(method, path, &[], "").await;
            let named = allow.split(", ").any(|name| name == method);
            assert_eq!(answer.status.as_u16() != 405, named, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_router_without_commands_or_queries_answers_405_for_them() {
    let world = world_with_p().await.serving(|api| api.commands = None);
    for (method, path, body) in ROUTES {
        let answer = world.ask(method, path, &[("if-match", "*")], body).await;
        if method == "GET" {
            assert_eq!(answer.status.as_u16(), 200, "{path}");
        } else {
            answer.expect(405, "METHOD_NOT_ALLOWED");
        }
    }
    let world = world_with_p().await.serving(|api| api.queries = None);
    for (_, path, _) in ROUTES.into_iter().filter(|(method, ..)| *method == "GET") {
        world.get(path).await.expect(405, "METHOD_NOT_ALLOWED");
    }
}
