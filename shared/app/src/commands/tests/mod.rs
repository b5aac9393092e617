use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use ledgerline_kernel::input::InputError;
use ledgerline_kernel::ports::{CommitError, StoreError};
use ledgerline_kernel::{Draft, Timestamp};
use ledgerline_testkit::MemoryLedger;
use serde_json::json;

use super::*;
use crate::Registry;

/// Repeats itself exactly: one moment, ids counted from 1, waits noted instead of waited.
#[derive(Default)]
struct Still {
    ids: AtomicU32,
    waits: Mutex<Vec<u32>>,
}

#[async_trait]
impl Environment for Still {
    fn now(&self) -> Timestamp {
        "2026-11-20T08:00:00Z".parse().unwrap()
    }

    fn new_id(&self) -> String {
        format!("id-{}", self.ids.fetch_add(1, Ordering::Relaxed) + 1)
    }

    async fn back_off(&self, attempt: u32) {
        self.waits.lock().unwrap().push(attempt);
    }
}

struct World {
    ledger: MemoryLedger,
    environment: Arc<Still>,
    commands: Commands,
    registry: Registry,
}

fn world() -> World {
    let ledger = MemoryLedger::default();
    let environment = Arc::new(Still::default());
    let commands = Commands::new(Arc::new(ledger.clone()), environment.clone());
    World { ledger, environment, commands, registry: Registry::shipped().unwrap() }
}

impl World {
    async fn send(&self, action: Action<'_>, if_match: Option<IfMatch>, body: &str) -> Result<Accepted, CommandError> {
        self.send_as("acme", action, if_match, body).await
    }

    async fn send_as(
        &self,
        tenant: &str,
        action: Action<'_>,
        if_match: Option<IfMatch>,
        body: &str,
    ) -> Result<Accepted, CommandError> {
        let request = CommandRequest {
            caller: Caller { tenant: tenant.parse().unwrap(), user: "ann".into(), ip: "192.0.2.1".into() },
            ..self.request(action, "ring", if_match, body)
        };
        self.commands.execute(request).await
    }

    fn request<'a>(
        &'a self,
        action: Action<'a>,
        sk: &str,
        if_match: Option<IfMatch>,
        body: &'a str,
    ) -> CommandRequest<'a> {
        CommandRequest {
            domain: self.registry.by_resource("products").unwrap().as_ref(),
            action,
            sk: (action != Action::Create).then(|| sk.parse().unwrap()),
            if_match,
            idempotency_key: None,
            body,
            caller: Caller { tenant: "acme".parse().unwrap(), user: "ann".into(), ip: "192.0.2.1".into() },
            origin: RequestOrigin { request_id: "r".into(), source: "test".into(), traceparent: None },
        }
    }

    async fn create(&self) -> Accepted {
        self.send(Action::Create, None, RING).await.unwrap()
    }

    async fn change_price(&self, if_match: Option<IfMatch>, price: &str) -> Result<Accepted, CommandError> {
        self.send(Action::Named("change-price"), if_match, &json!({"price": price}).to_string()).await
    }

    /// Another process, which writes the next version of `ring` at once.
    fn rival(&self) -> impl FnOnce(&MemoryLedger) + Send + use<> {
        |ledger: &MemoryLedger| {
            let newest = ledger.all().pop().unwrap();
            let mut state = newest.state.clone();
            state["name"] = json!("Rival's ring");
            let draft = Draft {
                code: newest.code.clone(),
                name: "Rival's ring".into(),
                is_deleted: newest.is_deleted,
                events: newest.events.clone(),
                state,
                command_id: "rival".into(),
                request_id: "rival".into(),
                source: "test".into(),
                traceparent: None,
                stamp: newest.updated.clone(),
            };
            let version = newest.version.next().unwrap();
            ledger.insert(VersionItem::chain(newest.key.clone(), version, Some(&newest), draft).unwrap());
        }
    }
}

const RING: &str = r#"{"sk": "ring", "code": "R-7", "name": "Ring", "attributes": {"price": "12.50"}}"#;

