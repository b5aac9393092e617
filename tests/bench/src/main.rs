//! Measurements of Ledgerline. See the crate's README.

#![expect(clippy::print_stdout, reason = "printing figures is what this program is for")]

mod footprint;
mod host;

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
    /// Start-up time, memory, build time and crate count of the local host
    Footprint(footprint::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().what {
        What::Footprint(options) => footprint::run(&options),
    }
}
