//! The contracts of what a reconciler compares: [`LedgerIndex`] and [`ReadModelAudit`]; and of where
//! it keeps what it was asked, [`Resyncs`] and [`Rounds`].
#![expect(clippy::unwrap_used, reason = "a store that fails fails the test")]

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use ledgerline_kernel::ports::{
    Digest, IndexPage, LedgerIndex, LedgerWrite, ReadModelAudit, Resync, ResyncState, Resyncs, Round, Rounds,
    StateSink, VersionRef,
};
use ledgerline_kernel::{EntityKey, PartitionKey, SortKey, TenantCode, Timestamp, VersionItem};
use serde_json::{Value, json};

use super::entities::{apply, notes};
use super::ledger::{LOOKALIKES, of_tenant};
use crate::{append, fork_of, large_version_items, note_key, version_items};

/// Lists all versions of a partition: of each entity oldest first, one entity after the other.
pub async fn an_index_lists_the_versions_of_a_partition_entity_by_entity(ledger: &(impl LedgerIndex + LedgerWrite)) {
    let items = several(ledger).await;
    let partition = note_key("a").partition;
    let listed = all(ledger, Some(&partition)).await;
    let mut seen = BTreeSet::new();
    let mut last: Option<&VersionRef> = None;
    for version in &listed {
        match last.filter(|last| last.key == version.key) {
            Some(last) => assert!(last.version < version.version, "{version:?}"),
            None => assert!(seen.insert(&version.key), "{} is in two places", version.key),
        }
        last = Some(version);
    }
    assert_eq!(sorted(listed), refs(items.iter().filter(|item| item.key.partition == partition)));
}

/// Lists all versions of all partitions, each partition in one piece.
pub async fn an_index_lists_all_partitions_each_in_one_piece(ledger: &(impl LedgerIndex + LedgerWrite)) {
    let items = several(ledger).await;
    let listed = all(ledger, None).await;
    let mut pieces: Vec<&PartitionKey> = listed.iter().map(|version| &version.key.partition).collect();
    pieces.dedup();
    assert_eq!(pieces.len(), pieces.iter().collect::<BTreeSet<_>>().len(), "{pieces:?}");
    assert_eq!(sorted(listed), refs(&items));
}

/// A partition that there is not has no versions.
pub async fn an_index_of_an_unknown_partition_is_empty(ledger: &(impl LedgerIndex + LedgerWrite)) {
    several(ledger).await;
    assert_eq!(all(ledger, Some(&of_tenant("nobody", "a").partition)).await, []);
}

/// A list longer than a store's page (1 MB in DynamoDB) goes on to its end, over as many pages as it takes.
pub async fn an_index_goes_on_over_all_pages(ledger: &(impl LedgerIndex + LedgerWrite)) {
    let mut items = Vec::new();
    for (sk, count, bytes) in [("a", 9, 0), ("b", 11, 110_000), ("c", 1, 0)] {
        items.extend(large_version_items(&note_key(sk), count, bytes));
    }
    for item in &items {
        append(ledger, item).await.unwrap();
    }
    let partition = note_key("a").partition;
    for partition in [Some(&partition), None] {
        let listed = pages(ledger, partition).await;
        assert_eq!(sorted(listed.concat()), refs(&items), "of {partition:?}");
        assert!(listed.len() > 1, "the versions do not fit on one page");
    }
}

/// Says of each entity which version it has; nothing of those that it lacks.
pub async fn what_is_held_is_told_and_what_is_not_is_left_out(model: &(impl ReadModelAudit + StateSink)) {
    let mut expected = BTreeMap::new();
    let mut keys = vec![note_key("missing")];
    // More than one batch of any store.
    for number in 0..130 {
        let items = version_items(&note_key(&format!("{number:03}")), 1 + number % 3);
        let newest = items.last().unwrap();
        apply(model, &[newest]).await;
        expected.insert(newest.key.clone(), (newest.version, newest.hash.clone()));
        keys.push(newest.key.clone());
    }
    assert_eq!(model.held(notes().as_ref(), &keys).await.unwrap(), expected);
    assert_eq!(model.held(notes().as_ref(), &[]).await.unwrap(), BTreeMap::new());
}

