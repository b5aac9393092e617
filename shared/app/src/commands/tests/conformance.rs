//! What MBC CQRS Serverless promises of commands, case by case, and what is the case here. Numbers
//! are those of the feature study; where the behaviour differs on purpose, the test says how.

use ledgerline_kernel::ports::{EntityRead as _, LedgerRead as _};
use ledgerline_kernel::{EntityKey, Hash, VersionedKey};
use ledgerline_testkit::MemoryEntities;
use ledgerline_testkit::note::Note;

use super::*;
use crate::{Projector, Queries};

const PRICE: Action<'static> = Action::Named("change-price");

fn key() -> EntityKey {
    "PRODUCT#acme#ring".parse().unwrap()
}

impl World {
    /// The read side over the same ledger; `projected` is the read model.
    fn queries(&self, projected: &MemoryEntities) -> Queries {
        let projected = Arc::new(projected.clone());
        Queries::new(Arc::new(self.ledger.clone()), projected.clone(), projected, self.environment.clone())
    }

    async fn project(&self, rows: &MemoryEntities, items: &[VersionItem]) {
        let projector = Projector::new(self.registry.clone(), vec![Arc::new(rows.clone())]);
        projector.apply(items).await.unwrap();
    }

    async fn read(&self, rows: &MemoryEntities) -> u64 {
        let domain = self.registry.by_resource("products").unwrap().as_ref();
        let queries = self.queries(rows);
        let read = queries.get(domain, "acme".parse().unwrap(), "ring".parse().unwrap(), false, None);
        read.await.unwrap().version.number()
    }

    async fn note(&self, action: Action<'_>, body: &str) -> Result<Accepted, CommandError> {
        let registry = Registry::default().with::<Note>().unwrap();
        let domain = registry.domains().next().unwrap().as_ref();
        let if_match = (action != Action::Create).then_some(IfMatch::Any);
        self.commands.execute(CommandRequest { domain, ..self.request(action, "n", if_match, body) }).await
    }
}

#[tokio::test]
async fn case_1_a_create_writes_version_1_under_a_versioned_key() {
    let world = world();
    let item = world.create().await.item;
    let stored: VersionedKey = "ring@0000000001".parse().unwrap();
    assert_eq!(item.key.at(item.version), stored);
}

#[tokio::test]
async fn case_2_the_data_row_has_no_version_in_its_key() {
    let (world, rows) = (world(), MemoryEntities::default());
    let item = world.create().await.item;
    world.project(&rows, &[item]).await;
    assert_eq!(rows.get(&key()).await.unwrap().unwrap().key, key());
}

