use super::*;

async fn tables(database: &TestDatabase) -> i64 {
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let count = sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE relname = 'marker'");
    let count = count.fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

#[tokio::test]
async fn two_tests_do_not_see_each_others_tables() {
    let one = TestDatabase::create().await.unwrap();
    let mut connection = PgConnection::connect(one.url()).await.unwrap();
    sqlx::query("CREATE TABLE marker (id int)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let other = TestDatabase::create().await.unwrap();
    assert_eq!((tables(&one).await, tables(&other).await), (1, 0));
}

#[tokio::test]
async fn a_test_that_leaves_a_connection_open_can_still_end() {
    let database = TestDatabase::create().await.unwrap();
    let connection = PgConnection::connect(database.url()).await.unwrap();
    drop(database);
    drop(connection);
}
