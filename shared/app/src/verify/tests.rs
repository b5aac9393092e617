use std::sync::Mutex;

use async_trait::async_trait;
use ledgerline_kernel::ports::LedgerWrite as _;
use ledgerline_kernel::{Action, Claim, ClaimChange, Commit, Hash, VersionItem};
use ledgerline_testkit::note::Note;
use ledgerline_testkit::{MemoryLedger, note_key, version_items};
use serde_json::json;

use super::*;
use crate::Environment as _;
use crate::environment::still::Still;
use crate::{Caller, CommandRequest, Commands, IfMatch, RequestOrigin};

/// What a ledger holds, for damaging.
#[derive(Clone)]
struct Rows {
    versions: Vec<VersionItem>,
    claims: Vec<(Claim, EntityKey)>,
}

/// What commands left: a ring with five versions, a band with one, and a chain that was deleted.
async fn rows() -> Rows {
    let ledger = MemoryLedger::default();
    let commands = Commands::new(Arc::new(ledger.clone()), Arc::new(Still::default()));
    let registry = Registry::shipped().unwrap();
    for (action, sk, body) in [
        (Action::Create, "ring", json!({"sk": "ring", "code": "R", "name": "Ring", "attributes": {"price": "12.50"}})),
        (Action::Named("change-price"), "ring", json!({"price": "13.00"})),
        (Action::Update, "ring", json!({"name": "Signet ring", "code": "R-1"})),
        (Action::Named("change-price"), "ring", json!({"price": "14.00"})),
        (Action::Named("change-price"), "ring", json!({"price": "15.00"})),
        (Action::Create, "band", json!({"sk": "band", "code": "B", "name": "Band"})),
        (Action::Create, "chain", json!({"sk": "chain", "code": "C", "name": "Chain"})),
        (Action::Delete, "chain", json!({})),
    ] {
        let creates = action == Action::Create;
        let request = CommandRequest {
            domain: registry.by_resource("products").unwrap().as_ref(),
            action,
            sk: (!creates).then(|| sk.parse().unwrap()),
            if_match: (!creates).then_some(IfMatch::Any),
            idempotency_key: None,
            body: &body.to_string(),
            caller: Caller { tenant: "acme".parse().unwrap(), user: "ann".into(), ip: "192.0.2.1".into() },
            origin: RequestOrigin::default(),
        };
        commands.execute(request).await.unwrap();
    }
    Rows { versions: ledger.all(), claims: ledger.claims() }
}

