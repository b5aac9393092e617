use dynoxide::actions::list_streams::ListStreamsRequest;
use dynoxide::actions::list_tables::ListTablesRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

fn tables(dynamo: &LocalDynamo) -> Vec<String> {
    dynamo.database().list_tables(ListTablesRequest::default()).unwrap().table_names
}

async fn answer(dynamo: &LocalDynamo) -> std::io::Result<String> {
    let address = dynamo.endpoint().strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn it_answers_on_its_endpoint_until_it_is_stopped() {
    let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
    assert!(answer(&dynamo).await.unwrap().contains("healthy"));
    let address = dynamo.endpoint().strip_prefix("http://").unwrap().to_owned();
    dynamo.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn tables_in_a_file_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let at = DynamoAt::File(directory.path().join("made/for/it/dynamodb.sqlite"));
    let dynamo = LocalDynamo::start(at.clone()).await.unwrap();
    dynamo.create_table("ledger", true).unwrap();
    dynamo.stop().await;
    let dynamo = LocalDynamo::start(at).await.unwrap();
    assert_eq!(tables(&dynamo), ["ledger"]);
    dynamo.create_table("ledger", true).unwrap();
}

#[tokio::test]
async fn two_in_memory_share_nothing_and_leave_no_file() {
    let (one, two) =
        (LocalDynamo::start(DynamoAt::Memory).await.unwrap(), LocalDynamo::start(DynamoAt::Memory).await.unwrap());
    one.create_table("ledger", false).unwrap();
    assert_eq!(tables(&two), [""; 0]);
    let file = one.database().db_path().unwrap().unwrap();
    assert!(Path::new(&file).exists());
    one.stop().await;
    assert!(!Path::new(&file).exists());
}

#[tokio::test]
async fn only_a_table_with_a_stream_has_one() {
    let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
    dynamo.create_table("ledger", true).unwrap();
    dynamo.create_table("data", false).unwrap();
    let streams = dynamo.database().list_streams(ListStreamsRequest::default()).unwrap().streams;
    let tables: Vec<_> = streams.iter().map(|stream| &*stream.table_name).collect();
    assert_eq!(tables, ["ledger"]);
}

#[tokio::test]
async fn a_name_that_dynamodb_refuses_is_an_error() {
    let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
    assert!(dynamo.create_table("no", false).is_err());
}

/// The query that each put makes must not read the whole stream.
#[tokio::test]
async fn the_highest_sequence_number_is_found_through_the_index() {
    let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
    let file = dynamo.database().db_path().unwrap().unwrap();
    let connection = rusqlite::Connection::open(file).unwrap();
    let plan: String = connection
        .query_row(
            "EXPLAIN QUERY PLAN SELECT COALESCE(MAX(CAST(sequence_number AS INTEGER)), 0) + 1 \
             FROM _stream_records WHERE table_name = 'ledger'",
            [],
            |row| row.get("detail"),
        )
        .unwrap();
    assert!(plan.contains("ledgerline_stream_seq"), "{plan}");
}
