use sqlx::{Connection, PgConnection};

use super::*;
use crate::TestDatabase;

async fn commit(url: &str, number: i32) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
    sqlx::query("INSERT INTO seen VALUES ($1)").bind(number).execute(&mut connection).await?;
    sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
    connection.close().await
}

#[tokio::test]
async fn a_connection_is_cut_where_it_was_asked_for_and_only_once() {
    let database = TestDatabase::create().await.unwrap();
    if database.max_connections() == 1 {
        return; // The embedded Postgres waits for a client that is gone.
    }
    let proxy = CutPostgres::start(database.url()).await.unwrap();
    let url = proxy.url(database.url());
    let mut direct = PgConnection::connect(database.url()).await.unwrap();
    sqlx::raw_sql("CREATE TABLE seen (number int)").execute(&mut direct).await.unwrap();

    proxy.cut_at("COMMIT", Cut::Before);
    commit(&url, 1).await.unwrap_err();
    proxy.cut_at("COMMIT", Cut::After);
    commit(&url, 2).await.unwrap_err();
    proxy.cut_at("COMMIT", Cut::During);
    commit(&url, 3).await.unwrap_err();
    proxy.cut_at("nobody says this", Cut::Before);
    commit(&url, 4).await.unwrap();
    proxy.calm();
    commit(&url, 5).await.unwrap();
    assert_eq!(proxy.cuts(), 3);

    let seen: Vec<i32> = sqlx::query_scalar("SELECT number FROM seen WHERE number <> 3 ORDER BY number")
        .fetch_all(&mut direct)
        .await
        .unwrap();
    assert_eq!(seen, [2, 4, 5]);
}