/// Sums up the hashes of a tenant's entities, of no other tenant's.
pub async fn a_digest_is_the_sum_of_a_tenants_hashes(model: &(impl ReadModelAudit + StateSink)) {
    let mut expected: BTreeMap<TenantCode, Digest> = BTreeMap::new();
    let keys = LOOKALIKES.into_iter().map(note_key).chain(["acme-2", "acm"].map(|tenant| of_tenant(tenant, "a")));
    for key in keys {
        let [item] = version_items(&key, 1).try_into().unwrap();
        apply(model, &[&item]).await;
        expected.entry(key.partition.tenant).or_default().add(&item.hash);
    }
    expected.insert("nobody".parse().unwrap(), Digest::default());
    for (tenant, digest) in expected {
        assert_eq!(model.digest(notes().as_ref(), &tenant).await, Ok(digest), "{tenant}");
    }
}

/// Sums up all rows, over as many of the store's pages (1 MB in DynamoDB) as they fill.
pub async fn a_digest_takes_in_all_pages(model: &(impl ReadModelAudit + StateSink)) {
    let items = several_pages(model).await;
    let mut expected = Digest::default();
    items.iter().for_each(|item| expected.add(&item.hash));
    assert_eq!(model.digest(notes().as_ref(), &note_key("n").partition.tenant).await, Ok(expected));
}

/// A list of entities is shorter than `limit` only at the end, over as many of the store's pages as it takes.
pub async fn a_list_of_entities_is_full_over_all_pages(model: &(impl ReadModelAudit + StateSink)) {
    let items = several_pages(model).await;
    let tenant = note_key("n").partition.tenant;
    let mut listed = model.entities(notes().as_ref(), &tenant, None, items.len() - 1).await.unwrap();
    assert_eq!(listed.len(), items.len() - 1);
    let after = listed.last().unwrap().sk.clone();
    listed.extend(model.entities(notes().as_ref(), &tenant, Some(&after), items.len()).await.unwrap());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), items.into_iter().map(|item| item.key).collect());
}

/// Lists a tenant's entities in pages, each once.
pub async fn entities_are_listed_in_pages_each_once(model: &(impl ReadModelAudit + StateSink)) {
    let mut expected = BTreeSet::new();
    let numbered = (0..9).map(|number| note_key(&format!("n-{number}")));
    for key in LOOKALIKES.into_iter().map(note_key).chain(numbered) {
        apply(model, &version_items(&key, 1).iter().collect::<Vec<_>>()).await;
        expected.insert(key);
    }
    apply(model, &version_items(&of_tenant("acme-2", "a"), 1).iter().collect::<Vec<_>>()).await;
    let tenant = note_key("a").partition.tenant;
    let (mut listed, mut after) = (Vec::new(), None::<SortKey>);
    loop {
        let page = model.entities(notes().as_ref(), &tenant, after.as_ref(), 4).await.unwrap();
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        after = Some(last.sk.clone());
        listed.extend(page);
    }
    assert_eq!(listed.len(), expected.len());
    assert_eq!(listed.into_iter().collect::<BTreeSet<EntityKey>>(), expected);
}

/// Writes the ledger's version over another one of the same number, or over a newer one.
pub async fn what_the_ledger_does_not_have_is_replaced(model: &(impl ReadModelAudit + StateSink)) {
    let [one, two, three] = version_items(&note_key("n"), 3).try_into().unwrap();
    apply(model, &[&fork_of(&two)]).await;
    assert_eq!(model.replace(notes().as_ref(), &two, two.version).await, Ok(true));
    assert_held(model, &two).await;
    apply(model, &[&three]).await;
    assert_eq!(model.replace(notes().as_ref(), &one, three.version).await, Ok(true));
    assert_held(model, &one).await;
    apply(model, &[&two]).await;
    assert_held(model, &two).await;
}

