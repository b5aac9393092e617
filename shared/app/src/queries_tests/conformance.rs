//! What MBC CQRS Serverless promises of reads, case by case, and what is the case here. Numbers are
//! those of the feature study; where the behaviour differs on purpose, the test says how.
//!
//! MBC shows users their own writes by sessions: a row for each write says who made it, and reads put
//! that user's newer commands over the projected rows. Here whoever wrote has the version from the
//! answer, and a read that names it is never from before it, whoever asks.

use super::*;

/// A list that waits for these versions, which arrive while it does.
async fn waiting_for(world: &World, items: &[VersionItem]) {
    *world.clock.arriving.lock().unwrap() = items.to_vec();
    let versions = items.iter().map(|item| (item.key.sk.clone(), item.version)).collect();
    let least = MinVersions { versions, patience: Duration::from_secs(1) };
    let request = ListRequest { limit: 9, ..ListRequest::default() };
    world.queries.list(world.domain(), "acme".parse().unwrap(), request, &least).await.unwrap();
}

#[tokio::test]
async fn case_55_and_58_a_read_that_names_no_version_is_of_the_read_model() {
    // In MBC: without a session, or without a user.
    let world = world();
    world.note(3, 2).await;
    assert_eq!(world.get("acme", false, None).await, Ok(2));
}

#[tokio::test]
async fn case_56_a_read_that_names_its_write_sees_it_before_it_is_projected() {
    // MBC lays the command of the session over the row. Here the ledger has the state itself.
    let world = world();
    let items = world.note(3, 1).await;
    let (tenant, sk) = ("acme".parse().unwrap(), "a".parse().unwrap());
    let entity = world.queries.get(world.domain(), tenant, sk, false, Some(items[2].version)).await.unwrap();
    assert_eq!(entity, Entity::from(&items[2]));
}

#[tokio::test]
async fn case_57_a_version_that_does_not_exist_is_never_answered_from_an_older_one_unnoticed() {
    // MBC falls back to the row. Here the newest there is comes back with its version, by which the
    // route answers 503 NOT_YET_VISIBLE.
    let world = world();
    world.note(2, 2).await;
    assert_eq!(world.get("acme", false, Some(9)).await, Ok(2));
    let least = MinVersions {
        versions: vec![("a".parse().unwrap(), Version::new(9).unwrap())],
        patience: Duration::from_secs(1),
    };
    let listed = world.queries.list(world.domain(), "acme".parse().unwrap(), ListRequest::default(), &least).await;
    assert_eq!(listed, Err(QueryError::NotYetVisible));
}

#[tokio::test]
async fn case_59_a_list_that_names_no_version_passes_nothing_through_but_its_rows() {
    let world = world();
    let items = world.note(2, 1).await;
    let page = world.list(ListRequest::default()).await.unwrap();
    assert_eq!(page.entities, [Entity::from(&items[0])]);
}

#[tokio::test]
async fn case_60_to_63_a_list_that_names_a_write_is_the_list_after_that_write() {
    // MBC edits the page that it has read: it replaces, removes, puts in front, and adjusts the total,
    // whatever the page's order and filter. Here the list waits, and is then what it would be anyway.
    let world = world();
    let total = async || {
        let request = ListRequest { with_total: true, q: Some("n1".to_owned()), ..ListRequest::default() };
        world.list(request).await.unwrap().total
    };
    let item = |sk: &str, name: &str, is_deleted, version: usize| {
        let item = version_items(&note_key(sk), version as u64).remove(version - 1);
        VersionItem { name: name.to_owned(), is_deleted, ..item }
    };
    world.project(&[item("a", "n0", false, 1)]).await;
    waiting_for(&world, &[item("a", "n1", false, 2)]).await;
    assert_eq!(total().await, Some(1), "60: updated in place, and matching now");
    waiting_for(&world, &[item("b", "n1", false, 1)]).await;
    assert_eq!(total().await, Some(2), "62: created");
    waiting_for(&world, &[item("c", "n2", false, 1)]).await;
    assert_eq!(total().await, Some(2), "63: created and not matching");
    waiting_for(&world, &[item("a", "n1", true, 3)]).await;
    assert_eq!(total().await, Some(1), "61: deleted");
}

#[tokio::test]
async fn case_64_and_109_another_tenants_entity_is_not_there_however_it_is_asked_for() {
    // In MBC, 64: the request's tenant selects the sessions; 109: a foreign key in the request reads
    // the foreign row. Here the tenant is part of every key, from the caller's token alone.
    let world = world();
    world.note(2, 2).await;
    for (strong, min) in [(false, None), (true, None), (false, Some(1)), (false, Some(9))] {
        assert!(matches!(world.get("other", strong, min).await, Err(QueryError::NotFound(_))));
    }
    let theirs = || ("other".parse().unwrap(), "a".parse().unwrap());
    let (tenant, sk) = theirs();
    assert!(world.queries.at_version(world.domain(), tenant, sk, Version::FIRST).await.is_err());
    let (tenant, sk) = theirs();
    assert!(world.queries.history(world.domain(), tenant, sk, None, 9).await.is_err());
    let request = ListRequest { limit: 9, include_deleted: true, ..ListRequest::default() };
    let page = world.queries.list(world.domain(), "other".parse().unwrap(), request, &MinVersions::default()).await;
    assert_eq!(page.unwrap().entities, []);
}

#[tokio::test]
async fn case_65_a_list_that_names_no_version_looks_for_none() {
    // MBC reads no sessions where they are switched off.
    let world = world();
    world.note(2, 1).await;
    world.list(ListRequest::default()).await.unwrap();
    assert_eq!(*world.clock.waits.lock().unwrap(), [0; 0]);
}

#[tokio::test]
async fn case_66_a_list_has_a_limit_an_order_and_a_cursor_and_may_be_empty() {
    let world = world();
    assert_eq!(world.list(ListRequest::default()).await.unwrap(), ListPage::default());
    for sk in ["c", "a", "b"] {
        world.project(&version_items(&note_key(sk), 1)).await;
    }
    let mut request = ListRequest { sort: "-name".to_owned(), limit: 2, ..ListRequest::default() };
    let mut seen = Vec::new();
    loop {
        let tenant = "acme".parse().unwrap();
        let page = world.queries.list(world.domain(), tenant, request.clone(), &MinVersions::default()).await.unwrap();
        seen.push(page.entities.iter().map(|entity| entity.key.sk.to_string()).collect::<Vec<_>>());
        request.after = page.next;
        if request.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, [vec!["c", "b"], vec!["a"]]);
}

#[tokio::test]
async fn case_106_what_is_delivered_twice_or_out_of_order_never_turns_a_read_back() {
    let world = world();
    let items = world.note(4, 0).await;
    let mut seen = 0;
    for index in [1, 0, 1, 3, 2, 0, 3] {
        world.project(&[items[index].clone()]).await;
        let now = world.list(ListRequest::default()).await.unwrap().entities[0].version.number();
        assert!(now >= seen, "{now} after {seen}");
        seen = now;
    }
    assert_eq!(seen, 4);
}