fn key(sk: &str) -> EntityKey {
    EntityKey::new("PRODUCT".parse().unwrap(), "acme".parse().unwrap(), sk.parse().unwrap())
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn code_claim(value: &str) -> Claim {
    let EntityKey { partition, .. } = key("any");
    let (tenant, entity_type) = (partition.tenant, partition.entity_type);
    Claim { tenant, entity_type, field: "code".to_owned(), value: value.to_owned() }
}

impl Rows {
    fn at(&mut self, sk: &str, number: u64) -> &mut VersionItem {
        let found = self.versions.iter_mut().find(|item| item.key == key(sk) && item.version == version(number));
        found.unwrap()
    }

    /// Damages a version of the ring as somebody would who knows how hashes are made.
    fn forge(mut self, number: u64, change: impl FnOnce(&mut VersionItem)) -> Self {
        let item = self.at("ring", number);
        change(item);
        item.hash = item.computed_hash().unwrap();
        self
    }

    fn without(mut self, sk: &str, number: u64) -> Self {
        self.versions.retain(|item| !(item.key == key(sk) && item.version == version(number)));
        self
    }

    fn claimed(mut self, value: &str, holder: Option<&str>) -> Self {
        self.claims.retain(|(claim, _)| *claim != code_claim(value));
        self.claims.extend(holder.map(|holder| (code_claim(value), key(holder))));
        self
    }

    async fn ledger(&self) -> MemoryLedger {
        let ledger = MemoryLedger::default();
        self.versions.iter().for_each(|item| ledger.insert(item.clone()));
        for (claim, holder) in &self.claims {
            let claims = vec![ClaimChange::Take(claim.clone(), holder.clone())];
            ledger.commit(&Commit { claims, ..Commit::default() }, Still::default().now()).await.unwrap();
        }
        ledger
    }

    /// The defects: sort key, version (0 for none) and code.
    async fn defects(&self) -> Vec<(String, u64, &'static str)> {
        named(&verified(&self.ledger().await).await)
    }
}

async fn verified(ledger: &dyn VerifiableLedger) -> VerifyReport {
    let registry = Registry::shipped().unwrap().with::<Note>().unwrap();
    verify(ledger, &registry, None, None, |_, _| {}).await.unwrap()
}

fn named(report: &VerifyReport) -> Vec<(String, u64, &'static str)> {
    let name = |defect: &Defect| {
        let sk = defect.id.rsplit('#').next().unwrap_or_default().to_owned();
        (sk, defect.version.map_or(0, Version::number), defect.kind.code())
    };
    report.defects.iter().map(name).collect()
}

macro_rules! assert_defects {
    ($rows:expr, [$($expected:expr),* $(,)?]) => {
        let expected: Vec<(&str, u64, &str)> = vec![$($expected),*];
        let found = $rows.defects().await;
        assert_eq!(found.iter().map(|(sk, v, kind)| (sk.as_str(), *v, *kind)).collect::<Vec<_>>(), expected);
    };
}

#[tokio::test]
async fn what_commands_leave_has_no_defect() {
    let ledger = rows().await.ledger().await;
    let mut last = (0, 0);
    let registry = Registry::shipped().unwrap();
    let report = verify(&ledger, &registry, None, None, |checked, of| last = (checked, of)).await.unwrap();
    let expected = VerifyReport { entities: 3, versions: 8, claims: 2, ..VerifyReport::default() };
    assert_eq!(report, expected);
    assert_eq!(last, (3, 3));
}

#[tokio::test]
async fn a_clean_history_of_1000_versions_has_no_defect() {
    let ledger = MemoryLedger::default();
    version_items(&note_key("n"), 1_000).into_iter().for_each(|item| ledger.insert(item));
    let expected = VerifyReport { entities: 1, versions: 1_000, ..VerifyReport::default() };
    assert_eq!(verified(&ledger).await, expected);
}

#[tokio::test]
async fn one_forged_version_of_1000_is_found_wherever_it_is() {
    for number in [1, 2, 25, 26, 500, 999, 1_000] {
        let ledger = MemoryLedger::default();
        for mut item in version_items(&note_key("n"), 1_000) {
            if item.version == version(number) {
                item.request_id = "forged".to_owned();
            }
            ledger.insert(item);
        }
        assert_eq!(named(&verified(&ledger).await), [("n".to_owned(), number, "HASH_DIFFERS")]);
    }
}

#[tokio::test]
async fn a_missing_version_is_found() {
    assert_defects!(rows().await.without("ring", 3), [("ring", 4, "VERSIONS_MISSING")]);
    assert_defects!(rows().await.without("ring", 1), [("ring", 2, "VERSIONS_MISSING")]);
    // With the newest version goes a deletion: what is left has a code that nobody claims.
    assert_defects!(rows().await.without("chain", 2), [("chain", 0, "CLAIM_MISSING")]);
}

#[tokio::test]
async fn only_retention_explains_missing_versions_and_never_the_first() {
    let notes = |missing: &'static [u64]| {
        let ledger = MemoryLedger::default();
        let items = version_items(&note_key("n"), 6).into_iter();
        items.filter(|item| !missing.contains(&item.version.number())).for_each(|item| ledger.insert(item));
        ledger
    };
    assert_eq!(verified(&notes(&[2, 3, 5])).await.defect_count, 0);
    let report = verified(&notes(&[1, 2])).await;
    assert_eq!(named(&report), [("n".to_owned(), 3, "VERSIONS_MISSING")]);
}