/// Leaves alone what has changed since it was looked at, and what is not there.
pub async fn what_has_changed_meanwhile_is_not_replaced(model: &(impl ReadModelAudit + StateSink)) {
    let [one, two, three] = version_items(&note_key("n"), 3).try_into().unwrap();
    assert_eq!(model.replace(notes().as_ref(), &one, one.version).await, Ok(false));
    apply(model, &[&three]).await;
    assert_eq!(model.replace(notes().as_ref(), &one, two.version).await, Ok(false));
    assert_held(model, &three).await;
}

/// A resync is read back as it was saved last, by its own tenant alone.
pub async fn a_resync_is_read_back_by_its_tenant_as_saved_last(store: &impl Resyncs) {
    let mut resync = resync("1", 0);
    resync.sk = Some("a%b@c #".parse().unwrap());
    store.save(&resync).await.unwrap();
    assert_eq!(store.get(&resync.tenant, "1").await, Ok(Some(resync.clone())));
    resync.state = ResyncState::Running;
    resync.progress = json!({"from": "here", "sum": u64::MAX});
    store.save(&resync).await.unwrap();
    assert_eq!(store.get(&resync.tenant, "1").await, Ok(Some(resync.clone())));
    for (tenant, id) in [("other", "1"), ("acme", "2"), ("acme", "\0")] {
        assert_eq!(store.get(&tenant.parse().unwrap(), id).await, Ok(None));
    }
}

/// What is asked for again while it is under way is the one that is; anything else, and the same once that
/// is finished, is another one.
pub async fn the_same_resync_is_not_asked_for_twice(store: &impl Resyncs) {
    let first = resync("1", 1);
    let again = |id: &str| resync(id, 2);
    assert_eq!(store.ask(&first).await, Ok(None));
    assert_eq!(store.ask(&again("2")).await, Ok(Some(first.clone())));
    let running = Resync { state: ResyncState::Running, progress: json!({"from": "here"}), ..first.clone() };
    store.save(&running).await.unwrap();
    assert_eq!(store.ask(&again("3")).await, Ok(Some(running)));
    assert_eq!(store.get(&first.tenant, "3").await, Ok(None));
    let others = [
        Resync { tenant: "other".parse().unwrap(), ..again("4") },
        Resync { resource: "products".to_owned(), ..again("5") },
        Resync { sk: Some("a".parse().unwrap()), ..again("6") },
        Resync { sk: Some("b".parse().unwrap()), ..again("7") },
    ];
    for other in others {
        assert_eq!(store.ask(&other).await, Ok(None), "{other:?}");
    }
    store.save(&Resync { state: ResyncState::Done, ..first }).await.unwrap();
    assert_eq!(store.ask(&again("8")).await, Ok(None));
}

/// However many ask for the same at once, it is written down once.
pub async fn of_many_who_ask_at_once_one_is_written_down(store: &impl Resyncs) {
    let asked: Vec<Resync> = (0..8).map(|number| resync(&number.to_string(), 1)).collect();
    let answers = join_all(asked.iter().map(|resync| store.ask(resync))).await;
    let written = answers.iter().filter(|answer| matches!(answer, Ok(None))).count();
    assert_eq!(written, 1, "{answers:?}");
}

/// The next resync is the one that was asked for first and is not finished.
pub async fn the_next_resync_is_the_oldest_that_is_not_finished(store: &impl Resyncs) {
    assert_eq!(store.next().await, Ok(None));
    let (first, second) = (resync("b", 1), resync("a", 2));
    for resync in [&second, &first] {
        store.save(resync).await.unwrap();
    }
    assert_eq!(store.next().await, Ok(Some(first.clone())));
    store.save(&Resync { state: ResyncState::Running, ..first.clone() }).await.unwrap();
    assert_eq!(store.next().await.unwrap().unwrap().id, "b");
    store.save(&Resync { state: ResyncState::Failed, ..first }).await.unwrap();
    assert_eq!(store.next().await, Ok(Some(second.clone())));
    store.save(&Resync { state: ResyncState::Done, ..second }).await.unwrap();
    assert_eq!(store.next().await, Ok(None));
}

