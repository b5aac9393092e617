//! Many writers, one entity, and none that says which version it expects.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use ledgerline_app::CommandError;

use crate::calls::Calls;
use crate::emulator::Emulator;
use crate::ours::{self, Ours};
use crate::peers::Peers;
use crate::raw::{self, Raw};
use crate::report::{Bar, Report, Reporting};
use crate::rounds::Rounds;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each side is measured
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    #[command(flatten)]
    peers: Peers,
    #[command(flatten)]
    reporting: Reporting,
}

const WRITERS: u32 = 16;
const INCREMENTS: u32 = 5;

/// What the HTTP API says in `Retry-After` to a command that it gave up.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let emulator = Emulator::start(&[ours::TABLE, raw::TABLE])?;
    let (our_calls, their_calls) = (Calls::default(), Calls::default());
    let client = our_calls.of(&emulator.client().await);
    let counters = Ours::counters(&client)?;
    counters.create(&ours::counter("template")).await?;
    counters.increment("template").await?;
    let raw = Raw::like_ours(&their_calls.of(&emulator.client().await), "COUNTER#acme").await?;
    let wanted = f64::from(WRITERS * INCREMENTS);
    let conditions =
        format!("{} rounds, {WRITERS} writers, {INCREMENTS} increments each on one entity", options.rounds);
    let mut report = Report::new("conflict", &conditions);

    let [mut calls, mut their, mut wall, mut their_wall] = std::array::from_fn(|_| Rounds::default());
    let (mut lost, mut their_lost, mut given_up) = (0.0, 0.0, 0);
    for round in 0..options.rounds {
        let sk = format!("round-{round}");
        counters.create(&ours::counter(&sk)).await?;
        raw.create(&sk).await?;

        our_calls.take();
        let started = Instant::now();
        let retried = try_join_all((0..WRITERS).map(|_| write_ours(&counters, &sk))).await?;
        wall.push(started.elapsed().as_secs_f64() * 1e3);
        calls.push(total(&our_calls) / wanted);
        given_up += retried.iter().sum::<u32>();
        lost += wanted - (count(&counters, &sk).await? - 1.0);

        their_calls.take();
        let started = Instant::now();
        try_join_all((0..WRITERS).map(|_| write_raw(&raw, &sk))).await?;
        their_wall.push(started.elapsed().as_secs_f64() * 1e3);
        their.push(total(&their_calls) / wanted);
        their_lost += wanted + 1.0 - f64::from(u32::try_from(raw.newest(&sk).await?)?);
    }
    report.compare("AWS calls per success", [&calls, &their], None);
    report.compare("wall time, ms", [&wall, &their_wall], None);
    println!();
    report.figure("calls per success, ours", calls.median(), Some(Bar::AtMost(4.0)));
    report.figure("lost updates, ours, all rounds", lost, Some(Bar::Exactly(0.0)));
    report.figure("lost updates, raw SDK, all rounds", their_lost, None);
    report.figure("answers 409 CONTENDED that were tried again, ours, all rounds", f64::from(given_up), None);
    options.peers.conflict(&emulator, options.rounds)?;
    Ok(report.finish(&options.reporting))
}

/// Increments, trying again when told to. Answers how often that was.
async fn write_ours(counters: &Ours, sk: &str) -> anyhow::Result<u32> {
    let (mut done, mut contended) = (0, 0);
    while done < INCREMENTS {
        match counters.increment(sk).await {
            Ok(_) => done += 1,
            Err(CommandError::Contended(_)) => {
                contended += 1;
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(contended)
}

/// Reads and writes until nobody was faster.
async fn write_raw(raw: &Raw, sk: &str) -> anyhow::Result<()> {
    for _ in 0..INCREMENTS {
        while !raw.update(sk).await? {}
    }
    Ok(())
}

/// What the counter says after one more increment.
async fn count(counters: &Ours, sk: &str) -> anyhow::Result<f64> {
    let item = counters.increment(sk).await?.item;
    item.attributes().get("count").and_then(serde_json::Value::as_f64).context("a counter without a count")
}

fn total(calls: &Calls) -> f64 {
    f64::from(u32::try_from(calls.take().values().sum::<usize>()).unwrap_or(u32::MAX))
}
