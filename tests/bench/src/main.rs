//! Measurements of Ledgerline. See the crate's README.

#![expect(clippy::print_stdout, reason = "printing figures is what this program is for")]

mod by_hand;
mod calls;
mod command;
mod conflict;
mod counter;
mod distance;
mod emulator;
mod footprint;
mod history;
mod host;
mod import;
mod lag;
mod load;
mod ours;
mod peers;
mod project;
mod query;
mod raw;
mod rebuild;
mod report;
mod rounds;
mod states_alone;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Ledgerline on this machine.
#[derive(Parser)]
#[command(name = "ledgerline-bench", version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Creates and updates, against the SDK by hand on the same emulator
    Command(command::Options),
    /// The same update at version 3, 1,000 and 10,000 of an entity
    History(history::Options),
    /// Many writers that increment one entity
    Conflict(conflict::Options),
    /// Versions brought into their table, against upserts written by hand
    Project(project::Options),
    /// Lists, against SQL written by hand, in a small table and a large one
    Query(query::Options),
    /// How long after it was accepted a command shows in Postgres
    Lag(lag::Options),
    /// A domain's tables made anew, against a parallel scan and an upsert
    Rebuild(rebuild::Options),
    /// A file of rows brought in, against a put for each row; and the memory of its functions
    Import(import::Options),
    /// Start-up time, memory, build time and crate count of the local host
    Footprint(footprint::Options),
    /// One of the functions of an import until standard input ends, which then says what memory it took
    #[command(hide = true)]
    ImportProcess {
        /// Which
        #[arg(value_enum)]
        process: import::Process,
    },
    /// A DynamoDB with these tables until standard input ends; what the others measure on
    #[command(hide = true)]
    Emulator {
        /// The tables
        tables: Vec<String>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().what {
        What::Command(options) => client()?.block_on(command::run(&options)),
        What::History(options) => client()?.block_on(history::run(&options)),
        What::Conflict(options) => client()?.block_on(conflict::run(&options)),
        What::Project(options) => client()?.block_on(project::run(&options)),
        What::Query(options) => client()?.block_on(query::run(&options)),
        What::Lag(options) => tokio::runtime::Runtime::new()?.block_on(lag::run(&options)),
        What::Rebuild(options) => client()?.block_on(rebuild::run(&options)),
        What::Import(options) => client()?.block_on(import::run(&options)),
        What::ImportProcess { process } => {
            tokio::runtime::Runtime::new()?.block_on(import::serve(process)).map(|()| ExitCode::SUCCESS)
        }
        What::Footprint(options) => footprint::run(&options).map(|()| ExitCode::SUCCESS),
        What::Emulator { tables } => {
            tokio::runtime::Runtime::new()?.block_on(emulator::serve(&tables)).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// One thread for the client, as the emulator has the other of two cores.
fn client() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