/// The newest round is the one that began last, as it was saved last.
pub async fn the_newest_round_is_the_one_that_began_last(store: &impl Rounds) {
    assert_eq!(store.newest_round().await, Ok(None));
    let round = |id: &str, second: u32| Round {
        id: id.to_owned(),
        started_at: at(second),
        finished_at: None,
        progress: json!({"from": id}),
        report: Value::Null,
    };
    for round in [round("b", 2), round("c", 1)] {
        store.save_round(&round).await.unwrap();
    }
    assert_eq!(store.newest_round().await, Ok(Some(round("b", 2))));
    let finished = Round { finished_at: Some(at(9)), report: json!({"entities": 3}), ..round("b", 2) };
    store.save_round(&finished).await.unwrap();
    assert_eq!(store.newest_round().await, Ok(Some(finished)));
}

async fn assert_held(model: &impl ReadModelAudit, item: &VersionItem) {
    let held = model.held(notes().as_ref(), std::slice::from_ref(&item.key)).await.unwrap();
    assert_eq!(held.get(&item.key), Some(&(item.version, item.hash.clone())));
}

fn at(second: u32) -> Timestamp {
    // Those of long ago may be forgotten; these never are.
    format!("2099-01-01T00:00:0{second}Z").parse().unwrap()
}

fn resync(id: &str, second: u32) -> Resync {
    Resync {
        id: id.to_owned(),
        tenant: "acme".parse().unwrap(),
        resource: "notes".to_owned(),
        sk: None,
        asked_by: "ann".to_owned(),
        asked_at: at(second),
        state: ResyncState::Asked,
        progress: Value::Null,
        report: Value::Null,
    }
}

/// Appends a few versions of entities whose keys look alike, of several tenants.
async fn several(ledger: &impl LedgerWrite) -> Vec<VersionItem> {
    let keys = LOOKALIKES.into_iter().map(note_key).chain(["acme-2", "acm"].map(|tenant| of_tenant(tenant, "a")));
    let items: Vec<_> = keys.zip(1..).flat_map(|(key, number)| version_items(&key, 1 + number % 4)).collect();
    for item in &items {
        append(ledger, item).await.unwrap();
    }
    items
}

/// Applies entities that take more than a store's page (1 MB in DynamoDB).
async fn several_pages(model: &impl StateSink) -> Vec<VersionItem> {
    let keys = (0..12).map(|number| note_key(&format!("{number:02}")));
    let items: Vec<_> = keys.flat_map(|key| large_version_items(&key, 1, 100_000)).collect();
    apply(model, &items.iter().collect::<Vec<_>>()).await;
    items
}

async fn all(ledger: &impl LedgerIndex, partition: Option<&PartitionKey>) -> Vec<VersionRef> {
    pages(ledger, partition).await.concat()
}

async fn pages(ledger: &impl LedgerIndex, partition: Option<&PartitionKey>) -> Vec<Vec<VersionRef>> {
    let (mut listed, mut from) = (Vec::new(), None);
    loop {
        let IndexPage { versions, unreadable, next } = ledger.versions(partition, from).await.unwrap();
        assert_eq!(unreadable, Vec::<String>::new(), "what was committed can be read");
        listed.push(versions);
        if next.is_none() {
            return listed;
        }
        from = next;
    }
}

fn refs<'a>(items: impl IntoIterator<Item = &'a VersionItem>) -> Vec<VersionRef> {
    sorted(
        items
            .into_iter()
            .map(|item| VersionRef {
                key: item.key.clone(),
                version: item.version,
                hash: item.hash.clone(),
                at: item.updated.at,
            })
            .collect(),
    )
}

fn sorted(mut versions: Vec<VersionRef>) -> Vec<VersionRef> {
    versions.sort_by(|one, other| (&one.key, one.version).cmp(&(&other.key, other.version)));
    versions
}
