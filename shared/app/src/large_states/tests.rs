use ledgerline_kernel::ports::{
    CommitError, EntityRead as _, LedgerAudit as _, LedgerRead as _, LedgerScan as _, LedgerWrite as _, StateSink as _,
};
use ledgerline_kernel::{Action, Commit, Entity};
use ledgerline_testkit::note::Note;
use ledgerline_testkit::tome::Tome;
use ledgerline_testkit::{MemoryBlobs, MemoryEntities, MemoryLedger, version_items};
use serde_json::json;

use super::*;
use crate::Environment as _;
use crate::environment::still::Still;
use crate::{
    Accepted, Caller, CommandError, CommandRequest, Commands, IfMatch, Queries, RequestOrigin, VerifyReport, verify,
};

/// Memory stores, and a domain of each kind: `notes` without large states and `tomes` with them.
struct World {
    stored: MemoryLedger,
    blobs: MemoryBlobs,
    states: LargeStates,
    ledger: Arc<WithLargeStates<MemoryLedger>>,
    commands: Commands,
    registry: Registry,
}

fn world() -> World {
    let registry = Registry::default().with::<Note>().unwrap().with::<Tome>().unwrap();
    let (stored, blobs) = (MemoryLedger::default(), MemoryBlobs::default());
    let states = LargeStates::new(registry.clone(), Arc::new(blobs.clone()));
    let ledger = Arc::new(states.over(stored.clone()));
    let commands = Commands::new(ledger.clone(), Arc::new(Still::default()));
    World { stored, blobs, states, ledger, commands, registry }
}

/// Half a megabyte, with everything in it that is spelled in several ways.
fn large(seed: char) -> String {
    format!("{seed}\u{1}\"\\\n é 指").repeat(40_000)
}

