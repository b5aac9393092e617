use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::host::{Host, Postgres};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The built host; the newest of target/release and target/debug if left out
    #[arg(long)]
    binary: Option<PathBuf>,
    /// How often to start it
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Also time a debug build from nothing (several minutes)
    #[arg(long)]
    clean_build: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let binary = options.binary.clone().map_or_else(newest_binary, Ok)?;
    println!("host: {}", binary.display());
    for (postgres, label) in [(Postgres::Default, "own choice of Postgres"), (Postgres::Embedded, "embedded Postgres")]
    {
        measure(&binary, postgres, label, options.runs.max(1))?;
    }
    println!("crates linked into the host: {}", linked_crates()?);
    if options.clean_build {
        println!("clean debug build of the host: {:.0} s", clean_build()?.as_secs_f64());
    }
    Ok(())
}

fn measure(binary: &Path, postgres: Postgres, label: &str, runs: usize) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let data_dir = directory.path().join("data");
    let first = Host::start(binary, &data_dir, &[], postgres)?.wait_until_healthy()?;
    let mut starts = Vec::with_capacity(runs);
    let mut idle = 0;
    for _ in 0..runs {
        let mut host = Host::start(binary, &data_dir, &[], postgres)?;
        starts.push(host.wait_until_healthy()?);
        idle = host.memory()?.0;
    }
    starts.sort_unstable();
    let median = starts.get(starts.len() / 2).copied().unwrap_or_default();

    let seeded_dir = directory.path().join("seeded");
    let mut host = Host::start(binary, &seeded_dir, &["--seed", "--json"], postgres)?;
    let summary = host.wait_for_summary()?;
    let (seeded, peak) = host.memory()?;

    let postgres = summary.get("postgres").and_then(Value::as_str).unwrap_or("?");
    println!("\n{label} ({postgres})");
    println!("  start to healthz, first time on an empty directory  {:>6} ms", first.as_millis());
    println!("  start to healthz, median of {runs} later starts          {:>6} ms", median.as_millis());
    println!("  resident memory of the host at idle                 {idle:>6} MiB");
    println!("  resident memory of the host after the seed          {seeded:>6} MiB (peak {peak} MiB)");
    let said = |pointer: &str| summary.pointer(pointer).and_then(Value::as_f64).unwrap_or_default();
    let (count, seconds) = (said("/seeded/created"), said("/seeded/seconds"));
    println!("  seed of {count} products, until all are in the read models {seconds:>4.1} s");
    Ok(())
}

fn newest_binary() -> anyhow::Result<PathBuf> {
    let candidates = ["target/release/ledgerline", "target/debug/ledgerline"].map(PathBuf::from);
    let built = |path: &PathBuf| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let newest = candidates.into_iter().filter(|path| path.exists()).max_by_key(built);
    newest.context("there is no built host; run `cargo build --release` or `cargo build` first")
}

fn linked_crates() -> anyhow::Result<usize> {
    let tree = Command::new("cargo")
        .args(["tree", "--locked", "-p", "ledgerline-local", "--edges", "normal,build", "--prefix", "none"])
        .output()?;
    ensure!(tree.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&tree.stderr));
    let listing = String::from_utf8(tree.stdout)?;
    let crates: std::collections::BTreeSet<_> = listing.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(crates.len())
}

fn clean_build() -> anyhow::Result<Duration> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = tempfile::tempdir()?;
    println!("building from nothing; this takes several minutes …");
    let started = Instant::now();
    let built = Command::new("cargo")
        .args(["build", "--locked", "--quiet"])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", target.path())
        .status()?;
    ensure!(built.success(), "the build failed");
    Ok(started.elapsed())
}
