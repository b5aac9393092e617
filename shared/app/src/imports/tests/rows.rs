//! What becomes of rows.

use ledgerline_kernel::ports::{CommitError, StateSink};
use ledgerline_kernel::{Action, FailedRow, RowContent};
use serde_json::json;

use super::*;
use crate::{CommandRequest, IfMatch, RequestOrigin};

impl World {
    /// A command of somebody else.
    async fn command(&self, action: Action<'_>, sk: Option<&str>, body: &str) -> VersionItem {
        let domain = registry().by_resource("products").unwrap().clone();
        let request = CommandRequest {
            domain: domain.as_ref(),
            action,
            sk: sk.map(|sk| sk.parse().unwrap()),
            if_match: sk.map(|_| IfMatch::Any),
            idempotency_key: None,
            body,
            caller: Caller { user: "bob".to_owned(), ..ann() },
            origin: RequestOrigin::default(),
        };
        let item = self.commands().execute(request).await.unwrap().item;
        self.entities.apply(domain.as_ref(), &[&item]).await.unwrap();
        item
    }

    async fn failures(&self, key: &ImportKey) -> Vec<FailedRow> {
        let (page, next) = self.imports().errors(key, None).await.unwrap();
        assert_eq!(next, None);
        page.into_iter().flat_map(|errors| errors.rows).collect()
    }
}

#[tokio::test]
async fn rows_become_entities_that_say_where_they_come_from() {
    let world = World::default();
    let status = world.import(ImportMode::Upsert, &csv(0..120, |number| number)).await;
    assert_eq!((status.job.state, status.counts), (ImportState::Completed, counts(120, 0, 0, 0)));
    let ring = world.by_code("R-7");
    let from = format!("{}.0", status.job.key.id);
    assert_eq!((ring.source.as_str(), ring.request_id.as_str()), ("import-worker", from.as_str()));
    assert_eq!((ring.updated.by.as_str(), ring.updated.ip.as_str()), ("ann", "192.0.2.7"));
    let prices = world.prices();
    assert_eq!((prices.len(), &prices[8]), (120, &("R-105".to_owned(), json!("105"))));
}

#[tokio::test]
async fn a_part_is_as_many_rows_as_a_transaction_holds() {
    let world = World::default();
    world.import(ImportMode::Upsert, &csv(0..120, |number| number)).await;
    let sizes = |world: &World| world.ledger.outcomes_of_all().iter().map(|rows| rows.rows).collect::<Vec<_>>();
    assert_eq!(sizes(&world), [49, 49, 22], "two operations for each, and the outcome");
    let before = world.ledger.commits();
    world.import(ImportMode::Upsert, &csv(0..120, |number| number)).await;
    assert_eq!(world.ledger.commits() - before, 2, "what changes nothing takes no room");
    assert_eq!(sizes(&world)[3..], [49, 71]);
    let before = world.ledger.commits();
    world.import(ImportMode::Upsert, &csv((0..49).chain(200..271), |number| number)).await;
    assert_eq!(sizes(&world)[5..], [49, 49, 22], "more were looked at than fitted");
    assert_eq!(world.ledger.commits() - before, 3, "none was refused for its size");
}

#[tokio::test]
async fn imported_again_all_rows_are_unchanged_and_no_version_is_written() {
    let world = World::default();
    let file = csv(0..120, |number| number);
    world.import(ImportMode::Upsert, &file).await;
    let before = world.ledger.all();
    let status = world.import(ImportMode::Upsert, &file).await;
    assert_eq!((status.job.state, status.counts), (ImportState::Completed, counts(0, 0, 120, 0)));
    assert!(world.ledger.all() == before);
}

#[tokio::test]
async fn what_differs_is_updated_and_nothing_else() {
    let world = World::default();
    world.import(ImportMode::Upsert, &csv(0..120, |number| number)).await;
    let status = world.import(ImportMode::Upsert, &csv(0..120, |number| number + number % 3)).await;
    assert_eq!(status.counts, counts(0, 80, 40, 0));
    assert_eq!(world.ledger.all().len(), 200);
    assert_eq!(world.prices()[1], ("R-1".to_owned(), json!("2")));
}