fn key(resource: &str) -> EntityKey {
    format!("{}#acme#n", if resource == "tomes" { "TOME" } else { "NOTE" }).parse().unwrap()
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

impl World {
    async fn send(&self, resource: &str, action: Action<'_>, body: &Value) -> Result<Accepted, CommandError> {
        let creates = action == Action::Create;
        let request = CommandRequest {
            domain: self.registry.by_resource(resource).unwrap().as_ref(),
            action,
            sk: (!creates).then(|| "n".parse().unwrap()),
            if_match: (!creates).then_some(IfMatch::Any),
            idempotency_key: None,
            body: &body.to_string(),
            caller: Caller { tenant: "acme".parse().unwrap(), user: "ann".into(), ip: String::new() },
            origin: RequestOrigin::default(),
        };
        Box::pin(self.commands.execute(request)).await
    }

    async fn create(&self, text: &str) -> Result<Accepted, CommandError> {
        self.send("tomes", Action::Create, &json!({"sk": "n", "code": "N", "name": "N", "body": text})).await
    }

    async fn rewrite(&self, text: &str) -> Result<Accepted, CommandError> {
        self.send("tomes", Action::Update, &json!({"body": text})).await
    }

    /// A large one of two versions, as its commands answered.
    async fn written(&self) -> [VersionItem; 2] {
        [self.create(&large('a')).await.unwrap().item, self.rewrite(&large('b')).await.unwrap().item]
    }

    async fn verified(&self) -> VerifyReport {
        verify(self.ledger.as_ref(), &self.registry, None, None, |_, _| {}).await.unwrap()
    }
}

fn is_refused(outcome: &Result<impl Sized, StoreError>, reason: &str) -> bool {
    matches!(outcome, Err(StoreError::Rejected { reason: given, .. }) if given.contains(reason))
}

#[tokio::test]
async fn a_large_version_is_stored_as_a_reference_and_read_whole_in_every_way() {
    let world = world();
    let [first, second] = world.written().await;
    for stored in world.stored.all() {
        assert_eq!(stored.events, []);
        let content = world.blobs.all().into_values().find(|content| {
            let hash = Hash::of(std::str::from_utf8(content).unwrap());
            stored.state == json!(format!("kept:sha256:{hash}:{}", content.len()))
        });
        assert!(content.is_some_and(|content| content.len() > 1_000_000), "{}", stored.state);
    }
    let key = key("tomes");
    assert!(first.computed_hash().as_ref() == Ok(&first.hash) && second.prev_hash == first.hash);
    assert!(world.ledger.newest(&key).await == Ok(Some(second.clone())));
    assert!(world.ledger.at(&key, version(1)).await == Ok(Some(first.clone())));
    assert!(world.ledger.history(&key, None, 9).await == Ok(vec![second.clone(), first.clone()]));
    assert!(world.ledger.scan(None).await == Ok((vec![first, second], None)));
    assert_eq!(world.verified().await, VerifyReport { entities: 1, versions: 2, ..VerifyReport::default() });
}

#[tokio::test]
async fn at_the_limit_a_version_is_in_the_ledger_and_a_byte_more_is_beside_it() {
    let world = world();
    for (sk, bytes, beside) in [("at", INLINE_LIMIT, 0), ("over", INLINE_LIMIT + 1, 1)] {
        let mut item = version_items(&format!("TOME#acme#{sk}").parse().unwrap(), 1).remove(0);
        let room = bytes - weight_of(&item);
        let text = item.state["attributes"]["body"].as_str().unwrap().to_owned();
        item.state["attributes"]["body"] = json!(text + &"x".repeat(room));
        assert_eq!(weight_of(&item), bytes);
        world.ledger.commit(&Commit::of(item.clone()), Still::default().now()).await.unwrap();
        assert_eq!(world.blobs.all().len(), beside, "{sk}");
        assert!(world.ledger.newest(&item.key).await == Ok(Some(item)));
    }
}

#[tokio::test]
async fn versions_of_a_usual_size_never_touch_the_blob_store() {
    let world = world();
    world.blobs.set_away(true);
    world.create("short").await.unwrap();
    world.rewrite("shorter").await.unwrap();
    let key = key("tomes");
    assert!(world.ledger.newest(&key).await.unwrap().is_some());
    assert_eq!(world.ledger.history(&key, None, 9).await.unwrap().len(), 2);
    assert_eq!(world.verified().await.defect_count, 0);
    assert_eq!(world.blobs.calls(), (0, 0));
}

#[tokio::test]
async fn a_domain_that_does_not_opt_in_is_refused_as_ever() {
    let world = world();
    let body = json!({"sk": "n", "code": "N", "name": "N", "body": "x".repeat(350 * 1024)});
    let refused = world.send("notes", Action::Create, &body).await;
    assert!(matches!(refused, Err(CommandError::TooLarge { limit: 358_400, .. })), "{refused:?}");
    assert_eq!((world.stored.commits(), world.blobs.calls()), (0, (0, 0)));
    // Event and state together would be kept beside the ledger of a domain that does.
    let body = json!({"sk": "n", "code": "N", "name": "N", "body": "x".repeat(180 * 1024)});
    world.send("notes", Action::Create, &body).await.unwrap();
    assert_eq!((world.stored.commits(), world.blobs.calls()), (1, (0, 0)));
}

#[tokio::test]
async fn more_than_lambda_carries_is_refused_before_anything_is_kept() {
    let world = world();
    // Twice the text, and each quote of it travels as four characters.
    let refused = world.create(&"\"".repeat(700_000)).await;
    let Err(CommandError::TooLarge { bytes, limit: LARGE_STATE_LIMIT }) = refused else { panic!("{refused:?}") };
    assert!((5_600_000..5_601_000).contains(&bytes), "{bytes}");
    assert_eq!((world.stored.commits(), world.blobs.calls()), (0, (0, 0)));
    world.create(&"\"".repeat(655_000)).await.unwrap();
}

#[tokio::test]
async fn while_the_blob_store_is_away_nothing_large_is_written_and_nothing_large_is_read() {
    let world = world();
    world.create("short").await.unwrap();
    world.blobs.set_away(true);
    let refused = world.rewrite(&large('a')).await;
    assert!(matches!(refused, Err(CommandError::Store(StoreError::Unavailable { .. }))), "{refused:?}");
    assert_eq!((world.stored.all().len(), world.stored.commits()), (1, 1));

    world.blobs.set_away(false);
    world.rewrite(&large('a')).await.unwrap();
    world.blobs.set_away(true);
    let away = |outcome| matches!(outcome, Err(StoreError::Unavailable { .. }));
    assert!(away(world.ledger.newest(&key("tomes")).await.map(drop)));
    assert!(away(world.ledger.scan(None).await.map(drop)));
}

#[tokio::test]
async fn a_crash_between_the_content_and_the_commit_leaves_nothing_to_see() {
    let world = world();
    world.stored.fail_next_commit(StoreError::Unavailable { store: "ledger", reason: "killed".into() }.into());
    assert!(world.create(&large('a')).await.is_err());
    assert_eq!((world.blobs.all().len(), world.stored.all().len()), (1, 0));
    assert!(world.ledger.newest(&key("tomes")).await == Ok(None));
    assert_eq!(world.verified().await, VerifyReport::default());
    // The same again finds the content in its place.
    world.create(&large('a')).await.unwrap();
    assert_eq!((world.blobs.all().len(), world.stored.all().len()), (1, 1));
}

#[tokio::test]
async fn a_lost_answer_is_a_success_and_a_lost_race_shows_the_rival_in_full() {
    let world = world();
    world.stored.lose_next_answer();
    let [first, second] = world.written().await;
    assert_eq!(world.stored.all().len(), 2);

    let mut rival = second.clone();
    rival.command_id = "rival".to_owned();
    let occupied = world.ledger.commit(&Commit::of(rival), Still::default().now()).await;
    assert!(occupied == Err(CommitError::Occupied(Box::new(second))));
    let exists = world.create(&large('c')).await;
    assert!(matches!(exists, Err(CommandError::AlreadyExists(_))), "{exists:?}");
    assert!(world.ledger.at(&first.key, version(1)).await == Ok(Some(first)));
}

#[tokio::test]
async fn content_that_is_missing_or_altered_is_refused_and_a_defect() {
    for (reason, change) in [
        ("has no content", (|blobs: &MemoryBlobs| blobs.lose()) as fn(&MemoryBlobs)),
        ("was altered", |blobs| blobs.alter(|content| content[50] ^= 1)),
        ("was altered", |blobs| blobs.alter(Vec::clear)),
        ("was altered", |blobs| blobs.alter(|content| content.push(0xFF))),
    ] {
        let world = world();
        world.written().await;
        change(&world.blobs);
        let key = key("tomes");
        assert!(is_refused(&world.ledger.newest(&key).await, reason));
        assert!(is_refused(&world.ledger.at(&key, version(1)).await, reason));
        assert!(is_refused(&world.ledger.history(&key, None, 9).await, reason));
        assert_eq!(world.ledger.scan(None).await, Ok((Vec::new(), None)), "named in the log, as a damaged item is");
        let defects: Vec<_> = world.verified().await.defects.into_iter().map(|found| found.kind.code()).collect();
        assert_eq!(defects, ["UNREADABLE", "UNREADABLE"]);
        assert!(matches!(world.rewrite("x").await, Err(CommandError::Store(StoreError::Rejected { .. }))));
    }
}

#[tokio::test]
async fn a_reference_to_other_content_than_the_versions_own_is_a_defect() {
    let world = world();
    world.written().await;
    let forged = MemoryLedger::default();
    let mut items = world.stored.all();
    items[1].state = items[0].state.clone();
    items.into_iter().for_each(|item| forged.insert(item));
    let report = verify(&world.states.over(forged), &world.registry, None, None, |_, _| {}).await.unwrap();
    assert!(
        report.defects.iter().any(|found| found.kind.code() == "HASH_DIFFERS" && found.version == Some(version(2)))
    );
}

#[tokio::test]
async fn no_state_of_a_domain_is_taken_for_a_reference() {
    let world = world();
    let [item, _] = world.written().await;
    let reference = world.stored.all()[0].state.clone();
    // What a caller can put into an object, at most.
    let state = json!({"attributes": reference, "state": reference, "kept": reference});
    let item = VersionItem { state, ..item };
    assert!(world.states.whole(item.clone()).await == Ok(item.clone()));
    // What nobody writes is an error, not a guess.
    let with_events = VersionItem { state: reference, ..item.clone() };
    assert!(is_refused(&world.states.whole(with_events).await, "has events beside"));
    for text in ["", "kept:sha256:00:1", "kept:sha256:"] {
        let odd = VersionItem { state: json!(text), events: Vec::new(), ..item.clone() };
        assert!(is_refused(&world.states.whole(odd).await, "no reference"), "{text}");
    }
}

#[tokio::test]
async fn a_scan_brings_back_so_much_at_a_time_and_meets_every_version_once() {
    let world = world();
    world.create(&"x".repeat(2_400_000)).await.unwrap();
    for round in 0..7 {
        world.rewrite(&format!("{round}{}", "x".repeat(2_400_000))).await.unwrap();
    }
    let (mut met, mut pages, mut from) = (Vec::new(), Vec::new(), None);
    loop {
        let (items, next) = world.ledger.scan(from).await.unwrap();
        pages.push(items.len());
        met.extend(items.iter().map(|item| item.version.number()));
        from = next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(met, (1..=8).collect::<Vec<_>>());
    // 4.8 MB each, up to 16 MB and the one that is too many; the memory ledger has pages of seven.
    assert_eq!(pages, [4, 3, 1]);
    assert!(is_refused(&world.ledger.scan(Some("nonsense".into())).await, "cursor"));
}

#[tokio::test]
async fn a_row_that_dynamodb_cannot_hold_has_a_reference_and_reads_back_whole() {
    let world = world();
    let domain = world.registry.by_resource("tomes").unwrap();
    let [_, second] = world.written().await;
    let rows = MemoryEntities::default();
    let table = world.states.over(rows.clone());
    let applied = table.apply(domain.as_ref(), &[&second]).await.unwrap();
    assert_eq!(applied.written, 1);
    let [row] = rows.all().try_into().unwrap();
    assert!(row.attributes.as_str().is_some_and(|text| text.starts_with("kept:sha256:")), "{}", row.attributes);
    assert_eq!((&row.hash, row.version), (&second.hash, second.version));
    assert!(table.get(&second.key).await == Ok(Some(Entity::from(&second))));
    world.blobs.lose();
    assert!(is_refused(&table.get(&second.key).await, "has no content"));
}

#[tokio::test]
async fn a_row_that_fits_is_whole_even_where_its_version_did_not() {
    let world = world();
    let domain = world.registry.by_resource("tomes").unwrap();
    // Event and state together are too much for the ledger, the state alone is not for the data table.
    let item = world.create(&"x".repeat(300 * 1024)).await.unwrap().item;
    let rows = MemoryEntities::default();
    let table = world.states.over(rows.clone());
    table.apply(domain.as_ref(), &[&item]).await.unwrap();
    assert_eq!((rows.all(), world.blobs.all().len()), (vec![Entity::from(&item)], 1));
    let gets = world.blobs.calls().1;
    assert!(table.get(&item.key).await == Ok(Some(Entity::from(&item))));
    assert_eq!(world.blobs.calls().1, gets);
}

#[tokio::test]
async fn a_page_of_history_is_no_larger_than_an_answer_can_be() {
    let world = world();
    let texts = ["x".repeat(1_100_000), "y".repeat(1_100_000), "z".repeat(1_100_000)];
    world.create(&texts[0]).await.unwrap();
    world.rewrite(&texts[1]).await.unwrap();
    world.rewrite(&texts[2]).await.unwrap();
    let rows = MemoryEntities::default();
    let queries =
        Queries::new(world.ledger.clone(), Arc::new(rows.clone()), Arc::new(rows), Arc::new(Still::default()));
    let domain = world.registry.by_resource("tomes").unwrap().as_ref();
    let page = async |before| {
        let (items, next) =
            queries.history(domain, "acme".parse().unwrap(), "n".parse().unwrap(), before, 20).await.unwrap();
        (items.iter().map(|item| item.version.number()).collect::<Vec<_>>(), next)
    };
    assert_eq!(page(None).await, (vec![3, 2], Some(version(2))));
    assert_eq!(page(Some(version(2))).await, (vec![1], None));
}

#[tokio::test]
async fn without_a_store_a_reference_is_not_taken_for_lost_content() {
    let world = world();
    let [first, _] = world.written().await;
    let none = LargeStates::none();
    assert!(none.whole(first.clone()).await == Ok(first));
    let outcome = none.whole(world.stored.all().remove(0)).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "waited for, not quarantined");
}

#[tokio::test]
async fn an_audit_lists_large_versions_as_any_other() {
    let world = world();
    world.written().await;
    assert_eq!(world.ledger.rows(None).await, world.stored.rows(None).await);
}
