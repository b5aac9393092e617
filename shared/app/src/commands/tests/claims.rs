use ledgerline_kernel::Claim;

use super::*;

fn product(sk: &str, code: &str) -> String {
    json!({"sk": sk, "code": code, "name": sk}).to_string()
}

impl World {
    async fn to(&self, action: Action<'_>, sk: &str, body: &str) -> Result<Accepted, CommandError> {
        let if_match = (action != Action::Create).then_some(IfMatch::Any);
        self.commands.execute(self.request(action, sk, if_match, body)).await
    }

    /// Which product has which code, by claims.
    fn codes(&self) -> Vec<(String, String)> {
        let claims = self.ledger.claims().into_iter();
        claims.map(|(claim, holder): (Claim, _)| (claim.value, holder.sk.to_string())).collect()
    }
}

fn taken_by(refused: Result<Accepted, CommandError>) -> (String, String) {
    match refused {
        Err(CommandError::Taken { field, holder }) => (field, holder.sk.to_string()),
        other => panic!("{other:?}"),
    }
}

fn codes<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected.map(|(code, sk)| (code.to_owned(), sk.to_owned())).into()
}

#[tokio::test]
async fn a_code_is_taken_with_the_version_that_has_it() {
    let world = world();
    world.to(Action::Create, "", &product("a", "X")).await.unwrap();
    assert_eq!(world.codes(), codes([("X", "a")]));
    assert_eq!((world.ledger.reads(), world.ledger.commits()), (0, 1), "one transaction, no read");
}

#[tokio::test]
async fn a_code_that_another_product_has_is_refused_with_its_field_and_nothing_is_written() {
    let world = world();
    world.to(Action::Create, "", &product("a", "X")).await.unwrap();
    let refused = world.to(Action::Create, "", &product("b", "X")).await;
    assert_eq!(taken_by(refused), ("code".to_owned(), "a".to_owned()));
    world.to(Action::Create, "", &product("b", "Y")).await.unwrap();
    let refused = world.to(Action::Update, "b", r#"{"code": "X"}"#).await;
    assert_eq!(taken_by(refused).1, "a");
    assert_eq!(world.ledger.all().len(), 2);
    assert_eq!(world.codes(), codes([("X", "a"), ("Y", "b")]));
}

#[tokio::test]
async fn the_same_code_in_another_tenant_is_another_code() {
    let world = world();
    world.to(Action::Create, "", &product("a", "X")).await.unwrap();
    world.send_as("other", Action::Create, None, &product("a", "X")).await.unwrap();
    assert_eq!(world.codes().len(), 2);
}

#[tokio::test]
async fn changing_a_code_gives_up_the_old_one() {
    let world = world();
    world.to(Action::Create, "", &product("a", "X")).await.unwrap();
    world.to(Action::Update, "a", r#"{"code": "Y"}"#).await.unwrap();
    assert_eq!(world.codes(), codes([("Y", "a")]));
    world.to(Action::Create, "", &product("b", "X")).await.unwrap();
}

#[tokio::test]
async fn a_deleted_product_gives_up_its_code_and_a_restored_one_takes_it_back_if_it_can() {
    let world = world();
    world.to(Action::Create, "", &product("a", "X")).await.unwrap();
    world.to(Action::Delete, "a", "").await.unwrap();
    assert_eq!(world.codes(), codes([]));
    world.to(Action::Restore, "a", "").await.unwrap();
    assert_eq!(world.codes(), codes([("X", "a")]));

    world.to(Action::Delete, "a", "").await.unwrap();
    world.to(Action::Create, "", &product("b", "X")).await.unwrap();
    assert_eq!(taken_by(world.to(Action::Restore, "a", "").await).1, "b");
}

#[tokio::test]
async fn a_change_of_something_else_needs_no_transaction() {
    let world = world();
    world.to(Action::Create, "", &product("a", "X")).await.unwrap();
    let changed = world.to(Action::Named("change-price"), "a", r#"{"price": "1"}"#).await.unwrap();
    assert_eq!(changed.item.version, version(2));
    assert_eq!(world.codes(), codes([("X", "a")]));
}

#[tokio::test]
async fn a_merge_changes_both_products_in_one_write() {
    let world = world();
    world.to(Action::Create, "", &product("b", "Y")).await.unwrap();
    let ring = r#"{"sk": "a", "code": "X", "name": "a", "attributes": {"price": "7"}}"#;
    world.to(Action::Create, "", ring).await.unwrap();
    let before = world.ledger.commits();
    let merged = world.to(Action::Named("merge-into"), "a", r#"{"target": "b"}"#).await.unwrap();
    assert!(merged.item.is_deleted);
    let [target] = merged.others.as_slice() else { panic!("{:?}", merged.others) };
    assert_eq!((target.key.sk.as_str(), target.version), ("b", version(2)));
    assert_eq!(target.attributes()["price"], json!("7"));
    assert_eq!(world.ledger.commits(), before + 1);
    assert_eq!(world.codes(), codes([("Y", "b")]));
}

#[tokio::test]
async fn a_merge_into_itself_or_into_nothing_is_refused() {
    let world = world();
    world.to(Action::Create, "", &product("a", "X")).await.unwrap();
    let itself = world.to(Action::Named("merge-into"), "a", r#"{"target": "a"}"#).await;
    assert!(matches!(itself, Err(CommandError::NamesItself("target"))), "{itself:?}");
    let nothing = world.to(Action::Named("merge-into"), "a", r#"{"target": "none"}"#).await;
    assert!(matches!(nothing, Err(CommandError::NotFound(key)) if key.sk.as_str() == "none"));
    assert_eq!(world.ledger.all().len(), 1);
}

#[tokio::test]
async fn a_merge_whose_target_changes_meanwhile_is_decided_again() {
    let world = world();
    world.to(Action::Create, "", &product("a", "X")).await.unwrap();
    world.to(Action::Create, "", r#"{"sk": "b", "code": "Y", "name": "b"}"#).await.unwrap();
    world.to(Action::Named("change-price"), "a", r#"{"price": "1"}"#).await.unwrap();
    // `rival` writes the next version of the last entity in the ledger, which is b.
    world.ledger.before_next_commit(world.rival());
    let request = world.request(Action::Named("merge-into"), "a", exactly(2), r#"{"target": "b"}"#);
    let merged = world.commands.execute(request).await.unwrap();
    assert_eq!(merged.others[0].version, version(3));
    assert_eq!(*world.environment.waits.lock().unwrap(), [1]);
}