#[tokio::test]
async fn case_3_the_history_of_a_first_version_is_that_version() {
    // MBC keeps a history of prior rows, empty at first. Here the ledger is the history.
    let world = world();
    world.create().await;
    assert_eq!(world.ledger.history(&key(), None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn case_4_an_update_of_a_missing_entity_is_not_found() {
    // MBC answers 400, as for any bad input.
    let refused = world().change_price(exactly(1), "1").await;
    assert!(matches!(refused, Err(CommandError::NotFound(_))));
}

#[tokio::test]
async fn case_5_a_repeated_create_finds_that_it_exists() {
    let world = world();
    world.create().await;
    assert!(matches!(world.send(Action::Create, None, RING).await, Err(CommandError::AlreadyExists(_))));
}

#[tokio::test]
async fn case_6_whatever_is_newest_is_if_match_any() {
    // MBC has a magic version, -1.
    let world = world();
    world.create().await;
    world.change_price(exactly(1), "13").await.unwrap();
    assert_eq!(world.change_price(Some(IfMatch::Any), "14").await.unwrap().item.version, version(3));
    let magic = world.send(PRICE, None, r#"{"price": "15", "version": -1}"#).await;
    assert!(matches!(magic, Err(CommandError::Input(_))));
}

#[tokio::test]
async fn case_7_and_26_unchanged_input_writes_nothing_and_answers_with_what_there_is() {
    // MBC answers null.
    let world = world();
    let first = world.create().await.item;
    let same = world.change_price(exactly(1), "12.50").await.unwrap();
    assert_eq!((same.item, same.changed, world.ledger.all().len()), (first, false, 1));
}

#[tokio::test]
async fn case_8_27_28_and_33_there_is_one_way_to_write_and_no_mode_or_status_in_what_is_written() {
    // MBC writes asynchronously or synchronously, marks which, and keeps the latter from the stream.
    let world = world();
    let stored = serde_json::to_value(world.create().await.item).unwrap();
    for name in ["syncMode", "status", "taskToken"] {
        assert!(stored.get(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn case_9_30_and_110_a_users_second_edit_uses_the_version_of_the_first_answer() {
    // MBC keeps sessions so that users see their own writes; here the answer carries the version.
    let world = world();
    let mut seen = world.create().await.item.version;
    for price in ["13", "14", "15"] {
        seen = world.change_price(Some(IfMatch::Version(seen)), price).await.unwrap().item.version;
    }
    assert_eq!(seen, version(4));
}

#[tokio::test]
async fn case_10_a_patch_merges_onto_the_stated_version() {
    let world = world();
    world.create().await;
    let patched = world.send(Action::Update, exactly(1), r#"{"name": "Band"}"#).await.unwrap().item;
    assert_eq!((patched.name.as_str(), &patched.attributes()["price"]), ("Band", &json!("12.50")));
}

#[tokio::test]
async fn case_11_and_32_a_patch_of_what_is_missing_or_of_another_version_is_refused() {
    let world = world();
    let patch = r#"{"name": "Band"}"#;
    assert!(matches!(world.send(Action::Update, Some(IfMatch::Any), patch).await, Err(CommandError::NotFound(_))));
    world.create().await;
    let outdated = world.send(Action::Update, exactly(2), patch).await;
    assert!(matches!(outdated, Err(CommandError::VersionConflict { .. })));
}

#[tokio::test]
async fn case_12_and_107_a_new_version_inherits_nothing_but_the_state() {
    let world = world();
    let first = world.create().await.item;
    let request = CommandRequest {
        origin: RequestOrigin { request_id: "r2".into(), source: "other".into(), traceparent: Some("t".into()) },
        ..world.request(Action::Update, "ring", exactly(1), r#"{"name": "Band"}"#)
    };
    let second = world.commands.execute(request).await.unwrap().item;
    assert_ne!(second.command_id, first.command_id);
    assert_eq!((second.request_id.as_str(), second.source.as_str(), second.ttl), ("r2", "other", None));
    assert_eq!(second.events.len(), 1, "its own events only");
}

#[tokio::test]
async fn case_13_the_newest_version_is_found_when_the_read_model_is_behind() {
    let (world, rows) = (world(), MemoryEntities::default());
    let first = world.create().await.item;
    world.project(&rows, &[first]).await;
    world.change_price(exactly(1), "13").await.unwrap();
    assert_eq!(world.ledger.newest(&key()).await.unwrap().unwrap().version, version(2));
    // A command decides on that, not on the read model.
    assert_eq!(world.change_price(exactly(2), "14").await.unwrap().item.version, version(3));
}

#[tokio::test]
async fn case_14_there_is_no_newest_version_of_nothing() {
    assert_eq!(world().ledger.newest(&key()).await.unwrap(), None);
}

#[tokio::test]
async fn case_15_every_entity_counts_its_own_versions() {
    let world = world();
    world.create().await;
    world.change_price(exactly(1), "13").await.unwrap();
    let other = world.send(Action::Create, None, r#"{"sk": "other", "code": "O", "name": "O"}"#).await.unwrap();
    assert_eq!(other.item.version, Version::FIRST);
}

#[tokio::test]
async fn case_16_of_two_writers_at_one_version_exactly_one_wins() {
    let world = world();
    world.create().await;
    let (a, b) = futures::join!(world.change_price(exactly(1), "13"), world.change_price(exactly(1), "14"));
    assert_eq!([a.is_ok(), b.is_ok()].into_iter().filter(|won| *won).count(), 1);
    assert_eq!(world.ledger.all().len(), 2);
}

#[tokio::test]
async fn case_17_19_and_21_what_means_the_same_is_no_change() {
    let world = world();
    world.create().await;
    for same in [
        r#"{"code": "R-7", "name": "Ring", "attributes": {"price": "12.50"}}"#,
        r#"{"name": "Ring", "attributes": {"price": 12.5, "category": null}, "code": "R-7"}"#,
        r#"{"code": "R-7", "name": "Ring", "attributes": {"price": "1.25e1", "description": null, "specification": null}}"#,
    ] {
        assert!(!world.send(Action::Replace, exactly(1), same).await.unwrap().changed, "{same}");
    }
}

#[tokio::test]
async fn case_18_another_name_is_a_change() {
    let world = world();
    world.create().await;
    assert!(world.send(Action::Update, exactly(1), r#"{"name": "Band"}"#).await.unwrap().changed);
}

#[tokio::test]
async fn case_20_who_asks_and_how_is_no_change() {
    let world = world();
    world.create().await;
    let request = CommandRequest {
        caller: Caller { tenant: "acme".parse().unwrap(), user: "bob".into(), ip: "198.51.100.1".into() },
        ..world.request(PRICE, "ring", exactly(1), r#"{"price": "12.50"}"#)
    };
    assert!(!world.commands.execute(request).await.unwrap().changed);
}

#[tokio::test]
async fn case_22_an_entity_can_be_read_as_soon_as_its_command_is_answered() {
    let (world, rows) = (world(), MemoryEntities::default());
    world.create().await;
    assert_eq!(world.read(&rows).await, 1, "by key, before any projection");
}

#[tokio::test]
async fn case_23_a_wrong_version_is_a_conflict_that_names_the_current_one() {
    // MBC answers 400 or 409 by code path, and never says which version there is.
    let world = world();
    world.create().await;
    let refused = world.change_price(exactly(7), "13").await;
    assert!(matches!(refused, Err(CommandError::VersionConflict { current: Version::FIRST, .. })));
}

#[tokio::test]
async fn case_24_and_25_creating_and_changing_whatever_is_newest_need_no_version() {
    let world = world();
    assert_eq!(world.create().await.item.version, Version::FIRST);
    assert_eq!(world.change_price(Some(IfMatch::Any), "13").await.unwrap().item.version, version(2));
}

#[tokio::test]
async fn case_29_and_31_the_version_before_stays_in_the_history() {
    let world = world();
    let first = world.create().await.item;
    world.send(Action::Update, exactly(1), r#"{"name": "Band"}"#).await.unwrap();
    let history = world.ledger.history(&key(), None, 10).await.unwrap();
    assert_eq!((history[0].version, &history[1]), (version(2), &first));
}

#[tokio::test]
async fn case_34_without_retention_nothing_expires() {
    let world = world();
    world.create().await;
    world.change_price(exactly(1), "13").await.unwrap();
    assert!(world.ledger.all().iter().all(|item| item.ttl.is_none()));
}

#[tokio::test]
async fn case_35_37_39_and_112_only_versions_in_between_expire() {
    // MBC lets the first version expire too, after which a create over a living entity is accepted.
    let world = world();
    world.note(Action::Create, r#"{"sk": "n", "code": "n", "name": "n", "body": "1"}"#).await.unwrap();
    for body in ["2", "3", "4"] {
        world.note(Action::Update, &json!({"body": body}).to_string()).await.unwrap();
    }
    let expiries: Vec<_> = world.ledger.all().iter().map(|item| item.ttl).collect();
    let in_90_days = "2027-02-18T08:00:00Z".parse::<Timestamp>().unwrap().as_datetime().timestamp();
    assert_eq!(expiries, [None, Some(in_90_days), Some(in_90_days), None]);
    for item in world.ledger.all() {
        assert_eq!(item.computed_hash().unwrap(), item.hash, "an expiry breaks no chain");
    }
    let again = world.note(Action::Create, r#"{"sk": "n", "code": "n", "name": "n", "body": "1"}"#).await;
    assert!(matches!(again, Err(CommandError::AlreadyExists(_))));
}

#[tokio::test]
async fn case_36_and_38_a_caller_sets_no_expiry() {
    // In MBC a ttl in the input wins over the configured one.
    let refused = world().send(Action::Create, None, r#"{"code": "A", "name": "A", "ttl": 1}"#).await;
    assert!(matches!(refused, Err(CommandError::Input(InputError::Invalid(_)))));
}

#[test]
fn case_40_and_41_a_retention_is_a_positive_number_of_days_known_when_the_code_is_built() {
    // MBC reads it from a table at run time, throws at zero and goes on without it if that fails.
    let days: Option<std::num::NonZeroU32> = <Note as ledgerline_kernel::Domain>::RETENTION_DAYS;
    assert_eq!(days.map(std::num::NonZeroU32::get), Some(90));
}

#[test]
fn case_42_days_are_counted_on_the_calendar_over_a_leap_day() {
    let from: Timestamp = "2028-02-28T12:00:00Z".parse().unwrap();
    let later: Timestamp = (from.as_datetime() + chrono::TimeDelta::days(2)).into();
    assert_eq!(later.to_string(), "2028-03-01T12:00:00.000000Z");
}

#[tokio::test]
async fn case_43_a_state_over_350_kb_is_refused_before_it_is_written() {
    // MBC moves large attributes to S3 for every domain.
    let world = world();
    let body = "x".repeat(350 * 1024);
    let refused = world.note(Action::Create, &json!({"code": "n", "name": "n", "body": body}).to_string()).await;
    assert!(matches!(refused, Err(CommandError::TooLarge { .. })));
    assert_eq!(world.ledger.commits(), 0);
}

#[tokio::test]
async fn case_99_the_tenant_comes_from_the_caller_and_from_nowhere_else() {
    let world = world();
    let refused = world.send(Action::Create, None, r#"{"code": "A", "name": "A", "tenantCode": "other"}"#).await;
    assert!(matches!(refused, Err(CommandError::Input(InputError::Invalid(_)))));
    assert_eq!(world.create().await.item.key.partition.tenant.as_str(), "acme");
}

#[tokio::test]
async fn case_104_a_version_that_comes_before_its_predecessor_waits_for_nobody() {
    let (world, rows) = (world(), MemoryEntities::default());
    let first = world.create().await.item;
    let second = world.change_price(exactly(1), "13").await.unwrap().item;
    world.project(&rows, &[second]).await;
    assert_eq!(rows.get(&key()).await.unwrap().unwrap().version, version(2));
    world.project(&rows, &[first]).await;
    assert_eq!(rows.get(&key()).await.unwrap().unwrap().version, version(2));
}

#[tokio::test]
async fn case_105_what_a_crash_left_undone_is_done_by_the_next_delivery() {
    // MBC's synchronous publish writes six times; a crash between them wedges the entity for good.
    // Here the command is one write, and a projector that died between two read models starts over.
    let (world, first_model, second_model) = (world(), MemoryEntities::default(), MemoryEntities::default());
    let item = world.create().await.item;
    world.project(&first_model, from_ref(&item)).await;
    let both = vec![Arc::new(first_model.clone()) as _, Arc::new(second_model.clone()) as _];
    let report = Projector::new(world.registry.clone(), both).apply(from_ref(&item)).await.unwrap();
    assert_eq!((report.written, report.unchanged), (1, 1));
    assert_eq!(first_model.all(), second_model.all());
    assert_eq!(world.change_price(exactly(1), "13").await.unwrap().item.version, version(2), "nothing is wedged");
}

#[tokio::test]
async fn case_108_a_change_is_stamped_with_who_made_it() {
    let world = world();
    world.create().await;
    let request = CommandRequest {
        caller: Caller { tenant: "acme".parse().unwrap(), user: "bob".into(), ip: "198.51.100.1".into() },
        ..world.request(PRICE, "ring", exactly(1), r#"{"price": "13"}"#)
    };
    let item = world.commands.execute(request).await.unwrap().item;
    assert_eq!((item.created.by.as_str(), item.updated.by.as_str()), ("ann", "bob"));
    assert_eq!(item.updated.ip, "198.51.100.1");
}

#[tokio::test]
async fn case_113_a_sort_key_with_the_separators_in_it_stays_one_entity() {
    let world = world();
    for sk in ["a", "a@1", "a@0000000001", "a#b", "a%40"] {
        let body = json!({"sk": sk, "code": sk, "name": sk}).to_string();
        let item = world.send(Action::Create, None, &body).await.unwrap().item;
        assert_eq!((item.key.sk.as_str(), item.version), (sk, Version::FIRST));
        assert_eq!(item.prev_hash, Hash::genesis());
        assert_eq!(item.key.to_string().parse(), Ok(item.key.clone()));
    }
    assert_eq!(world.ledger.all().len(), 5);
}
