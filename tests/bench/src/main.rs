//! Measurements of Ledgerline. See the crate's README.

#![expect(clippy::print_stdout, reason = "printing figures is what this program is for")]

mod calls;
mod command;
mod conflict;
mod counter;
mod emulator;
mod footprint;
mod history;
mod host;
mod load;
mod ours;
mod peers;
mod raw;
mod report;
mod rounds;

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
    /// Creates and updates, against the raw SDK on the same emulator
    Command(command::Options),
    /// The same update at version 3, 1,000 and 10,000 of an entity
    History(history::Options),
    /// Many writers that increment one entity
    Conflict(conflict::Options),
    /// Start-up time, memory, build time and crate count of the local host
    Footprint(footprint::Options),
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