fn unavailable(reason: &str) -> CommitError {
    StoreError::Unavailable { store: "ledger", reason: reason.to_owned() }.into()
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn exactly(number: u64) -> Option<IfMatch> {
    Some(IfMatch::Version(version(number)))
}

#[tokio::test]
async fn a_create_is_one_write_and_no_read() {
    let world = world();
    let accepted = world.create().await;
    assert_eq!((accepted.item.version, accepted.changed), (Version::FIRST, true));
    assert_eq!((world.ledger.reads(), world.ledger.commits()), (0, 1));
    assert_eq!(world.ledger.all(), [accepted.item]);
}

#[tokio::test]
async fn an_accepted_update_is_one_read_and_one_write() {
    let world = world();
    let first = world.create().await.item;
    let accepted = world.change_price(exactly(1), "13").await.unwrap();
    assert_eq!((accepted.item.version, &accepted.item.prev_hash), (version(2), &first.hash));
    assert_eq!((world.ledger.reads(), world.ledger.commits()), (1, 2));
}

#[tokio::test]
async fn a_create_without_a_sort_key_gets_one_of_its_own() {
    let world = world();
    let accepted = world.send(Action::Create, None, r#"{"code": "A", "name": "A"}"#).await.unwrap();
    assert_eq!(accepted.item.key.to_string(), "PRODUCT#acme#id-2");
}

#[tokio::test]
async fn a_create_that_expects_a_version_is_refused_before_any_store_is_touched() {
    let world = world();
    for if_match in [Some(IfMatch::Any), exactly(1)] {
        let refused = world.send(Action::Create, if_match, RING).await;
        assert!(matches!(refused, Err(CommandError::NothingToMatch)), "{refused:?}");
    }
    assert_eq!((world.ledger.reads(), world.ledger.commits()), (0, 0));
}

#[tokio::test]
async fn a_second_create_finds_it_exists() {
    let world = world();
    world.create().await;
    assert!(matches!(world.send(Action::Create, None, RING).await, Err(CommandError::AlreadyExists(_))));
    assert_eq!(world.ledger.all().len(), 1);
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_a_success() {
    let world = world();
    world.ledger.lose_next_answer();
    assert!(world.create().await.changed);
    assert_eq!(world.ledger.all().len(), 1);
}

#[tokio::test]
async fn an_update_whose_answer_was_lost_is_a_success_and_written_once() {
    let world = world();
    world.create().await;
    world.ledger.lose_next_answer();
    let accepted = world.change_price(exactly(1), "13").await.unwrap();
    assert_eq!((accepted.item.version, accepted.changed, world.ledger.all().len()), (version(2), true, 2));
}

#[tokio::test]
async fn an_update_needs_an_expected_version_before_anything_is_read() {
    let world = world();
    world.create().await;
    assert!(matches!(world.change_price(None, "13").await, Err(CommandError::PreconditionRequired)));
    assert_eq!(world.ledger.reads(), 0);
}

#[tokio::test]
async fn another_version_than_expected_is_a_conflict_that_says_where_it_was_given() {
    let world = world();
    world.create().await;
    world.change_price(exactly(1), "13").await.unwrap();
    let by_header = world.change_price(exactly(1), "14").await.unwrap_err();
    let CommandError::VersionConflict { expected, current, given_in } = by_header else { panic!("{by_header}") };
    assert_eq!((expected, current, given_in), (version(1), version(2), VersionSource::Header));
    let body = r#"{"price": "14", "version": 1}"#;
    let by_body = world.send(Action::Named("change-price"), None, body).await.unwrap_err();
    assert!(matches!(by_body, CommandError::VersionConflict { given_in: VersionSource::Body, .. }));
    assert_eq!(world.ledger.all().len(), 2);
}

#[tokio::test]
async fn a_header_and_a_body_that_disagree_are_refused() {
    let world = world();
    world.create().await;
    let sent = world.send(Action::Delete, exactly(1), r#"{"version": 2}"#).await;
    assert!(matches!(sent, Err(CommandError::ContradictoryVersions)));
}

#[tokio::test]
async fn who_loses_the_race_with_an_expected_version_gets_a_conflict_with_the_winners_version() {
    let world = world();
    world.create().await;
    world.ledger.before_next_commit(world.rival());
    let lost = world.change_price(exactly(1), "13").await.unwrap_err();
    assert!(matches!(lost, CommandError::VersionConflict { current, .. } if current == version(2)));
    assert_eq!(world.ledger.all().len(), 2, "the rival's version and no other");
}

#[tokio::test]
async fn who_loses_the_race_without_one_decides_again_on_what_the_winner_left() {
    let world = world();
    world.create().await;
    world.ledger.before_next_commit(world.rival());
    world.ledger.before_next_commit(world.rival());
    let accepted = world.change_price(Some(IfMatch::Any), "13").await.unwrap();
    assert_eq!((accepted.item.version, accepted.item.name.as_str()), (version(4), "Rival's ring"));
    assert_eq!(*world.environment.waits.lock().unwrap(), [1, 2]);
}

#[tokio::test]
async fn who_loses_every_race_gives_up_after_five_retries() {
    let world = world();
    world.create().await;
    for _ in 0..20 {
        world.ledger.before_next_commit(world.rival());
    }
    let lost = world.change_price(Some(IfMatch::Any), "13").await.unwrap_err();
    assert!(matches!(lost, CommandError::Contended(_)));
    assert_eq!(*world.environment.waits.lock().unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(world.ledger.all().len(), 7, "six rivals, nothing of ours");
}

#[tokio::test]
async fn nothing_to_do_writes_nothing_and_answers_with_what_there_is() {
    let world = world();
    let first = world.create().await.item;
    let accepted = world.change_price(exactly(1), "12.5").await.unwrap();
    assert_eq!((accepted.item, accepted.changed), (first, false));
    assert_eq!(world.ledger.commits(), 1);
}

#[tokio::test]
async fn a_refusal_carries_the_domains_code_and_writes_nothing() {
    let world = world();
    world.create().await;
    world.send(Action::Delete, exactly(1), "").await.unwrap();
    let refused = world.change_price(Some(IfMatch::Any), "13").await.unwrap_err();
    assert!(matches!(refused, CommandError::Refused { code: "PRODUCT_DELETED", .. }), "{refused}");
    assert_eq!(world.ledger.all().len(), 2);
}

#[tokio::test]
async fn a_bad_body_is_refused_before_any_store_is_touched() {
    let world = world();
    world.ledger.fail_next_commit(unavailable("never asked"));
    let refused = world.send(Action::Create, None, r#"{"code": 7}"#).await.unwrap_err();
    assert!(matches!(refused, CommandError::Input(InputError::Invalid(_))), "{refused}");
    assert_eq!((world.ledger.reads(), world.ledger.commits()), (0, 0));
}

#[tokio::test]
async fn an_unknown_entity_and_another_tenants_are_both_not_found() {
    let world = world();
    world.create().await;
    let other = world.send_as("other", Action::Delete, Some(IfMatch::Any), "").await.unwrap_err();
    assert!(matches!(other, CommandError::NotFound(_)));
    assert_eq!(world.ledger.all().len(), 1);
}

#[tokio::test]
async fn a_store_that_fails_is_not_mistaken_for_a_conflict() {
    let world = world();
    world.create().await;
    world.ledger.fail_next_commit(unavailable("throttled"));
    assert!(matches!(world.change_price(exactly(1), "13").await, Err(CommandError::Store(_))));
    assert_eq!(world.ledger.all().len(), 1);
}

#[tokio::test]
async fn a_state_that_the_domain_cannot_read_is_corrupt_and_not_a_panic() {
    let world = world();
    let mut item = world.create().await.item;
    item.version = version(2);
    item.state = json!({"code": 7});
    world.ledger.insert(item);
    assert!(matches!(world.change_price(Some(IfMatch::Any), "13").await, Err(CommandError::Corrupt(_))));
}

mod claims;
mod conformance;
mod idempotency;
mod together;
