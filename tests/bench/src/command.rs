//! Creates and updates, against the SDK by hand.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::by_hand::ByHand;
use crate::calls::Calls;
use crate::emulator::Emulator;
use crate::load::{Cost, measure};
use crate::ours::{self, Ours};
use crate::peers::Peers;
use crate::raw::{self, Raw};
use crate::report::{Bar, Report, Reporting};
use crate::rounds::Rounds;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each side is measured
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Commands of a kind in one round
    #[arg(long, default_value_t = 1000)]
    commands: usize,
    /// Commands on their way at once
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    #[command(flatten)]
    peers: Peers,
    #[command(flatten)]
    reporting: Reporting,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    CreateWithClaim,
    Create,
    Update,
}

impl Kind {
    const ALL: [Self; 3] = [Self::CreateWithClaim, Self::Create, Self::Update];

    fn name(self) -> &'static str {
        match self {
            Self::CreateWithClaim => "create with a claim",
            Self::Create => "create",
            Self::Update => "update",
        }
    }
}

/// Who does it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    /// A handler that reads its request and its items.
    ByHand,
    /// The same calls with items that are copies.
    BareCalls,
}

impl Side {
    const ALL: [Self; 3] = [Self::Ours, Self::ByHand, Self::BareCalls];
}

/// Commands per second, and microseconds of CPU for each.
#[derive(Default)]
struct Costs {
    rate: Rounds,
    cpu: Rounds,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { rounds, commands, in_flight, .. } = *options;
    let conditions = format!("{rounds} rounds of {commands} commands of each kind and side, {in_flight} in flight");
    let mut report = Report::new("command", &conditions);
    let mut measured: BTreeMap<Kind, [Costs; 3]> = BTreeMap::new();
    for round in 0..rounds {
        // A new one each time: it looks through the tokens of all earlier transactions at each.
        let emulator = Emulator::start(&[ours::TABLE, raw::TABLE])?;
        let sides = Sides::on(&emulator).await?;
        for kind in Kind::ALL {
            // Each side begins in every third round.
            for place in 0..Side::ALL.len() {
                let index = (round + place) % Side::ALL.len();
                let (Some(side), Some(costs)) =
                    (Side::ALL.get(index), measured.entry(kind).or_default().get_mut(index))
                else {
                    continue;
                };
                sides.measure(kind, *side, "warming", commands / 10, in_flight).await?;
                let cost = sides.measure(kind, *side, "measured", commands, in_flight).await?;
                costs.rate.push(cost.rate);
                costs.cpu.push(cost.cpu_us);
            }
        }
    }
    for (kind, [ours, by_hand, bare]) in &measured {
        let name = kind.name();
        report.compare(&format!("{name}, per second"), [&ours.rate, &by_hand.rate], Some(Bar::AtLeast(0.9)));
        report.compare(&format!("{name}, client CPU us"), [&ours.cpu, &by_hand.cpu], Some(Bar::AtMost(1.15)));
        report.compare("  bare calls, per second", [&ours.rate, &bare.rate], None);
        report.compare("  bare calls, client CPU us", [&ours.cpu, &bare.cpu], None);
    }
    count_calls(&Emulator::start(&[ours::TABLE])?, &mut report).await?;
    options.peers.command(&Emulator::start(&[])?, commands, in_flight)?;
    Ok(report.finish(&options.reporting))
}

struct Sides {
    products: Ours,
    counters: Ours,
    products_by_hand: ByHand,
    counters_by_hand: ByHand,
    raw_products: Raw,
    raw_counters: Raw,
}

impl Sides {
    async fn on(emulator: &Emulator) -> anyhow::Result<Self> {
        let client = emulator.client().await;
        let (products, counters) = (Ours::products(&client)?, Ours::counters(&client)?);
        products.create(&ours::product("template")).await?;
        products.change_price("template", &ours::price(1)).await?;
        counters.create(&ours::counter("template")).await?;
        counters.increment("template").await?;
        let theirs = emulator.client().await;
        let raw_products = Raw::like_ours(&theirs, "PRODUCT#acme").await?;
        let raw_counters = Raw::like_ours(&theirs, "COUNTER#acme").await?;
        let products_by_hand = ByHand::new(&theirs, "PRODUCT");
        let counters_by_hand = ByHand::new(&theirs, "COUNTER");
        Ok(Self { products, counters, products_by_hand, counters_by_hand, raw_products, raw_counters })
    }

    /// What the creates of a name make, its updates change.
    async fn measure(
        &self,
        kind: Kind,
        side: Side,
        name: &str,
        commands: usize,
        in_flight: usize,
    ) -> anyhow::Result<Cost> {
        // The two others share a table.
        let other = if side == Side::BareCalls { "bare-" } else { "" };
        let request = |number| {
            let sk = format!("{other}{name}-{number}");
            let body = match kind {
                Kind::CreateWithClaim => ours::product(&sk),
                Kind::Create => ours::counter(&sk),
                Kind::Update => ours::price(number),
            };
            (sk, body)
        };
        let requests: Vec<_> = (0..commands).map(request).collect();
        measure(&requests, in_flight, |(sk, body)| async move {
            match (kind, side) {
                (Kind::CreateWithClaim, Side::Ours) => self.products.create(body).await,
                (Kind::CreateWithClaim, Side::ByHand) => self.products_by_hand.create_with_claim(body).await,
                (Kind::CreateWithClaim, Side::BareCalls) => self.raw_products.create_with_claim(sk).await,
                (Kind::Create, Side::Ours) => self.counters.create(body).await,
                (Kind::Create, Side::ByHand) => self.counters_by_hand.create(body).await,
                (Kind::Create, Side::BareCalls) => self.raw_counters.create(sk).await,
                (Kind::Update, Side::Ours) => self.products.change_price(sk, body).await,
                (Kind::Update, Side::ByHand) => self.products_by_hand.change_price(sk, body).await,
                (Kind::Update, Side::BareCalls) => {
                    anyhow::ensure!(self.raw_products.update(sk).await?, "somebody else wrote");
                    Ok(())
                }
            }
        })
        .await
    }
}

/// One at a time, so that nothing but the command itself causes a call.
async fn count_calls(emulator: &Emulator, report: &mut Report) -> anyhow::Result<()> {
    const COMMANDS: u32 = 50;
    let calls = Calls::default();
    let client = calls.of(&emulator.client().await);
    let (products, counters) = (Ours::products(&client)?, Ours::counters(&client)?);
    for number in 0..COMMANDS {
        products.create(&ours::product(&format!("counted-{number}"))).await?;
    }
    println!();
    let mut row = |what: &str, counted: &BTreeMap<String, usize>, expected: &[&str]| {
        for (operation, count) in counted {
            let bar = if expected.contains(&operation.as_str()) { 1.0 } else { 0.0 };
            let each = f64::from(u32::try_from(*count).unwrap_or(u32::MAX)) / f64::from(COMMANDS);
            report.figure(&format!("{what}: {operation} calls each"), each, Some(Bar::Exactly(bar)));
        }
        if counted.len() != expected.len() {
            report.figure(&format!("{what}: kinds of calls"), f64::NAN, Some(Bar::Exactly(1.0)));
        }
    };
    row("create with a claim", &calls.take(), &["TransactWriteItems"]);
    for number in 0..COMMANDS {
        counters.create(&ours::counter(&format!("counted-{number}"))).await?;
    }
    row("create", &calls.take(), &["PutItem"]);
    for number in 0..COMMANDS {
        products.change_price(&format!("counted-{number}"), &ours::price(1)).await?;
    }
    row("update", &calls.take(), &["PutItem", "Query"]);
    Ok(())
}
