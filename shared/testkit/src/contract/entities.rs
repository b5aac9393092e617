//! The contract of a read model by key: [`StateSink`] and [`EntityRead`].
//!
//! The rows are notes ([`crate::note`]).
#![expect(clippy::unwrap_used, reason = "a store that fails fails the test")]

use std::sync::Arc;

use ledgerline_kernel::ports::{Applied, EntityRead, StateSink};
use ledgerline_kernel::{DynDomain, Entity, EntityKey, VersionItem, erase};

use super::ledger::{LOOKALIKES, of_tenant};
use crate::note::Note;
use crate::{fork_of, note_key, version_items};

/// What was never applied is not there.
pub async fn an_entity_that_was_never_applied_is_missing(entities: &impl EntityRead) {
    assert_eq!(entities.get(&note_key("nobody")).await, Ok(None));
}

/// An entity is read back as its version says, unusual texts included.
pub async fn an_applied_version_reads_back_in_full(entities: &(impl StateSink + EntityRead)) {
    let key = note_key("ключ/鍵 🔑\u{85}%@#\"\\");
    let [mut item] = version_items(&key, 1).try_into().unwrap();
    item.updated.ip = String::new();
    item.name = "𝄞 \u{10FFFF}".to_owned();
    assert_eq!(apply(entities, &[&item]).await, written(1));
    assert_eq!(entities.get(&key).await, Ok(Some(Entity::from(&item))));
}

/// Whatever the order in which versions arrive, the newest stays.
pub async fn the_newest_version_wins_in_any_order(entities: &(impl StateSink + EntityRead)) {
    for (number, order) in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().enumerate() {
        let key = note_key(&format!("n-{number}"));
        let items = version_items(&key, 3);
        let mut newest = None;
        for item in order.iter().filter_map(|index| items.get(*index)) {
            let advances = newest.is_none_or(|newest| newest < item.version);
            let expected = if advances { written(1) } else { unchanged(1) };
            assert_eq!(apply(entities, &[item]).await, expected, "{order:?}");
            newest = newest.max(Some(item.version));
        }
        assert_eq!(entities.get(&key).await, Ok(items.last().map(Entity::from)), "{order:?}");
    }
}

/// Applying a version again changes nothing and says so.
pub async fn a_version_that_is_there_already_is_unchanged(entities: &(impl StateSink + EntityRead)) {
    let key = note_key("n");
    let [item] = version_items(&key, 1).try_into().unwrap();
    apply(entities, &[&item]).await;
    assert_eq!(apply(entities, &[&item]).await, unchanged(1));
    assert_eq!(entities.get(&key).await, Ok(Some(Entity::from(&item))));
}

/// The same version with another hash is a fork: reported, and the row left as it is.
pub async fn a_fork_is_reported_and_not_written(entities: &(impl StateSink + EntityRead)) {
    let key = note_key("n");
    let [_, two] = version_items(&key, 2).try_into().unwrap();
    apply(entities, &[&two]).await;
    let forked = Applied { forks: vec![key.clone()], ..Applied::default() };
    assert_eq!(apply(entities, &[&fork_of(&two)]).await, forked);
    assert_eq!(entities.get(&key).await, Ok(Some(Entity::from(&two))));
}

/// In one call some rows are new, some advance, some are old, one is a fork and one is deleted;
/// each is treated by itself.
pub async fn one_call_applies_many_entities_each_by_its_own_rule(entities: &(impl StateSink + EntityRead)) {
    let [duplicate] = version_items(&note_key("duplicate"), 1).try_into().unwrap();
    let [late, ahead] = version_items(&note_key("late"), 2).try_into().unwrap();
    let [before, after] = version_items(&note_key("advances"), 2).try_into().unwrap();
    let [forked] = version_items(&note_key("forked"), 1).try_into().unwrap();
    apply(entities, &[&duplicate, &ahead, &before, &forked]).await;

    let fresh: Vec<VersionItem> =
        (0..60).flat_map(|number| version_items(&note_key(&format!("fresh-{number:02}")), 1)).collect();
    let [deleted] = version_items(&note_key("deleted"), 1).try_into().unwrap();
    let deleted = VersionItem { is_deleted: true, ..deleted };
    let fork = fork_of(&forked);
    let mut batch = vec![&duplicate, &late, &after, &fork, &deleted];
    batch.extend(&fresh);
    batch.sort_by_key(|item| &item.key);

    let expected = Applied { written: 62, unchanged: 2, forks: vec![forked.key.clone()] };
    assert_eq!(apply(entities, &batch).await, expected);
    for item in fresh.iter().chain([&duplicate, &ahead, &after, &forked, &deleted]) {
        assert_eq!(entities.get(&item.key).await, Ok(Some(Entity::from(item))), "{}", item.key);
    }
}

/// Entities whose keys look alike, or belong to another tenant, have rows of their own.
pub async fn keys_that_look_alike_are_different_rows(entities: &(impl StateSink + EntityRead)) {
    let mut keys: Vec<EntityKey> = LOOKALIKES.into_iter().map(note_key).collect();
    keys.extend(["acme-2", "acm"].map(|tenant| of_tenant(tenant, "a")));
    let items: Vec<_> = keys.iter().flat_map(|key| version_items(key, 1)).collect();
    for item in &items {
        assert_eq!(apply(entities, &[item]).await, written(1), "{}", item.key);
    }
    for item in &items {
        assert_eq!(entities.get(&item.key).await, Ok(Some(Entity::from(item))), "{}", item.key);
    }
}

pub(super) fn notes() -> Arc<dyn DynDomain> {
    erase::<Note>().unwrap()
}

pub(super) async fn apply(entities: &impl StateSink, items: &[&VersionItem]) -> Applied {
    entities.apply(notes().as_ref(), items).await.unwrap()
}

fn written(count: usize) -> Applied {
    Applied { written: count, ..Applied::default() }
}

fn unchanged(count: usize) -> Applied {
    Applied { unchanged: count, ..Applied::default() }
}
