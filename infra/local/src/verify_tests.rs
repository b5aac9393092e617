use aws_sdk_dynamodb::types::AttributeValue;
use clap::Parser as _;
use ledgerline_app::DefectKind;

use super::*;
use crate::command::{self, Cli};
use crate::host_fixture::{create, start};

/// As the command line does it, from its arguments to its exit status.
async fn run(data_dir: &Path, more: &[&str]) -> Result<(), String> {
    let data_dir = data_dir.to_str().unwrap();
    let cli = Cli::parse_from(["ledgerline", "verify", "--data-dir", data_dir].iter().chain(more));
    let ran = tokio::task::spawn_blocking(move || command::run(&cli)).await.unwrap();
    ran.map(drop).map_err(|error| format!("{error:#}"))
}

async fn change_name(data_dir: &Path, sk: &str, name: &str) {
    let dynamo = LocalDynamo::start(DynamoAt::File(ledger_file(data_dir))).await.unwrap();
    let client = dynamodb_client(&settings(dynamo.endpoint(), "", &Template::load(None).unwrap())).await;
    let update = client
        .update_item()
        .table_name("ledgerline-ledger")
        .key("pk", AttributeValue::S("PRODUCT#demo".to_owned()))
        .key("sk", AttributeValue::S(format!("{sk}@0000000001")))
        .update_expression("SET #name = :name")
        .expression_attribute_names("#name", "name")
        .expression_attribute_values(":name", AttributeValue::S(name.to_owned()));
    update.send().await.unwrap();
    dynamo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_verified_beside_its_host_and_after_it_and_damage_is_found() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let host = start(&dir).await;
    for sk in ["P-1", "P-2", "P-3"] {
        create(&host, sk).await;
    }
    let clean = verify(&dir, None, None, Some(&host.url())).await.unwrap();
    let expected = VerifyReport { entities: 3, versions: 3, claims: 3, ..VerifyReport::default() };
    assert_eq!(clean, expected);
    assert_eq!(verify(&dir, None, None, None).await.unwrap(), expected, "the host's record is found");
    host.stop().await.unwrap();

    assert_eq!(run(&dir, &["--json"]).await, Ok(()));
    assert_eq!(verify(&dir, None, None, None).await.unwrap(), expected);

    change_name(&dir, "P-2", "another name").await;
    assert_eq!(run(&dir, &[]).await, Err("the ledger is not as it was written".to_owned()));
    let nothing = "the ledger has nothing of the tenant other; it has demo".to_owned();
    assert_eq!(run(&dir, &["--tenant", "other"]).await, Err(nothing), "what is not there is not well");
    let report = verify(&dir, None, None, None).await.unwrap();
    let found: Vec<_> = report.defects.iter().map(|defect| (defect.id.as_str(), defect.kind)).collect();
    let damaged = "PRODUCT#demo#P-2";
    assert_eq!(found, [(damaged, DefectKind::HashDiffers), (damaged, DefectKind::StateDiffers)]);
    assert!(text(&report).ends_with("verified 3 entities, 3 versions and 3 claims: 2 defects"), "{}", text(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newest_version_that_is_gone_shows_beside_the_data_table() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let host = start(&dir).await;
    for sk in ["P-1", "P-2"] {
        create(&host, sk).await;
    }
    host.caught_up().await.unwrap();
    host.stop().await.unwrap();
    let dynamo = LocalDynamo::start(DynamoAt::File(ledger_file(&dir))).await.unwrap();
    let client = dynamodb_client(&settings(dynamo.endpoint(), "", &Template::load(None).unwrap())).await;
    for (pk, sk) in [("PRODUCT#demo", "P-2@0000000001"), ("UNIQUE#demo#PRODUCT#code#P-2", "claim")] {
        let delete = client.delete_item().table_name("ledgerline-ledger").key("pk", AttributeValue::S(pk.to_owned()));
        delete.key("sk", AttributeValue::S(sk.to_owned())).send().await.unwrap();
    }
    dynamo.stop().await;
    assert_eq!(run(&dir, &[]).await, Err("the ledger is not as it was written".to_owned()));
    let report = verify(&dir, None, None, None).await.unwrap();
    let found: Vec<_> = report.defects.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["PRODUCT#demo#P-2@1 NEWEST_MISSING: data-table has version 1, the ledger nothing"]);
}

#[tokio::test]
async fn a_directory_without_a_ledger_is_refused_and_left_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let refusal = verify(root.path(), None, None, None).await.unwrap_err().to_string();
    assert!(refusal.contains("there is no ledger") && refusal.contains("--data-dir"), "{refusal}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn the_text_lists_each_defect_and_each_advice_once() {
    let defect = |id: &str, kind| Defect { id: id.to_owned(), version: None, kind, detail: "so".to_owned() };
    let report = VerifyReport {
        entities: 1,
        versions: 1_200,
        claims: 2,
        defect_count: 1_003,
        defects: vec![defect("a", DefectKind::ClaimMissing), defect("b", DefectKind::ClaimMissing)],
        ..VerifyReport::default()
    };
    let expected = "a CLAIM_MISSING: so\nb CLAIM_MISSING: so\nand 1,001 more defects\n\nWhat to do:\n  \
                    CLAIM_MISSING: put the missing claim row, naming this entity\n\n\
                    verified 1 entity, 1,200 versions and 2 claims: 1,003 defects";
    assert_eq!(text(&report), expected);
}
