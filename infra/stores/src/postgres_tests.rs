use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::Connection;
use tempfile::TempDir;

use super::*;

/// The kinds of private Postgres that this machine has.
fn kinds() -> Vec<PostgresChoice> {
    let embedded = PostgresChoice { url: None, allow_machine: false };
    let machine = PostgresChoice { url: None, allow_machine: true };
    if machine.means_embedded().unwrap() { vec![embedded] } else { vec![machine, embedded] }
}

/// A choice of the machine's own PostgreSQL, where there is one.
fn machine_choice() -> Option<PostgresChoice> {
    kinds().into_iter().find(|choice| choice.allow_machine)
}

async fn run(postgres: &LocalPostgres, statement: &'static str) {
    let mut connection = PgConnection::connect(postgres.url()).await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn number(postgres: &LocalPostgres, query: &'static str) -> i32 {
    let mut connection = PgConnection::connect(postgres.url()).await.unwrap();
    let number = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    number
}

#[test]
fn the_kind_in_the_environment_is_embedded_or_nothing() {
    let named = || PostgresChoice { url: Some("postgres://x".to_owned()), allow_machine: true };
    let overridden =
        |kind: &str| named().overridden_by(OsStr::new(kind)).map(|choice| (choice.url, choice.allow_machine));
    assert_eq!(overridden("").unwrap(), (named().url, true));
    assert_eq!(overridden("embedded").unwrap(), (None, false));
    for wrong in ["machine", "Embedded", " "] {
        assert!(overridden(wrong).unwrap_err().to_string().contains(wrong), "{wrong}");
    }
}

#[tokio::test]
async fn data_survives_a_restart() {
    for choice in kinds() {
        let dir = TempDir::new().unwrap();
        let first = LocalPostgres::start(Some(dir.path()), choice.clone()).await.unwrap();
        assert!(first.is_new());
        run(&first, "CREATE TABLE kept AS SELECT 7 AS number").await;
        first.stop().await.unwrap();

        let second = LocalPostgres::start(Some(dir.path()), choice).await.unwrap();
        assert!(!second.is_new());
        assert_eq!(number(&second, "SELECT number FROM kept").await, 7);
        second.stop().await.unwrap();
    }
}

#[tokio::test]
async fn wiping_leaves_nothing_of_the_data() {
    for choice in kinds() {
        let dir = TempDir::new().unwrap();
        let first = LocalPostgres::start(Some(dir.path()), choice.clone()).await.unwrap();
        run(&first, "CREATE TABLE kept AS SELECT 7 AS number").await;
        first.stop().await.unwrap();
        LocalPostgres::wipe(dir.path()).await.unwrap();

        let second = LocalPostgres::start(Some(dir.path()), choice).await.unwrap();
        assert!(second.is_new());
        assert_eq!(number(&second, "SELECT count(*)::int FROM pg_class WHERE relname = 'kept'").await, 0);
        second.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_serves_one_process_at_a_time_and_is_not_wiped_under_it() {
    let dir = TempDir::new().unwrap();
    for choice in kinds() {
        let first = LocalPostgres::start(Some(dir.path()), choice.clone()).await.unwrap();
        let second = LocalPostgres::start(Some(dir.path()), choice).await.unwrap_err();
        assert!(second.to_string().contains("in use by another process"), "{second:#}");
        LocalPostgres::wipe(dir.path()).await.unwrap_err();
        assert_eq!(number(&first, "SELECT 1").await, 1);
        first.stop().await.unwrap();
    }
}

#[tokio::test]
async fn the_data_of_another_kind_is_removed_because_it_would_be_stale() {
    let Some(machine) = machine_choice() else { return };
    let dir = TempDir::new().unwrap();
    for choice in [&machine, &PostgresChoice { url: None, allow_machine: false }, &machine] {
        let postgres = LocalPostgres::start(Some(dir.path()), choice.clone()).await.unwrap();
        assert!(postgres.is_new(), "{choice:?}");
        postgres.stop().await.unwrap();
    }
}

#[tokio::test]
async fn an_open_connection_does_not_hold_up_the_stop() {
    for choice in kinds() {
        let postgres = LocalPostgres::start(None, choice).await.unwrap();
        let connection = PgConnection::connect(postgres.url()).await.unwrap();
        let begun = Instant::now();
        postgres.stop().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
        drop(connection);
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_does_not_end_the_server() {
    for choice in kinds() {
        let postgres = LocalPostgres::start(None, choice).await.unwrap();
        // An answer of which nobody reads more than the first of its 20 MB: the connection is reset, not closed.
        let mut connection = PgConnection::connect(postgres.url()).await.unwrap();
        let rows = sqlx::query("SELECT repeat('x', 1000000) FROM generate_series(1, 20)");
        rows.fetch_one(&mut connection).await.unwrap();
        drop(connection);
        assert_eq!(number(&postgres, "SELECT 1").await, 1);
        postgres.stop().await.unwrap();
    }
}

#[tokio::test]
async fn an_external_server_is_used_as_it_is_and_left_running() {
    let server = LocalPostgres::start(None, kinds().remove(0)).await.unwrap();
    let choice = PostgresChoice { url: Some(server.url().to_owned()), allow_machine: true };
    if choice.clone().overridden().unwrap().url.is_some() {
        let external = LocalPostgres::start(None, choice).await.unwrap();
        assert_eq!((external.kind(), external.url()), (PostgresKind::External, server.url()));
        external.stop().await.unwrap();
    }
    assert_eq!(number(&server, "SELECT 1").await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_unreachable_external_server_is_an_error_that_names_the_variable() {
    let choice = PostgresChoice { url: Some("postgres://user:secret@127.0.0.1:1/x".to_owned()), allow_machine: true };
    if choice.clone().overridden().unwrap().url.is_none() {
        return;
    }
    let error = format!("{:#}", LocalPostgres::start(None, choice).await.unwrap_err());
    assert!(error.contains("DATABASE_URL") && !error.contains("secret"), "{error}");
}

fn cluster_home(dir: &TempDir) -> std::path::PathBuf {
    let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let home = entries.into_iter().find(|path| path.is_dir()).unwrap();
    fs::read_to_string(home.join("moved-to")).map_or(home, Into::into)
}

fn kill_dash_nine(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

#[tokio::test]
async fn a_cluster_whose_server_was_killed_starts_again_with_its_data() {
    let Some(choice) = machine_choice() else { return };
    let dir = TempDir::new().unwrap();
    let first = LocalPostgres::start(Some(dir.path()), choice.clone()).await.unwrap();
    run(&first, "CREATE TABLE kept AS SELECT 7 AS number").await;
    let pid_file = fs::read_to_string(cluster_home(&dir).join("data/postmaster.pid")).unwrap();
    kill_dash_nine(pid_file.lines().next().unwrap());
    drop(first);

    let second = LocalPostgres::start(Some(dir.path()), choice).await.unwrap();
    assert_eq!(number(&second, "SELECT number FROM kept").await, 7);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_killed_is_back_at_the_same_address_with_its_data() {
    let Some(choice) = machine_choice() else { return };
    let dir = TempDir::new().unwrap();
    let postgres = LocalPostgres::start(Some(dir.path()), choice).await.unwrap();
    run(&postgres, "CREATE TABLE kept AS SELECT 7 AS number").await;
    let pid_file = || fs::read_to_string(cluster_home(&dir).join("data/postmaster.pid")).unwrap_or_default();
    for _ in 0..2 {
        let before = pid_file();
        kill_dash_nine(before.lines().next().unwrap());
        wait_for(|| (pid_file().lines().next() != before.lines().next() && serves(postgres.url())).then_some(()));
        assert_eq!(number_once_up(&postgres, "SELECT number FROM kept").await, 7);
    }
    postgres.stop().await.unwrap();
}

/// As [`number`], of a server that takes connections but may still be recovering.
async fn number_once_up(postgres: &LocalPostgres, query: &'static str) -> i32 {
    wait_for(|| {
        std::thread::scope(|scope| {
            let ask = || -> Option<i32> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
                runtime.block_on(async {
                    let mut connection = PgConnection::connect(postgres.url()).await.ok()?;
                    sqlx::query_scalar(query).fetch_one(&mut connection).await.ok()
                })
            };
            scope.spawn(ask).join().unwrap()
        })
    })
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hold_up_the_stop() {
    let Some(choice) = machine_choice() else { return };
    let dir = TempDir::new().unwrap();
    let postgres = LocalPostgres::start(Some(dir.path()), choice).await.unwrap();
    let pid_file = fs::read_to_string(cluster_home(&dir).join("data/postmaster.pid")).unwrap();
    assert!(Command::new("kill").args(["-STOP", pid_file.lines().next().unwrap()]).status().unwrap().success());
    let begun = Instant::now();
    postgres.stop().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_cluster_whose_making_was_interrupted_is_made_again() {
    let Some(choice) = machine_choice() else { return };
    let dir = TempDir::new().unwrap();
    let postgres = LocalPostgres::start(Some(dir.path()), choice.clone()).await.unwrap();
    postgres.stop().await.unwrap();
    let home = cluster_home(&dir);
    fs::rename(home.join("data"), home.join("data.unfinished")).unwrap();
    fs::remove_file(home.join("data.unfinished/PG_VERSION")).unwrap();

    let again = LocalPostgres::start(Some(dir.path()), choice).await.unwrap();
    assert!(again.is_new());
    again.stop().await.unwrap();
}

#[tokio::test]
async fn an_embedded_one_whose_making_was_interrupted_is_made_again() {
    let choice = PostgresChoice { url: None, allow_machine: false };
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("embedded/data")).unwrap();
    fs::write(dir.path().join("embedded/data/garbage"), "half").unwrap();
    let postgres = LocalPostgres::start(Some(dir.path()), choice).await.unwrap();
    assert!(postgres.is_new());
    postgres.stop().await.unwrap();
}

const DIR_VARIABLE: &str = "LEDGERLINE_KILLED_POSTGRES_DIR";
const KIND_NUMBER_VARIABLE: &str = "LEDGERLINE_KILLED_POSTGRES_KIND";

/// Not a test of its own: what `a_killed_process_leaves_nothing_running_and_its_data_readable` runs
/// and kills.
#[tokio::test]
async fn a_process_that_waits_to_be_killed() {
    let Ok(dir) = std::env::var(DIR_VARIABLE) else { return };
    let kind: usize = std::env::var(KIND_NUMBER_VARIABLE).unwrap().parse().unwrap();
    let choice = kinds().remove(kind);
    let persistent = LocalPostgres::start(Some(&Path::new(&dir).join("data")), choice.clone()).await.unwrap();
    let temporary = LocalPostgres::start(None, choice).await.unwrap();
    run(&persistent, "CREATE TABLE kept AS SELECT 7 AS number").await;
    let urls = format!("{}\n{}", persistent.url(), temporary.url());
    fs::write(Path::new(&dir).join("unfinished"), urls).unwrap();
    fs::rename(Path::new(&dir).join("unfinished"), Path::new(&dir).join("urls")).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_process_leaves_nothing_running_and_its_data_readable() {
    for (kind, choice) in kinds().into_iter().enumerate() {
        let dir = TempDir::new().unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "postgres::tests::a_process_that_waits_to_be_killed"])
            .env(DIR_VARIABLE, dir.path())
            .env(KIND_NUMBER_VARIABLE, kind.to_string())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let urls = wait_for(|| fs::read_to_string(dir.path().join("urls")).ok());
        let (persistent, temporary) = urls.split_once('\n').unwrap();
        assert!(serves(persistent) && serves(temporary));
        process.kill().unwrap();
        process.wait().unwrap();
        wait_for(|| (!serves(persistent) && !serves(temporary)).then_some(()));

        let second = LocalPostgres::start(Some(&dir.path().join("data")), choice).await.unwrap();
        assert_eq!(number(&second, "SELECT number FROM kept").await, 7);
        second.stop().await.unwrap();
    }
}

fn wait_for<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn serves(url: &str) -> bool {
    let address = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    TcpStream::connect(address).is_ok()
}
