use ledgerline_kernel::ports::KeyRange;

use super::*;

fn least(versions: &[(&str, u64)], seconds: u64) -> MinVersions {
    let versions = versions.iter().map(|(sk, number)| (sk.parse().unwrap(), Version::new(*number).unwrap()));
    MinVersions { versions: versions.collect(), patience: Duration::from_secs(seconds) }
}

impl World {
    /// How many entities the list shows, of both kinds of list.
    async fn list_from(&self, by_key: bool, least: &MinVersions) -> Result<usize, QueryError> {
        let tenant = "acme".parse().unwrap();
        if by_key {
            let keys = KeyRange::Between(None, None);
            let request = KeyListRequest { keys, after: None, limit: 10, include_deleted: false };
            self.queries.list_by_key(self.domain(), tenant, request, least).await.map(|page| page.entities.len())
        } else {
            let request = ListRequest { limit: 10, ..ListRequest::default() };
            self.queries.list(self.domain(), tenant, request, least).await.map(|page| page.entities.len())
        }
    }

    /// These versions arrive in the read model, one with each wait.
    fn arriving(&self, items: &[VersionItem]) {
        *self.clock.arriving.lock().unwrap() = items.iter().rev().cloned().collect();
    }

    fn waits(&self) -> Vec<u32> {
        std::mem::take(&mut *self.clock.waits.lock().unwrap())
    }
}

#[tokio::test]
async fn a_list_that_shows_the_version_answers_at_once() {
    for by_key in [false, true] {
        let world = world();
        world.note(2, 2).await;
        assert_eq!(world.list_from(by_key, &least(&[("a", 2)], 0)).await, Ok(1));
        assert_eq!(world.list_from(by_key, &least(&[("a", 1)], 0)).await, Ok(1), "a later one is as good");
        assert_eq!(world.list_from(by_key, &least(&[], 0)).await, Ok(1));
        assert!(world.waits().is_empty());
    }
}

#[tokio::test]
async fn a_list_waits_until_it_shows_all_the_versions() {
    for by_key in [false, true] {
        let world = world();
        let a = world.note(3, 1).await;
        let b = version_items(&note_key("b"), 1);
        world.arriving(&[a[1].clone(), b[0].clone(), a[2].clone()]);
        assert_eq!(world.list_from(by_key, &least(&[("a", 3), ("b", 1)], 1)).await, Ok(2));
        assert_eq!(world.waits(), [1, 2, 3]);
    }
}

#[tokio::test]
async fn a_list_never_answers_from_before_the_version_and_waits_no_longer_than_asked() {
    for by_key in [false, true] {
        let world = world();
        world.note(2, 1).await;
        assert_eq!(world.list_from(by_key, &least(&[("a", 2)], 1)).await, Err(QueryError::NotYetVisible));
        assert_eq!(world.waits(), [1, 2, 3, 4, 4, 4, 4, 4, 4, 4], "a second at 100 ms each");
        assert_eq!(world.list_from(by_key, &least(&[("a", 2)], 0)).await, Err(QueryError::NotYetVisible));
        assert!(world.waits().is_empty());
        assert_eq!(world.list_from(by_key, &least(&[("none", 1)], 5)).await, Err(QueryError::NotYetVisible));
        assert_eq!(world.waits().len(), 50);
    }
}

#[tokio::test]
async fn a_deleted_entity_counts_as_shown_at_the_version_that_deleted_it() {
    let world = world();
    let mut items = version_items(&note_key("a"), 2);
    items[1].is_deleted = true;
    world.project(&items).await;
    for by_key in [false, true] {
        assert_eq!(world.list_from(by_key, &least(&[("a", 2)], 0)).await, Ok(0));
    }
}

#[tokio::test]
async fn another_tenants_entity_is_one_that_never_arrives() {
    let world = world();
    world.project(&version_items(&"NOTE#other#a".parse().unwrap(), 1)).await;
    for by_key in [false, true] {
        assert_eq!(world.list_from(by_key, &least(&[("a", 1)], 1)).await, Err(QueryError::NotYetVisible));
    }
}
