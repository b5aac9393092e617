//! A file of rows brought in, against the same rows put one by one; and the memory that takes.

mod bring_in;
mod memory;
mod rows;

use std::process::ExitCode;
use std::time::Instant;

use ledgerline_stores::{LocalPostgres, PostgresChoice};
use ledgerline_views_postgres::PostgresViews;

use crate::emulator::Emulator;
use crate::ours::TABLE;
use crate::raw;
use crate::rebuild::RAW_TABLE;
use crate::report::{Bar, Report, Reporting};
use crate::rounds::Rounds;

use bring_in::Side;

pub(crate) use memory::{Process, serve};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each side is measured
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Rows of a file
    #[arg(long, default_value_t = 5000)]
    rows: usize,
    /// Puts on their way at once
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Rows of the two files whose memory is compared; 0 for none
    #[arg(long, value_delimiter = ',', default_values_t = [50_000, 500_000])]
    memory_rows: Vec<usize>,
    #[command(flatten)]
    reporting: Reporting,
}

/// The data tables of both sides.
const DATA: &str = "data";
const THEIR_DATA: &str = "their-data";

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { rounds, rows, in_flight, .. } = *options;
    let conditions =
        format!("{rounds} rounds of {rows} rows; {in_flight} puts or {} messages in flight", bring_in::MESSAGES);
    let mut report = Report::new("import", &conditions);
    let postgres = LocalPostgres::start(None, PostgresChoice { url: None, allow_machine: true }).await?;
    let views = PostgresViews::lazy(postgres.url(), postgres.max_connections())?;
    views.migrate().await?;
    sqlx::query(RAW_TABLE).execute(views.pool()).await?;
    let mut measured = <[Rounds; 4]>::default();
    // The first one warms up.
    for round in 0..=rounds {
        // A new one each time: it looks through the tokens of all earlier transactions at each.
        let emulator = Emulator::start(&[TABLE, DATA, raw::TABLE, THEIR_DATA])?;
        let mut sides: Vec<_> = Side::ALL.into_iter().zip(&mut measured).collect();
        // Each side begins in every fourth round.
        sides.rotate_left(round % Side::ALL.len());
        for (side, rates) in sides {
            let file = rows::csv(&format!("{side:?}-{round}"), rows)?;
            let begun = Instant::now();
            side.bring_in(&emulator, &views, file, rows, in_flight).await?;
            #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
            let rate = rows as f64 / begun.elapsed().as_secs_f64();
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let [ledger, whole, puts, puts_and_upserts] = &measured;
    report.compare("into the ledger, rows per second", [ledger, puts], Some(Bar::AtLeast(0.7)));
    report.compare("and read models, rows per second", [whole, puts_and_upserts], Some(Bar::AtLeast(0.7)));
    report.compare("  against the ledger's puts alone", [whole, puts], None);
    if let [few, many] = *options.memory_rows {
        println!("\nmemory of the functions' processes, {many} rows against {few}");
        let of_few = memory::measure(few, &postgres).await?;
        let of_many = memory::measure(many, &postgres).await?;
        for (what, [of_many, of_few]) in
            [("splitter", [of_many.splitter, of_few.splitter]), ("worker", [of_many.worker, of_few.worker])]
        {
            let [many, few] = [of_many, of_few].map(|peak| Rounds::from_iter([peak]));
            report.compare(&format!("{what}, peak MiB"), [&many, &few], Some(Bar::AtMost(1.1)));
        }
    }
    views.pool().close().await;
    postgres.stop().await?;
    Ok(report.finish(&options.reporting))
}