#[tokio::test]
async fn a_change_without_a_new_hash_is_found() {
    let mut altered = rows().await;
    altered.at("ring", 5).updated.by = "nobody".to_owned();
    assert_defects!(altered, [("ring", 5, "HASH_DIFFERS")]);
    altered.at("ring", 5).state["attributes"]["price"] = json!(1.5);
    assert_defects!(altered, [("ring", 5, "HASH_DIFFERS"), ("ring", 5, "STATE_DIFFERS")]);
}

#[tokio::test]
async fn a_state_with_a_new_hash_is_found_by_replaying() {
    let newest = rows().await.forge(5, |item| item.state["attributes"]["price"] = json!("0.01"));
    assert_defects!(newest, [("ring", 5, "STATE_DIFFERS")]);
    let extra = rows().await.forge(5, |item| item.state["attributes"]["discount"] = json!("0.01"));
    assert_defects!(extra, [("ring", 5, "STATE_DIFFERS")]);
    let middle = rows().await.forge(2, |item| item.state["name"] = json!("Tin ring"));
    assert_defects!(middle, [("ring", 2, "STATE_DIFFERS"), ("ring", 3, "CHAIN_BROKEN")]);
    let first = rows().await.forge(1, |item| item.state["isDeleted"] = json!(true));
    assert_defects!(first, [("ring", 1, "STATE_DIFFERS"), ("ring", 2, "CHAIN_BROKEN"), ("ring", 2, "STATE_DIFFERS"),]);
}

#[tokio::test]
async fn an_event_with_a_new_hash_is_found_by_replaying() {
    let altered = rows().await.forge(5, |item| item.events[0].data["to"] = json!("0.01"));
    assert_defects!(altered, [("ring", 5, "STATE_DIFFERS")]);
    let dropped = rows().await.forge(5, |item| item.events.clear());
    assert_defects!(dropped, [("ring", 5, "STATE_DIFFERS")]);
}

#[tokio::test]
async fn an_envelope_that_contradicts_the_state_is_found() {
    assert_defects!(rows().await.forge(5, |item| item.name = "Tin".to_owned()), [("ring", 5, "STATE_DIFFERS")]);
    assert_defects!(rows().await.forge(5, |item| item.is_deleted = true), [("ring", 5, "STATE_DIFFERS")]);
}

#[tokio::test]
async fn a_version_that_follows_another_than_the_one_before_is_found() {
    let mut swapped = rows().await;
    let other = swapped.at("ring", 4).prev_hash.clone();
    assert_defects!(swapped.forge(5, |item| item.prev_hash = other), [("ring", 5, "CHAIN_BROKEN")]);
    let first = rows().await.forge(1, |item| item.prev_hash = Hash::of("something"));
    assert_defects!(first, [("ring", 1, "CHAIN_BROKEN"), ("ring", 2, "CHAIN_BROKEN")]);
}

#[tokio::test]
async fn a_fork_is_found_where_the_chain_goes_on_from_the_other_one() {
    // What a second writer would have stored: right in itself.
    let forked = rows().await.forge(4, |item| {
        item.command_id = "rival".to_owned();
        item.events[0].data["to"] = json!("99.00");
        item.state["attributes"]["price"] = json!("99.00");
    });
    assert_defects!(forked, [("ring", 5, "CHAIN_BROKEN")]);
}

#[tokio::test]
async fn an_unknown_event_is_found() {
    let unknown = rows().await.forge(5, |item| item.events[0].name = "PriceGuessed".to_owned());
    assert_defects!(unknown, [("ring", 5, "UNKNOWN_EVENT")]);
    let newer = rows().await.forge(5, |item| item.events[0].v = 99);
    assert_defects!(newer, [("ring", 5, "UNKNOWN_EVENT")]);
}

#[tokio::test]
async fn a_changed_creator_is_found() {
    let later = rows().await.forge(5, |item| item.created.by = "bob".to_owned());
    assert_defects!(later, [("ring", 5, "CREATED_CHANGED")]);
    let mut first = rows().await;
    first.at("band", 1).created.by = "bob".to_owned();
    assert_defects!(first, [("band", 1, "HASH_DIFFERS"), ("band", 1, "CREATED_CHANGED")]);
}

