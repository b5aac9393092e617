use super::*;

impl World {
    async fn keyed(
        &self,
        key: &str,
        action: Action<'_>,
        if_match: Option<IfMatch>,
        body: &str,
    ) -> Result<Accepted, CommandError> {
        let idempotency_key = Some(key.to_owned());
        let request = CommandRequest { idempotency_key, ..self.request(action, "ring", if_match, body) };
        self.commands.execute(request).await
    }
}

const PRICE: Action<'static> = Action::Named("change-price");
const THIRTEEN: &str = r#"{"price": "13"}"#;

#[tokio::test]
async fn a_repeated_create_gets_the_first_answer_and_has_no_second_effect() {
    let world = world();
    let first = world.keyed("k", Action::Create, None, RING).await.unwrap();
    let again = world.keyed("k", Action::Create, None, RING).await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!((&again.item, again.changed), (&first.item, true));
    assert_eq!(world.ledger.all().len(), 1);
}

#[tokio::test]
async fn a_create_without_a_sort_key_is_not_made_twice_either() {
    let world = world();
    let body = r#"{"code": "A", "name": "A"}"#;
    let first = world.keyed("k", Action::Create, None, body).await.unwrap();
    let again = world.keyed("k", Action::Create, None, body).await.unwrap();
    assert_eq!(again.item, first.item);
    assert_eq!(world.ledger.all().len(), 1);
}

#[tokio::test]
async fn a_repeated_update_gets_the_first_answer_though_its_version_is_outdated() {
    let world = world();
    world.create().await;
    let first = world.keyed("k", PRICE, exactly(1), THIRTEEN).await.unwrap();
    world.change_price(exactly(2), "14").await.unwrap();
    let again = world.keyed("k", PRICE, exactly(1), THIRTEEN).await.unwrap();
    assert_eq!((&again.item, again.replayed), (&first.item, true));
    assert_eq!(again.item.version, version(2), "as it was then");
    assert_eq!(world.ledger.all().len(), 3);
}

#[tokio::test]
async fn a_repeated_update_of_whatever_is_newest_happens_once() {
    let world = world();
    world.create().await;
    world.keyed("k", PRICE, Some(IfMatch::Any), THIRTEEN).await.unwrap();
    world.change_price(Some(IfMatch::Any), "14").await.unwrap();
    let again = world.keyed("k", PRICE, Some(IfMatch::Any), THIRTEEN).await.unwrap();
    assert_eq!((again.replayed, again.item.version), (true, version(2)));
    assert_eq!(world.ledger.all().last().unwrap().attributes()["price"], json!("14"));
}

#[tokio::test]
async fn a_repeated_merge_names_its_target_as_it_is_by_then() {
    let world = world();
    world.create().await;
    world.send(Action::Create, None, r#"{"sk": "band", "code": "B", "name": "Band"}"#).await.unwrap();
    let merge = async || world.keyed("k", Action::Named("merge-into"), exactly(1), r#"{"target": "band"}"#).await;
    let first = merge().await.unwrap();
    assert_eq!(merge().await.unwrap(), Accepted { replayed: true, ..first.clone() });
    let later = world.request(PRICE, "band", exactly(2), THIRTEEN);
    let later = world.commands.execute(later).await.unwrap();
    assert_eq!(merge().await.unwrap(), Accepted { replayed: true, others: vec![later.item], ..first });
}

#[tokio::test]
async fn an_accepted_request_with_a_key_costs_no_extra_read() {
    let world = world();
    world.keyed("k", Action::Create, None, RING).await.unwrap();
    assert_eq!((world.ledger.reads(), world.ledger.commits()), (0, 1));
}

#[tokio::test]
async fn the_same_key_with_another_body_target_or_version_is_refused() {
    let world = world();
    world.create().await;
    world.keyed("k", PRICE, exactly(1), THIRTEEN).await.unwrap();
    let others = [
        world.keyed("k", PRICE, exactly(1), r#"{"price": "15"}"#).await,
        world.keyed("k", PRICE, exactly(2), THIRTEEN).await,
        world.keyed("k", Action::Delete, exactly(2), "").await,
        world.keyed("k", Action::Create, None, r#"{"code": "B", "name": "B"}"#).await,
    ];
    for other in others {
        assert!(matches!(other, Err(CommandError::KeyReused)), "{other:?}");
    }
    assert_eq!(world.ledger.all().len(), 2);
}

#[tokio::test]
async fn the_same_key_of_another_tenant_is_another_key() {
    let world = world();
    world.keyed("k", Action::Create, None, RING).await.unwrap();
    let caller = Caller { tenant: "other".parse().unwrap(), user: "bob".into(), ip: String::new() };
    let request = world.request(Action::Create, "", None, RING);
    let request = CommandRequest { idempotency_key: Some("k".into()), caller, ..request };
    assert!(!world.commands.execute(request).await.unwrap().replayed);
}

#[tokio::test]
async fn a_refused_request_is_not_remembered_and_may_succeed_later() {
    let world = world();
    let refused = world.keyed("k", PRICE, Some(IfMatch::Any), THIRTEEN).await;
    assert!(matches!(refused, Err(CommandError::NotFound(_))));
    world.create().await;
    assert!(!world.keyed("k", PRICE, Some(IfMatch::Any), THIRTEEN).await.unwrap().replayed);
}

#[tokio::test]
async fn nothing_to_do_is_remembered_as_such() {
    let world = world();
    world.create().await;
    let same = r#"{"price": "12.50"}"#;
    assert!(!world.keyed("k", PRICE, Some(IfMatch::Any), same).await.unwrap().changed);
    world.change_price(Some(IfMatch::Any), "14").await.unwrap();
    let again = world.keyed("k", PRICE, Some(IfMatch::Any), same).await.unwrap();
    assert_eq!((again.changed, again.replayed, again.item.version), (false, true, version(1)));
    assert_eq!(world.ledger.all().len(), 2, "the price is still 14");
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_after_all() {
    let world = world();
    world.ledger.lose_next_answer();
    assert_eq!(world.keyed("k", Action::Create, None, RING).await.unwrap().item.version, Version::FIRST);
    assert_eq!(world.ledger.all().len(), 1);
}

#[tokio::test]
async fn while_its_twin_is_being_answered_a_request_is_told_to_wait() {
    let world = world();
    world.ledger.fail_next_commit(CommitError::Contended);
    assert!(matches!(world.keyed("k", Action::Create, None, RING).await, Err(CommandError::InFlight)));
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused_before_anything_is_read() {
    let world = world();
    for key in ["", "é", "a\nb", &"x".repeat(256)] {
        let refused = world.keyed(key, Action::Create, None, RING).await;
        assert!(matches!(refused, Err(CommandError::KeyInvalid)), "{key:?}");
    }
    assert_eq!(world.ledger.commits(), 0);
}
