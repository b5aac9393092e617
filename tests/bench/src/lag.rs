//! How long after it was accepted a command shows in Postgres.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use futures::future::try_join_all;
use ledgerline_local::event_source::POLL;
use ledgerline_local::host::{Host, HostOptions, Serving};
use ledgerline_stores::PostgresKind;
use sqlx::postgres::PgListener;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::ours;
use crate::report::{Report, Reporting};
use crate::rounds::Rounds;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Commands sent in a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// For how many seconds, after a warm-up of two
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    #[command(flatten)]
    reporting: Reporting,
}

const WARM_UP_SECONDS: u32 = 2;

/// Nobody waits longer for a row.
const PATIENCE: Duration = Duration::from_secs(30);

/// Heard when the row's transaction has been committed, so that nobody has to look for it all the time.
const TELL: &str = "
    CREATE FUNCTION tell_of_product() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('product_is_visible', NEW.code); RETURN NULL; END $$;
    CREATE TRIGGER tell_of_product AFTER INSERT OR UPDATE ON product FOR EACH ROW EXECUTE FUNCTION tell_of_product()";

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { rate, seconds, .. } = *options;
    let mut report = Report::new("lag", &format!("{rate} commands per second for {seconds} s on one local host"));
    let folder = tempfile::tempdir()?;
    let host = Host::start(HostOptions {
        port: 0,
        data_dir: folder.path().join("data"),
        ephemeral: true,
        template: None,
        database_url: None,
        serving: Serving::InProcess,
    })
    .await?;
    let host = Arc::new(host);
    let measured = measure(&host, options).await;
    Arc::into_inner(host).context("a command is still under way")?.stop().await?;
    let Measured { taken, lags } = measured?;
    let poll = POLL.as_secs_f64() * 1e3;
    report.figure("interval at which the stream is polled, ms", poll, None);
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        report.figure(&format!("sent to accepted, {name}, ms"), taken.quantile(share), None);
    }
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let lag = lags.quantile(share);
        report.figure(&format!("accepted to visible in Postgres, {name}, ms"), lag, None);
        report.figure(&format!("accepted to visible in Postgres, {name}, poll intervals"), lag / poll, None);
    }
    Ok(report.finish(&options.reporting))
}

/// Milliseconds.
struct Measured {
    taken: Rounds,
    lags: Rounds,
}

async fn measure(host: &Arc<Host>, options: &Options) -> anyhow::Result<Measured> {
    anyhow::ensure!(
        host.postgres() != PostgresKind::Embedded,
        "the embedded Postgres tells nobody: it has one connection"
    );
    let warm_up = options.rate * WARM_UP_SECONDS;
    let count = warm_up + options.rate * options.seconds;
    sqlx::raw_sql(TELL).execute(host.pool()).await?;
    let mut listener = PgListener::connect(host.database_url()).await?;
    listener.listen("product_is_visible").await?;
    let watcher = tokio::spawn(watch(listener, usize::try_from(count)?));

    let mut ticks = interval(Duration::from_secs(1) / options.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut commands = Vec::new();
    for number in 0..count {
        ticks.tick().await;
        let host = Arc::clone(host);
        commands.push(tokio::spawn(async move { create(&host, number).await }));
    }
    let accepted = try_join_all(commands).await?.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let visible = watcher.await??;
    let mut measured = Measured { taken: Rounds::default(), lags: Rounds::default() };
    for (number, (sent, accepted)) in (0..count).zip(accepted).skip(usize::try_from(warm_up)?) {
        let visible = visible.get(&code(number)).context("a row was never visible")?;
        measured.taken.push((accepted - sent).as_secs_f64() * 1e3);
        // Before the answer was there: it shows before anybody could ask.
        measured.lags.push(visible.saturating_duration_since(accepted).as_secs_f64() * 1e3);
    }
    Ok(measured)
}

fn code(number: u32) -> String {
    format!("C-lag-{number}")
}

/// When it was sent and when accepted.
async fn create(host: &Host, number: u32) -> anyhow::Result<(Instant, Instant)> {
    let request = Request::post("/api/v1/products")
        .header(AUTHORIZATION, format!("Bearer {}", host.token()))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(ours::product(&format!("lag-{number}"))))?;
    let sent = Instant::now();
    let response = host.answer(request).await;
    let accepted = Instant::now();
    anyhow::ensure!(response.status().as_u16() == 201, "a product was refused with {}", response.status());
    Ok((sent, accepted))
}

/// When so many products were visible first.
async fn watch(mut listener: PgListener, count: usize) -> anyhow::Result<HashMap<String, Instant>> {
    let mut visible = HashMap::new();
    while visible.len() < count {
        let told = timeout(PATIENCE, listener.recv()).await.with_context(|| {
            format!("{} of {count} products were visible, and then none for {PATIENCE:?}", visible.len())
        })??;
        visible.entry(told.payload().to_owned()).or_insert_with(Instant::now);
    }
    Ok(visible)
}