#[tokio::test]
async fn a_first_or_newest_version_that_will_be_dropped_is_found() {
    let mut expiring = rows().await;
    for number in [1, 4, 5] {
        expiring.at("ring", number).ttl = Some(4_102_444_800);
    }
    assert_defects!(expiring, [("ring", 1, "WILL_EXPIRE"), ("ring", 5, "WILL_EXPIRE")]);
}

#[tokio::test]
async fn an_entity_of_no_domain_is_found_and_its_chain_checked() {
    let mut damaged = rows().await;
    damaged.at("ring", 2).request_id = "forged".to_owned();
    let report = verify(&damaged.ledger().await, &Registry::default(), None, None, |_, _| {}).await.unwrap();
    let expected = [
        ("band", 0, "UNKNOWN_TYPE"),
        ("chain", 0, "UNKNOWN_TYPE"),
        ("ring", 0, "UNKNOWN_TYPE"),
        ("ring", 2, "HASH_DIFFERS"),
    ];
    assert_eq!(named(&report), expected.map(|(sk, number, kind)| (sk.to_owned(), number, kind)));
}

#[tokio::test]
async fn claims_that_are_not_the_values_of_the_living_are_found() {
    assert_defects!(rows().await.claimed("B", None), [("band", 0, "CLAIM_MISSING")]);
    assert_defects!(rows().await.claimed("X", Some("nobody")), [("nobody", 0, "CLAIM_ORPHANED")]);
    assert_defects!(rows().await.claimed("C", Some("chain")), [("chain", 0, "CLAIM_ORPHANED")]);
    assert_defects!(
        rows().await.claimed("B", Some("ring")),
        [("band", 0, "CLAIM_MISSING"), ("ring", 0, "CLAIM_ORPHANED")]
    );
}

#[tokio::test]
async fn two_entities_with_one_value_are_found() {
    let mut twins = rows().await;
    let mut twin = twins.at("band", 1).clone();
    twin.key = key("twin");
    twin.hash = twin.computed_hash().unwrap();
    twins.versions.push(twin);
    assert_defects!(twins, [("twin", 0, "VALUE_TAKEN_TWICE")]);
    assert_defects!(twins.clone().claimed("B", Some("twin")), [("band", 0, "VALUE_TAKEN_TWICE")]);
    assert_defects!(twins.claimed("B", None), [("band", 0, "CLAIM_MISSING"), ("twin", 0, "VALUE_TAKEN_TWICE")]);
}

