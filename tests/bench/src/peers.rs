//! Other libraries on the same emulator, for comparison: a program of its own, because what they
//! need is not to be among what Ledgerline is built of.

use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;

use crate::emulator::Emulator;

#[derive(clap::Args)]
pub(crate) struct Peers {
    /// The built `peers` program, to measure cqrs-es with dynamo-es in the same run (see the README)
    #[arg(long)]
    peers: Option<PathBuf>,
}

impl Peers {
    pub(crate) fn command(&self, emulator: &Emulator, commands: usize, in_flight: usize) -> anyhow::Result<()> {
        let numbers = [commands, in_flight].map(|number| number.to_string());
        self.run(emulator, "command", &numbers)
    }

    pub(crate) fn history(&self, emulator: &Emulator) -> anyhow::Result<()> {
        self.run(emulator, "history", &[])
    }

    pub(crate) fn conflict(&self, emulator: &Emulator, rounds: usize) -> anyhow::Result<()> {
        self.run(emulator, "conflict", &[rounds.to_string()])
    }

    fn run(&self, emulator: &Emulator, what: &str, numbers: &[String]) -> anyhow::Result<()> {
        let Some(program) = &self.peers else { return Ok(()) };
        println!("\ncqrs-es with dynamo-es:");
        let status = Command::new(program).args([emulator.endpoint(), what]).args(numbers).status()?;
        ensure!(status.success(), "{} failed", program.display());
        Ok(())
    }
}