#[tokio::test]
async fn a_failing_row_costs_only_itself() {
    let world = World::default();
    let file = csv(0..46, |number| number).replace("R-20,Ring 20,20\n", "R-20,\"\",a lot\n");
    let status = world.import(ImportMode::Upsert, &file).await;
    assert_eq!((status.job.state, status.counts), (ImportState::Completed, counts(45, 0, 0, 1)));
    assert_eq!(world.ledger.commits(), 1, "one transaction all the same");
    let [failed] = world.failures(&status.job.key).await.try_into().unwrap();
    assert_eq!(failed.content, RowContent::Fields(["R-20", "", "a lot"].map(str::to_owned).to_vec()));
    assert_eq!((failed.row, failed.code.as_str(), failed.path.as_deref()), (22, "VALIDATION_ERROR", Some("name")));
    assert_eq!(failed.message, "must be given; attributes.price must be a decimal number, such as \"12.50\"");
    let (errors, _) = world.imports().errors(&status.job.key, None).await.unwrap();
    assert_eq!(errors[0].columns, ["code", "name", "price"]);
}

#[tokio::test]
async fn what_could_not_be_read_is_a_failed_row_with_a_code_of_its_own() {
    let world = World::default();
    let status = world.import(ImportMode::Upsert, "code,name\nR-1,Ring\nR-2\nR-3,Ri\0ng\n").await;
    assert_eq!(status.counts, counts(1, 0, 0, 2));
    let failed = world.failures(&status.job.key).await;
    let codes: Vec<_> = failed.iter().map(|row| (row.row, row.code.as_str(), row.path.clone())).collect();
    assert_eq!(codes, [(3, "WRONG_NUMBER_OF_FIELDS", None), (4, "NUL_CHARACTER", None)]);
    assert_eq!(failed[0].content, RowContent::Text("R-2".to_owned()));
}

