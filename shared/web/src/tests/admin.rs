//! What an administrator can do about the read models of a tenant.

use ledgerline_kernel::EntityKey;
use ledgerline_kernel::ports::{Poison, Quarantine as _, STRIKES};
use serde_json::{Value, json};

use super::issuer::token;
use super::world::{World, request};

const RESYNC: &str = "/api/v1/admin/products/resync";
const QUARANTINE: &str = "/api/v1/admin/quarantine";
const REDRIVE: &str = "/api/v1/admin/quarantine/redrive";

/// A product `p` that the read models have and a product `q` that they lack.
async fn world() -> World {
    let world = World::new();
    world.create("p", "1").await;
    world.project().await;
    world.create("q", "1").await;
    world
}

async fn send(world: &World, tenant: &str, role: &str, method: &str, path: &str, body: &str) -> super::world::Answer {
    world.send(request(method, path, &[], body, &token(tenant, role))).await
}

async fn quarantined(world: &World, id: &str) {
    let key: EntityKey = id.parse().unwrap();
    let poison = Poison {
        record: id.to_owned(),
        version: Some((key, "1".parse().unwrap())),
        error: "it does not fit".to_owned(),
        image: Value::Null,
    };
    for _ in 0..STRIKES {
        world.quarantine.strike("memory", &poison).await.unwrap();
    }
}

#[tokio::test]
async fn only_administrators_operate_read_models() {
    let world = world().await;
    for (method, path) in [("POST", RESYNC), ("GET", "/api/v1/admin/resyncs/1"), ("GET", QUARANTINE), ("POST", REDRIVE)]
    {
        for (role, status) in [("viewer", 403), ("editor", 403), ("", 403)] {
            let answer = send(&world, "acme", role, method, path, "").await;
            assert_eq!(answer.status.as_u16(), status, "{role} {method} {path}");
        }
        for role in ["admin", "system_admin"] {
            let answer = send(&world, "acme", role, method, path, "").await;
            assert!(![401, 403, 405].contains(&answer.status.as_u16()), "{role} {method} {path}");
        }
    }
}

#[tokio::test]
async fn a_resync_of_one_entity_is_done_at_once_and_its_outcome_can_be_read() {
    let world = world().await;
    let answer = send(&world, "acme", "admin", "POST", RESYNC, r#"{"sk": "q"}"#).await;
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.json);
    let data = &answer.json["data"];
    assert_eq!((&data["state"], &data["sk"], &data["resource"]), (&json!("done"), &json!("q"), &json!("products")));
    assert_eq!(data["report"]["counts"]["repaired"], json!(1));
    assert_eq!(world.entities.all().len(), 2);
    let outcome = send(&world, "acme", "admin", "GET", answer.header("location"), "").await;
    assert_eq!((outcome.status.as_u16(), &outcome.json["data"]), (200, data));
    send(&world, "other", "admin", "GET", answer.header("location"), "").await.expect(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_resync_of_a_tenant_is_written_down() {
    let world = world().await;
    for body in ["", "{}"] {
        let answer = send(&world, "acme", "admin", "POST", RESYNC, body).await;
        assert_eq!((answer.status.as_u16(), &answer.json["data"]["state"]), (202, &json!("asked")));
        assert_eq!(answer.json["data"]["report"], Value::Null);
    }
    assert_eq!(world.entities.all().len(), 1, "the reconciler does it later");
    let [first, second] = [
        send(&world, "acme", "admin", "POST", RESYNC, "").await,
        send(&world, "acme", "admin", "POST", RESYNC, "{}").await,
    ];
    assert_eq!(first.json["data"]["id"], second.json["data"]["id"], "it is under way already");
    assert_eq!(first.header("location"), second.header("location"));
    send(&world, "acme", "admin", "POST", RESYNC, r#"{"sk": 1}"#).await.expect(400, "VALIDATION_ERROR");
    send(&world, "acme", "admin", "POST", RESYNC, r#"{"tenant": "other"}"#).await.expect(400, "VALIDATION_ERROR");
    let nowhere = "/api/v1/admin/nothings/resync";
    send(&world, "acme", "admin", "POST", nowhere, "").await.expect(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_tenant_sees_its_own_quarantine_page_by_page() {
    let world = world().await;
    for id in ["PRODUCT#acme#a", "PRODUCT#acme#b", "PRODUCT#acme#c", "PRODUCT#other#a"] {
        quarantined(&world, id).await;
    }
    let (mut ids, mut path) = (Vec::new(), format!("{QUARANTINE}?limit=2"));
    loop {
        let page = send(&world, "acme", "admin", "GET", &path, "").await;
        for held in page.json["data"].as_array().unwrap() {
            assert_eq!((&held["error"], &held["version"]), (&json!("it does not fit"), &json!(1)));
            ids.push(held["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page.json["links"]["next"].as_str() else { break };
        path = next.to_owned();
    }
    assert_eq!(ids, ["PRODUCT#acme#a", "PRODUCT#acme#b", "PRODUCT#acme#c"]);
    let forged = format!("{QUARANTINE}?cursor=forged");
    send(&world, "acme", "admin", "GET", &forged, "").await.expect(400, "INVALID_CURSOR");
}

#[tokio::test]
async fn a_redrive_heals_what_the_ledger_has_releases_what_it_has_not_and_touches_no_other_tenant() {
    let world = world().await;
    for id in ["PRODUCT#acme#q", "PRODUCT#acme#nobody", "PRODUCT#other#q"] {
        quarantined(&world, id).await;
    }
    let foreign = r#"{"id": "PRODUCT#other#q"}"#;
    send(&world, "acme", "admin", "POST", REDRIVE, foreign).await.expect(404, "NOT_FOUND");
    let answer = send(&world, "acme", "admin", "POST", REDRIVE, "").await;
    assert_eq!(answer.json["data"], json!({"healed": 2, "refused": 0, "unknown": 0}));
    assert_eq!(world.entities.all().len(), 2);
    let answer = send(&world, "other", "admin", "POST", REDRIVE, r#"{"id": "PRODUCT#other#q"}"#).await;
    assert_eq!(answer.json["data"], json!({"healed": 1, "refused": 0, "unknown": 0}));
}
