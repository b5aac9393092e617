use super::*;

const NEW: Action<'static> = Action::Create;

fn product(sk: &str, code: &str) -> String {
    json!({"sk": sk, "code": code, "name": sk}).to_string()
}

#[tokio::test]
async fn several_commands_are_written_in_one_go_and_answered_in_order() {
    let world = world();
    world.create().await;
    let (a, b) = (product("a", "A"), product("b", "B"));
    let requests = [
        world.request(NEW, "", None, &a),
        world.request(Action::Delete, "ring", exactly(1), ""),
        world.request(NEW, "", None, &b),
    ];
    let accepted = world.commands.execute_together(&requests).await.unwrap();
    let answers: Vec<_> = accepted.iter().map(|accepted| accepted.item.key.sk.as_str()).collect();
    assert_eq!(answers, ["a", "ring", "b"]);
    assert_eq!(world.ledger.commits(), 2, "the create before, and all of this");
}

#[tokio::test]
async fn one_that_fails_is_named_and_nothing_of_the_others_is_written() {
    let world = world();
    world.create().await;
    let (a, bad, taken) = (product("a", "A"), r#"{"code": 7}"#, product("b", "R-7"));
    let cases: [(CommandRequest<'_>, &str); 5] = [
        (world.request(NEW, "", None, bad), "input"),
        (world.request(Action::Delete, "ring", exactly(9), ""), "conflict"),
        (world.request(Action::Delete, "none", Some(IfMatch::Any), ""), "missing"),
        (world.request(NEW, "", None, RING), "exists"),
        (world.request(NEW, "", None, &taken), "taken"),
    ];
    for (bad, what) in cases {
        let requests = [world.request(NEW, "", None, &a), bad];
        let failed = world.commands.execute_together(&requests).await.unwrap_err();
        assert_eq!(failed.index, 1, "{what}: {failed}");
        assert_eq!(world.ledger.all().len(), 1, "{what}");
    }
}

#[tokio::test]
async fn two_entries_about_one_entity_or_one_code_are_refused_with_the_field_and_both_places() {
    let world = world();
    world.create().await;
    let (a, other) = (product("a", "A"), product("o", "O"));
    let (also_a, same_code) = (product("a", "B"), product("b", "A"));
    let merge = Action::Named("merge-into");
    for (third, repeated) in [
        (world.request(NEW, "", None, &also_a), "sk"),
        (world.request(NEW, "", None, &same_code), "code"),
        (world.request(merge, "ring", exactly(1), r#"{"target": "a"}"#), "target"),
    ] {
        let requests = [world.request(NEW, "", None, &other), world.request(NEW, "", None, &a), third];
        let FailedEntry { index, error } = world.commands.execute_together(&requests).await.unwrap_err();
        let CommandError::RepeatedInBatch { field, entry } = error else { panic!("{error}") };
        assert_eq!((index, field.as_str(), entry), (2, repeated, 1));
    }
}

#[tokio::test]
async fn two_products_swap_their_codes() {
    let world = world();
    world.commands.execute(world.request(NEW, "", None, &product("a", "A"))).await.unwrap();
    world.commands.execute(world.request(NEW, "", None, &product("b", "B"))).await.unwrap();
    let requests = [
        world.request(Action::Update, "a", exactly(1), r#"{"code": "B"}"#),
        world.request(Action::Update, "b", exactly(1), r#"{"code": "A"}"#),
    ];
    world.commands.execute_together(&requests).await.unwrap();
    let claims = world.ledger.claims().into_iter();
    let holders: Vec<_> = claims.map(|(claim, holder)| (claim.value, holder.sk.to_string())).collect();
    assert_eq!(holders, [("A".to_owned(), "b".to_owned()), ("B".to_owned(), "a".to_owned())]);
}

#[tokio::test]
async fn more_than_a_transaction_takes_is_refused_before_it_is_sent() {
    let world = world();
    let bodies: Vec<_> = (0..51).map(|number| product(&format!("p{number}"), &format!("C{number}"))).collect();
    let requests: Vec<_> = bodies.iter().map(|body| world.request(NEW, "", None, body)).collect();
    let refused = world.commands.execute_together(&requests).await.unwrap_err();
    assert!(matches!(refused.error, CommandError::TooManyWrites { operations: 102, limit: 100 }), "{refused}");
    assert_eq!(world.ledger.commits(), 0);
    world.commands.execute_together(&requests[..50]).await.unwrap();
    assert_eq!(world.ledger.all().len(), 50);
}

#[tokio::test]
async fn each_by_itself_succeeds_or_fails_by_itself() {
    let world = world();
    world.create().await;
    let (a, b) = (product("a", "A"), product("b", "R-7"));
    let requests = [
        world.request(NEW, "", None, &a),
        world.request(NEW, "", None, &b),
        world.request(PRICE, "ring", exactly(1), r#"{"price": "13"}"#),
    ];
    let outcomes = world.commands.execute_each(&requests).await;
    assert!(outcomes[0].is_ok());
    assert!(matches!(outcomes[1], Err(CommandError::Taken { .. })));
    assert_eq!(outcomes[2].as_ref().unwrap().item.version, version(2));
}

#[tokio::test]
async fn entries_about_the_same_entity_are_executed_one_after_the_other() {
    let world = world();
    let (new, other) = (product("a", "A"), product("b", "B"));
    let prices: Vec<_> = (2..30).map(|price| format!(r#"{{"price": "{price}"}}"#)).collect();
    let mut requests = vec![world.request(NEW, "", None, &new), world.request(NEW, "", None, &other)];
    requests.extend((1..).zip(&prices).map(|(held, body)| world.request(PRICE, "a", exactly(held), body)));
    requests.push(world.request(PRICE, "a", exactly(1), &prices[0]));
    let outcomes = world.commands.execute_each(&requests).await;
    let versions: Vec<_> = outcomes.iter().flatten().map(|accepted| accepted.item.version.number()).collect();
    assert_eq!(versions, [1, 1].into_iter().chain(2..30).collect::<Vec<_>>());
    assert!(matches!(outcomes.last(), Some(Err(CommandError::VersionConflict { .. }))));
}

const PRICE: Action<'static> = Action::Named("change-price");

#[tokio::test]
async fn a_repeated_batch_gets_the_first_answers() {
    let world = world();
    let (a, b) = (product("a", "A"), product("b", "B"));
    let keyed = |body| CommandRequest { idempotency_key: Some("k".into()), ..world.request(NEW, "", None, body) };
    let first = world.commands.execute_together(&[keyed(&a), keyed(&b)]).await.unwrap();
    let again = world.commands.execute_together(&[keyed(&a), keyed(&b)]).await.unwrap();
    let items = |accepted: &[Accepted]| accepted.iter().map(|accepted| accepted.item.clone()).collect::<Vec<_>>();
    assert_eq!(items(&first), items(&again));
    assert!(again.iter().all(|accepted| accepted.replayed));
    let reused = world.commands.execute_together(&[keyed(&b), keyed(&a)]).await.unwrap_err();
    assert!(matches!(reused.error, CommandError::KeyReused));
}

#[tokio::test]
async fn a_state_that_grows_too_large_is_refused_before_anything_is_written() {
    // The domain's own limits keep a product far below this one; another domain's may not.
    let registry = Registry::default().with::<ledgerline_testkit::note::Note>().unwrap();
    let world = world();
    let body = json!({"code": "n", "name": "n", "body": "x".repeat(350 * 1024)}).to_string();
    let note = registry.domains().next().unwrap().as_ref();
    let request = CommandRequest { domain: note, ..world.request(NEW, "", None, &body) };
    let refused = world.commands.execute(request).await.unwrap_err();
    assert!(matches!(refused, CommandError::TooLarge { limit: 358_400, .. }), "{refused}");
    assert_eq!(world.ledger.commits(), 0);
}
