//! Whether an entity's age makes its commands slower.

use std::process::ExitCode;
use std::time::Instant;

use futures::future::try_join_all;

use crate::emulator::Emulator;
use crate::ours::{self, Ours};
use crate::peers::Peers;
use crate::raw::{self, Raw};
use crate::report::{Bar, Report, Reporting};
use crate::rounds::Rounds;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each update is measured
    #[arg(long, default_value_t = 300)]
    samples: usize,
    #[command(flatten)]
    peers: Peers,
    #[command(flatten)]
    reporting: Reporting,
}

const AGES: [usize; 3] = [3, 1_000, 10_000];

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let emulator = Emulator::start(&[ours::TABLE, raw::TABLE])?;
    let (client, theirs) = (emulator.client().await, emulator.client().await);
    let products = Ours::products(&client)?;
    products.create(&ours::product("template")).await?;
    products.change_price("template", &ours::price(1)).await?;
    let raw = Raw::like_ours(&theirs, "PRODUCT#acme").await?;
    let samples = options.samples;
    let mut report = Report::new("history", &format!("{samples} updates of each age and side, one at a time"));
    grow(&products, &raw, samples).await?;

    let mut ours = [Rounds::default(), Rounds::default(), Rounds::default()];
    let mut theirs = ours.clone();
    for sample in 0..samples {
        for (age, (ours, theirs)) in AGES.iter().zip(ours.iter_mut().zip(&mut theirs)) {
            let (sk, price) = (entity(*age, sample), ours::price(1_000_000 + sample));
            let started = Instant::now();
            products.change_price(&sk, &price).await?;
            ours.push(started.elapsed().as_secs_f64() * 1e6);
            let started = Instant::now();
            raw.update(&sk).await?;
            theirs.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    let [young, grown @ ..] = &ours;
    for (age, (ours, theirs)) in AGES.iter().zip(ours.iter().zip(&theirs)) {
        report.compare(&format!("at version {age}, us, raw SDK"), [ours, theirs], None);
    }
    println!();
    for (age, grown) in AGES.iter().skip(1).zip(grown) {
        report.compare(&format!("at version {age}, us, at version 3"), [grown, young], Some(Bar::AtMost(1.1)));
    }
    options.peers.history(&emulator)?;
    Ok(report.finish(&options.reporting))
}

/// The entity that a sample is taken on: the young ones stay so only if each is used once.
fn entity(age: usize, sample: usize) -> String {
    if age == AGES[0] { format!("young-{sample}") } else { format!("aged-{age}") }
}

/// Makes every entity one update younger than the age it is measured at.
async fn grow(products: &Ours, raw: &Raw, samples: usize) -> anyhow::Result<()> {
    let young = async {
        for sample in 0..samples {
            age(products, raw, &entity(AGES[0], sample), AGES[0]).await?;
        }
        Ok(())
    };
    let aged =
        try_join_all(AGES.iter().skip(1).map(|to| async move { age(products, raw, &entity(*to, 0), *to).await }));
    let (young, aged) = futures::join!(young, aged);
    aged.and(young)
}

async fn age(products: &Ours, raw: &Raw, sk: &str, to: usize) -> anyhow::Result<()> {
    let ours = async {
        products.create(&ours::product(sk)).await?;
        for version in 2..=to {
            products.change_price(sk, &ours::price(version)).await?;
        }
        anyhow::Ok(())
    };
    let theirs = async {
        raw.create(sk).await?;
        for _ in 2..=to {
            raw.update(sk).await?;
        }
        anyhow::Ok(())
    };
    futures::try_join!(ours, theirs)?;
    Ok(())
}
