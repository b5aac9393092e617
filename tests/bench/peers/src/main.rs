//! cqrs-es with dynamo-es under the load of `ledgerline-bench`, on its emulator. Called by it:
//! `peers ENDPOINT command COMMANDS IN_FLIGHT`, `peers ENDPOINT history`,
//! `peers ENDPOINT conflict ROUNDS`.

#[path = "../../src/calls.rs"]
mod calls;
#[path = "../../src/load.rs"]
mod load;
mod product;
#[path = "../../src/rounds.rs"]
mod rounds;

use std::time::Instant;

use anyhow::{Context, bail};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use calls::Calls;
use cqrs_es::AggregateError;
use dynamo_es::{DynamoCqrs, dynamodb_cqrs};
use futures::future::try_join_all;
use load::measure;
use product::{Command, Product};
use rounds::Rounds;

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, what, numbers @ ..] = arguments.as_slice() else { bail!("called by ledgerline-bench") };
    let numbers = numbers.iter().map(|number| number.parse()).collect::<Result<Vec<usize>, _>>()?;
    let client = client(endpoint);
    create_events_table(&client).await?;
    match (what.as_str(), numbers.as_slice()) {
        ("command", [commands, in_flight]) => command(&client, *commands, *in_flight).await,
        ("history", []) => history(&client).await,
        ("conflict", [rounds]) => conflict(&client, *rounds).await,
        _ => bail!("called by ledgerline-bench"),
    }
}

async fn command(client: &Client, commands: usize, in_flight: usize) -> anyhow::Result<()> {
    let products = Products::of(client);
    for (name, commands) in [("warming", commands / 10), ("measured", commands)] {
        let id = |number| format!("{name}-{number}");
        let created = measure(commands, in_flight, |number| products.create(id(number))).await?;
        let updated = measure(commands, in_flight, |number| products.change_price(id(number), number)).await?;
        if name == "measured" {
            println!("create, per second {:.0}, client CPU us {:.0}", created.rate, created.cpu_us);
            println!("update, per second {:.0}, client CPU us {:.0}", updated.rate, updated.cpu_us);
        }
    }
    Ok(())
}

async fn history(client: &Client) -> anyhow::Result<()> {
    const SAMPLES: usize = 50;
    let products = Products::of(client);
    for age in [3, 1_000] {
        let mut times = Rounds::default();
        // Each sample makes the entity one version older: the young ones are used once each.
        let entities = if age == 3 { SAMPLES } else { 1 };
        for entity in 0..entities {
            let id = format!("{age}-{entity}");
            products.create(id.clone()).await?;
            for version in 2..=age {
                products.change_price(id.clone(), version).await?;
            }
        }
        for sample in 0..SAMPLES {
            let started = Instant::now();
            products.change_price(format!("{age}-{}", sample % entities), 1_000_000 + sample).await?;
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        println!("at version {age}, us {times}");
    }
    Ok(())
}

async fn conflict(client: &Client, rounds: usize) -> anyhow::Result<()> {
    const WRITERS: usize = 16;
    const INCREMENTS: usize = 5;
    let calls = Calls::default();
    let products = Products::of(&calls.of(client));
    let mut each = Rounds::default();
    for round in 0..rounds {
        let id = format!("contended-{round}");
        products.create(id.clone()).await?;
        calls.take();
        let writers = (0..WRITERS).map(|writer| {
            let (products, id) = (&products, id.clone());
            async move {
                for number in 0..INCREMENTS {
                    products.retried(&id, writer * INCREMENTS + number + 1).await?;
                }
                anyhow::Ok(())
            }
        });
        try_join_all(writers).await?;
        each.push(calls.take().values().sum::<usize>() as f64 / (WRITERS * INCREMENTS) as f64);
    }
    println!("AWS calls per success {each}");
    Ok(())
}

/// The library as its documentation uses it.
struct Products(DynamoCqrs<Product>);

impl Products {
    fn of(client: &Client) -> Self {
        Self(dynamodb_cqrs(client.clone(), Vec::new(), ()))
    }

    async fn create(&self, id: String) -> anyhow::Result<()> {
        self.0.execute(&id, Command::Create(id.clone())).await.context("a create")
    }

    async fn change_price(&self, id: String, cents: usize) -> anyhow::Result<()> {
        self.0.execute(&id, Command::ChangePrice(cents)).await.context("a change")
    }

    /// Again at once until nobody was faster: the library itself does not try again.
    async fn retried(&self, id: &str, cents: usize) -> anyhow::Result<()> {
        loop {
            match self.0.execute(id, Command::ChangePrice(cents)).await {
                Ok(()) => return Ok(()),
                Err(AggregateError::AggregateConflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "peers"))
        .endpoint_url(endpoint)
        .build();
    Client::from_conf(config)
}

/// As the library's `db/create_tables.sh` has it.
async fn create_events_table(client: &Client) -> anyhow::Result<()> {
    let mut table = client.create_table().table_name("Events").billing_mode(BillingMode::PayPerRequest);
    for (name, attribute, key) in [
        ("AggregateTypeAndId", ScalarAttributeType::S, KeyType::Hash),
        ("AggregateIdSequence", ScalarAttributeType::N, KeyType::Range),
    ] {
        table = table
            .attribute_definitions(
                AttributeDefinition::builder().attribute_name(name).attribute_type(attribute).build()?,
            )
            .key_schema(KeySchemaElement::builder().attribute_name(name).key_type(key).build()?);
    }
    table.send().await?;
    Ok(())
}
