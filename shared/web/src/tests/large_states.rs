//! Entities whose versions are larger than an item of the ledger.

use std::sync::Arc;

use ledgerline_app::{Commands, LargeStates, Projector, Queries, Registry};
use ledgerline_testkit::MemoryBlobs;
use ledgerline_testkit::tome::Tome;
use serde_json::json;

use super::world::{TestEnvironment, World};

const TOMES: &str = "/api/v1/tomes";

/// A router over memory stores that serves tomes, as large as they are.
fn world() -> (World, MemoryBlobs) {
    let (world, blobs) = (World::new(), MemoryBlobs::default());
    let registry = Registry::default().with::<Tome>().unwrap();
    let states = LargeStates::new(registry.clone(), Arc::new(blobs.clone()));
    let ledger = Arc::new(states.over(world.ledger.clone()));
    let (rows, table) = (Arc::new(world.entities.clone()), Arc::new(states.over(world.entities.clone())));
    let environment = Arc::new(TestEnvironment::default());
    let world = world.serving(|api| {
        api.registry = registry.clone();
        api.commands = Some(Commands::new(ledger.clone(), environment.clone()));
        api.queries = Some(Queries::new(ledger, table.clone(), rows, environment));
        api.projector = Some(Projector::new(registry, vec![table]));
    });
    (world, blobs)
}

fn tome(sk: &str, body: &str) -> String {
    json!({"sk": sk, "code": sk, "name": sk, "body": body}).to_string()
}

#[tokio::test]
async fn while_the_store_of_large_states_is_away_commands_and_queries_are_503_and_nothing_is_written() {
    let (world, blobs) = world();
    let large = "x".repeat(1_000_000);
    world.ask("POST", TOMES, &[("prefer", "wait=5")], &tome("a", &large)).await.expect(201, "");
    blobs.set_away(true);
    let (before, rows) = (world.stored(), world.entities.all());

    world.ask("POST", TOMES, &[], &tome("b", &large)).await.expect(503, "UNAVAILABLE");
    let changed = json!({"body": format!("{large}!")});
    world.change("PATCH", "/api/v1/tomes/a", "\"1\"", &changed).await.expect(503, "UNAVAILABLE");
    let bulk = format!("[{},{}]", tome("c", "short"), tome("d", &large));
    world.ask("POST", "/api/v1/tomes/bulk?atomic=true", &[], &bulk).await.expect(503, "UNAVAILABLE");
    world.get("/api/v1/tomes/a").await.expect(503, "UNAVAILABLE");
    assert_eq!((world.stored(), world.entities.all(), blobs.all().len()), (before, rows, 1));

    world.ask("POST", TOMES, &[], &tome("e", "short")).await.expect(201, "");
    blobs.set_away(false);
    world.change("PATCH", "/api/v1/tomes/a", "\"1\"", &changed).await.expect(200, "");
}

#[tokio::test]
async fn a_list_by_key_leaves_out_what_cannot_be_read_and_says_how_many() {
    let (world, blobs) = world();
    let headers = [("prefer", "wait=5")];
    world.ask("POST", TOMES, &headers, &tome("a", "short")).await.expect(201, "");
    let whole = world.get(&format!("{TOMES}?store=data")).await.expect(200, "");
    assert_eq!(whole.json["meta"].get("unreadableCount"), None);
    world.ask("POST", TOMES, &headers, &tome("b", &"x".repeat(1_000_000))).await.expect(201, "");
    world.ask("POST", TOMES, &headers, &tome("c", "short")).await.expect(201, "");
    blobs.lose();
    let listed = world.get(&format!("{TOMES}?store=data")).await.expect(200, "");
    let sks: Vec<_> = listed.json["data"].as_array().unwrap().iter().map(|tome| tome["sk"].clone()).collect();
    assert_eq!((sks, &listed.json["meta"]["unreadableCount"]), (vec![json!("a"), json!("c")], &json!(1)));
    world.get(&format!("{TOMES}/b")).await.expect(500, "INTERNAL");
}

#[tokio::test]
async fn a_caller_who_waits_finds_a_large_state_in_the_read_models() {
    let (world, _) = world();
    let large = "x".repeat(1_000_000);
    let headers = [("prefer", "wait=5")];
    let answer = world.ask("POST", TOMES, &headers, &tome("a", &large)).await.expect(201, "");
    assert_eq!(answer.header("preference-applied"), "wait=5");
    let changed = json!({"body": format!("{large}!")}).to_string();
    let headers = [("prefer", "wait=5"), ("if-match", "\"1\"")];
    let answer = world.ask("PATCH", "/api/v1/tomes/a", &headers, &changed).await.expect(200, "");
    assert_eq!(answer.header("preference-applied"), "wait=5");

    let [row] = world.entities.all().try_into().unwrap();
    assert!(row.version.number() == 2 && row.attributes.as_str().is_some_and(|text| text.starts_with("kept:sha256:")));
    let read = world.get("/api/v1/tomes/a").await.expect(200, "");
    let body = read.json["data"]["attributes"]["body"].as_str();
    assert!(body == Some(&format!("{large}!")), "{}", read.body.get(..300).unwrap_or_default());
    assert_eq!(read.json["data"]["version"], json!(2));
}