#[tokio::test]
async fn a_create_fails_where_the_entity_or_its_code_is_there() {
    let world = World::default();
    world.command(Action::Create, None, r#"{"sk": "s-3", "code": "R-3", "name": "Ring"}"#).await;
    world.command(Action::Create, None, r#"{"sk": "other", "code": "R-9", "name": "Ring"}"#).await;
    let row = |number: u32| format!("s-{number},R-{number},Ring\n");
    let file = (0..49).map(row).fold("sk,code,name\n".to_owned(), |csv, row| csv + &row);
    let before = world.ledger.commits();
    let status = world.import(ImportMode::Create, &file).await;
    assert_eq!((status.job.state, status.counts), (ImportState::Completed, counts(47, 0, 0, 2)));
    let failed = world.failures(&status.job.key).await;
    let codes: Vec<_> = failed.iter().map(|row| (row.row, row.code.as_str(), row.path.as_deref())).collect();
    assert_eq!(codes, [(5, "ALREADY_EXISTS", None), (11, "ALREADY_EXISTS", Some("code"))]);
    assert_eq!(world.ledger.commits() - before, 2, "one that fails, and one that knows all that is in the way");
    assert_eq!(world.newest(&world.by_code("R-3").key).version.number(), 1);
}

#[tokio::test]
async fn creates_read_nothing_while_nothing_is_in_the_way() {
    let world = World::default();
    let row = |number: u32| format!("s-{number},R-{number},Ring\n");
    let file = (0..120).map(row).fold("sk,code,name\n".to_owned(), |csv, row| csv + &row);
    world.import(ImportMode::Create, &file).await;
    assert_eq!((world.ledger.reads(), world.ledger.commits()), (0, 3));
    let status = world.import(ImportMode::Create, &file).await;
    assert_eq!(status.counts, counts(0, 0, 0, 120));
    assert_eq!(world.failed(&status.job.key).await[119], (121, "ALREADY_EXISTS".to_owned()));
}

#[tokio::test]
async fn an_entity_is_found_by_its_sk_or_by_its_code() {
    let world = World::default();
    world.command(Action::Create, None, r#"{"sk": "ring", "code": "R", "name": "Ring"}"#).await;
    world.command(Action::Create, None, r#"{"sk": "band", "code": "B", "name": "Band"}"#).await;
    let status = world.import(ImportMode::Upsert, "sk,code,name\nring,R,New ring\n,B,New band\nnew,N,New\n").await;
    assert_eq!(status.counts, counts(1, 2, 0, 0));
    let names = ["R", "B", "N"].map(|code| (world.by_code(code).key.sk.to_string(), world.by_code(code).name));
    let expected = [("ring", "New ring"), ("band", "New band"), ("new", "New")];
    assert_eq!(names, expected.map(|(sk, name)| (sk.to_owned(), name.to_owned())));
}

#[tokio::test]
async fn a_patch_says_only_what_its_columns_say_and_an_empty_cell_removes() {
    let world = World::default();
    let body = r#"{"sk": "ring", "code": "R", "name": "Ring", "attributes": {"price": "1", "category": "Ideal"}}"#;
    world.command(Action::Create, None, body).await;
    let status = world.import(ImportMode::Upsert, "code,price\nR,\n").await;
    assert_eq!(status.counts, counts(0, 1, 0, 0));
    let ring = world.by_code("R");
    assert_eq!((ring.name.as_str(), ring.attributes()), ("Ring", json!({"category": "Ideal"})));
}

#[tokio::test]
async fn a_code_that_another_entity_has_fails_the_row_and_no_other() {
    let world = World::default();
    world.command(Action::Create, None, r#"{"sk": "ring", "code": "R", "name": "Ring"}"#).await;
    let status = world.import(ImportMode::Upsert, "sk,code,name\na,A,A\nb,R,B\nc,C,C\n").await;
    assert_eq!(status.counts, counts(2, 0, 0, 1));
    assert_eq!(world.failed(&status.job.key).await, [(3, "ALREADY_EXISTS".to_owned())]);
}

#[tokio::test]
async fn a_refusal_of_the_domain_has_the_domains_code() {
    let world = World::default();
    world.command(Action::Create, None, r#"{"sk": "ring", "code": "R", "name": "Ring"}"#).await;
    world.command(Action::Delete, Some("ring"), "").await;
    let status = world.import(ImportMode::Upsert, "sk,code,name\nring,R,Ring\n").await;
    assert_eq!(world.failed(&status.job.key).await, [(2, "PRODUCT_DELETED".to_owned())]);
}

/// Each row as if it came after the one before it, however they share a message.
#[tokio::test]
async fn a_row_sees_what_an_earlier_one_of_the_same_message_led_to() {
    let world = World::default();
    let file = "sk,code,name\n\
                a,A,First\na,A,Second\na,A,First\n\
                ,B,Band\n,B,\n\
                b,C,Cup\n,C,Mug\n\
                a,D,First\n,A,Another\n";
    let status = world.import(ImportMode::Upsert, file).await;
    assert_eq!(world.failed(&status.job.key).await, [(6, "VALIDATION_ERROR".to_owned())], "a name cannot go");
    assert_eq!(status.counts, counts(4, 4, 0, 1));
    assert_eq!((world.by_code("D").version.number(), world.by_code("D").name.as_str()), (4, "First"));
    assert_eq!((world.by_code("C").version.number(), world.by_code("C").name.as_str()), (2, "Mug"));
    assert_eq!(world.by_code("A").name, "Another");
    let status = world.import(ImportMode::Create, "sk,code,name\nx,X,X\nx,Y,Y\ny,X,X\n").await;
    assert_eq!(status.counts, counts(1, 0, 0, 2));
}

#[tokio::test]
async fn what_others_write_in_between_is_built_on() {
    let world = World::default();
    world.import(ImportMode::Upsert, &csv(0..3, |number| number)).await;
    let rival = world.clone();
    world.ledger.before_next_commit(move |ledger| {
        let ring = rival.by_code("R-1");
        let item = ledgerline_testkit::next_version(
            registry().by_resource("products").unwrap().as_ref(),
            &ring.key,
            Some(&ring),
            (Action::Update, r#"{"name": "Rival's ring"}"#),
            rival.environment.now(),
        );
        ledger.insert(item.unwrap());
    });
    let status = world.import(ImportMode::Upsert, "code,price\nR-0,9\nR-1,9\nR-2,2\n").await;
    assert_eq!((status.job.state, status.counts), (ImportState::Completed, counts(0, 2, 1, 0)));
    let ring = world.by_code("R-1");
    assert_eq!(
        (ring.version.number(), ring.name.as_str(), ring.attributes()),
        (3, "Rival's ring", json!({"price": "9"}))
    );
}

#[tokio::test]
async fn a_part_that_is_too_large_is_halved_and_a_row_that_is_too_large_fails() {
    let world = World::default();
    let too_large = || CommitError::TooLarge { bytes: 5_000_000, limit: 4_194_304 };
    world.ledger.fail_next_commit(too_large());
    world.ledger.fail_next_commit(too_large());
    let status = world.import(ImportMode::Upsert, &csv(0..8, |number| number)).await;
    assert_eq!(status.counts, counts(8, 0, 0, 0));
    let sizes: Vec<_> = world.ledger.outcomes_of_all().iter().map(|rows| rows.rows).collect();
    assert_eq!(sizes, [2, 6]);
    world.ledger.fail_next_commit(too_large());
    let status = world.import(ImportMode::Upsert, &csv(8..9, |number| number)).await;
    assert_eq!(status.counts, counts(0, 0, 0, 1));
    assert_eq!(world.failed(&status.job.key).await, [(2, "PAYLOAD_TOO_LARGE".to_owned())]);
}

#[tokio::test]
async fn an_entity_that_cannot_be_read_fails_its_row_and_no_other() {
    let world = World::default();
    world.import(ImportMode::Upsert, &csv(0..3, |number| number)).await;
    let mut odd = world.by_code("R-1");
    odd.version = odd.version.next().unwrap();
    odd.state = json!({"code": 7});
    world.ledger.insert(odd);
    let status = world.import(ImportMode::Upsert, &csv(0..3, |_| 9)).await;
    assert_eq!((status.job.state, status.counts), (ImportState::Completed, counts(0, 2, 0, 1)));
    let [failed] = world.failures(&status.job.key).await.try_into().unwrap();
    assert_eq!((failed.row, failed.code.as_str()), (3, "INTERNAL"));
    assert_eq!(failed.message, "something went wrong on our side", "no internal text");
}

#[tokio::test]
async fn a_row_that_would_change_what_another_message_of_its_file_wrote_is_told_and_not_left_to_chance() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    // Nine products, the tenth row repeats the first: within a message rows are taken in their order.
    let first = csv(0..9, |number| number) + "R-0,Ring 0,70\n";
    let next = "R-0,Ring 0,80\nR-1,Ring 1,1\nR-9,Ring 9,9\n";
    assert_eq!(world.split(&job, &(first + next), 10).await, Split::Done(ImportState::Running));
    for chunk in world.messages() {
        world.work(&chunk).await;
    }
    let status = world.status(&job.key).await;
    assert_eq!((status.job.state, status.counts), (ImportState::Completed, counts(10, 1, 1, 1)));
    assert_eq!(world.failed(&job.key).await, [(12, "REPEATED_IN_FILE".to_owned())]);
    assert_eq!(world.prices()[0], ("R-0".to_owned(), json!("70")));
    // By itself it is taken.
    let again = world.import(ImportMode::Upsert, "code,name,price\nR-0,Ring 0,80\n").await;
    assert_eq!(again.counts, counts(0, 1, 0, 0));
}