#[tokio::test]
async fn a_tenant_is_verified_without_the_others() {
    let mut damaged = rows().await.claimed("X", Some("nobody"));
    damaged.at("ring", 5).request_id = "forged".to_owned();
    let (ledger, registry) = (damaged.ledger().await, Registry::shipped().unwrap());
    let (acme, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
    assert_eq!(verify(&ledger, &registry, Some(&acme), None, |_, _| {}).await.unwrap().defect_count, 2);
    let nothing = VerifyReport { other_tenants: vec![acme], ..VerifyReport::default() };
    assert_eq!(verify(&ledger, &registry, Some(&other), None, |_, _| {}).await.unwrap(), nothing);
}

#[tokio::test]
async fn a_report_counts_all_defects_and_lists_a_thousand() {
    let mut damaged = rows().await;
    damaged.claims.extend((0..1_001).map(|number| (code_claim(&format!("X-{number}")), key("nobody"))));
    let report = verified(&damaged.ledger().await).await;
    assert_eq!((report.defect_count, report.defects.len()), (1_001, 1_000));
}

/// A ledger that behaves as the memory one does not.
#[derive(Default)]
struct Odd {
    ledger: MemoryLedger,
    /// Gives its rows in the opposite order.
    backwards: bool,
    unreadable: Option<(EntityKey, Version)>,
    /// Written by others once all claims have been read.
    meanwhile: Mutex<Option<Commit>>,
}

impl Odd {
    fn refuse(&self, items: &[VersionItem]) -> Result<(), StoreError> {
        let place = |item: &VersionItem| Some((item.key.clone(), item.version));
        if self.unreadable.is_some() && items.iter().any(|item| place(item) == self.unreadable) {
            return Err(StoreError::Rejected { store: "odd", reason: "no state".to_owned() });
        }
        Ok(())
    }
}

#[async_trait]
impl LedgerRead for Odd {
    async fn newest(&self, key: &EntityKey) -> Result<Option<VersionItem>, StoreError> {
        self.ledger.newest(key).await
    }

    async fn at(&self, key: &EntityKey, version: Version) -> Result<Option<VersionItem>, StoreError> {
        let item = self.ledger.at(key, version).await?;
        self.refuse(item.as_slice())?;
        Ok(item)
    }

    async fn history(
        &self,
        key: &EntityKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionItem>, StoreError> {
        let commit = self.meanwhile.lock().unwrap().take();
        if let Some(commit) = commit {
            self.ledger.commit(&commit, Still::default().now()).await.unwrap();
        }
        let items = self.ledger.history(key, before, limit).await?;
        self.refuse(&items)?;
        Ok(items)
    }
}

#[async_trait]
impl LedgerAudit for Odd {
    async fn rows(&self, from: Option<String>) -> Result<(Vec<LedgerRow>, Option<String>), StoreError> {
        if !self.backwards {
            return self.ledger.rows(from).await;
        }
        let (mut all, mut from) = (Vec::new(), None);
        loop {
            let (rows, next) = self.ledger.rows(from).await?;
            all.extend(rows);
            from = next;
            if from.is_none() {
                all.reverse();
                return Ok((all, None));
            }
        }
    }
}

#[tokio::test]
async fn the_order_of_the_rows_does_not_matter() {
    let damaged = rows().await.without("ring", 3).claimed("B", None).claimed("X", Some("nobody"));
    let ledger = damaged.ledger().await;
    let forwards = verified(&ledger).await;
    assert_eq!(forwards.defect_count, 3);
    assert_eq!(verified(&Odd { ledger, backwards: true, ..Odd::default() }).await, forwards);
}

#[tokio::test]
async fn an_unreadable_version_is_found_and_the_others_are_checked_all_the_same() {
    let forged = rows().await.forge(2, |item| item.state["name"] = json!("Tin ring"));
    for (number, expected) in [
        (1, vec![(1, "UNREADABLE"), (3, "CHAIN_BROKEN")]),
        (3, vec![(2, "STATE_DIFFERS"), (3, "UNREADABLE")]),
        (5, vec![(2, "STATE_DIFFERS"), (3, "CHAIN_BROKEN"), (5, "UNREADABLE")]),
    ] {
        let ledger = forged.ledger().await;
        let unreadable = Some((key("ring"), version(number)));
        let report = verified(&Odd { ledger, unreadable, ..Odd::default() }).await;
        let expected: Vec<_> = expected.into_iter().map(|(at, kind)| ("ring".to_owned(), at, kind)).collect();
        assert_eq!(named(&report), expected, "version {number}");
        assert_eq!(report.versions, 8);
    }
}

#[tokio::test]
async fn a_code_that_changes_hands_meanwhile_is_no_defect() {
    let all = rows().await;
    // The ring took its second code in version 3, so without the later ones that change is the newest.
    let before = all.clone().without("ring", 5).without("ring", 4).without("ring", 3);
    let before = before.claimed("R-1", None).claimed("R", Some("ring"));
    assert_defects!(before, []);
    let changed = all.versions.iter().find(|item| item.key == key("ring") && item.version == version(3)).unwrap();
    let commit = Commit {
        claims: vec![
            ClaimChange::Release(code_claim("R"), key("ring")),
            ClaimChange::Take(code_claim("R-1"), key("ring")),
        ],
        ..Commit::of(changed.clone())
    };
    let ledger = Odd { ledger: before.ledger().await, meanwhile: Mutex::new(Some(commit)), ..Odd::default() };
    let report = verified(&ledger).await;
    assert_eq!(report.defects, []);
    assert!(ledger.meanwhile.lock().unwrap().is_none(), "it did change");
}
