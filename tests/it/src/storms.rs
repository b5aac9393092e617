//! The write path in bad weather: many writers, many repetitions, sudden deaths, the largest
//! requests. Each prints its seed and its figures.
//!
//! `LEDGERLINE_STORM=full` runs them at full size, a tenth otherwise. `LEDGERLINE_SEED` chooses what
//! the clients do; when they do it is up to the scheduler.

mod boundaries;
mod idempotency;
mod kills;
mod lost_updates;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use ledgerline_app::{
    Accepted, Caller, CommandError, CommandRequest, Commands, IfMatch, Ledger, Registry, RequestOrigin,
};
use ledgerline_kernel::{Action, DynDomain, EntityKey, VersionItem};
use ledgerline_lambda::SystemEnvironment;
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_stores::{DynamoAt, LocalDynamo};
use serde_dynamo::Item;

use crate::local_config::client;

const TABLE: &str = "ledger";

/// A ledger of its own for one test.
struct Store {
    dynamo: LocalDynamo,
    client: Client,
}

impl Store {
    async fn start() -> Self {
        let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
        dynamo.create_table(TABLE, true).unwrap();
        let client = client(dynamo.endpoint()).await;
        Self { dynamo, client }
    }

    fn ledger(&self) -> DynamoLedger {
        DynamoLedger::new(self.client.clone(), TABLE)
    }

    /// Everything there is in the table.
    async fn contents(&self) -> Contents {
        let mut contents = Contents::default();
        let mut pages = self.client.scan().table_name(TABLE).into_paginator().items().send();
        while let Some(item) = pages.next().await {
            contents.add(item.unwrap().into());
        }
        for history in contents.versions.values_mut() {
            history.sort_by_key(|item| item.version);
        }
        contents
    }
}

/// What a ledger table holds, by kind.
#[derive(Debug, Default, PartialEq)]
struct Contents {
    /// Each entity's versions, oldest first.
    versions: BTreeMap<EntityKey, Vec<VersionItem>>,
    /// Who holds a claim, by its key.
    claims: BTreeMap<String, String>,
    /// The idempotency records' keys.
    remembered: Vec<String>,
}

impl Contents {
    fn add(&mut self, item: Item) {
        let text = |name: &str| match item.get(name) {
            Some(serde_dynamo::AttributeValue::S(text)) => text.clone(),
            _ => String::new(),
        };
        match text("kind").as_str() {
            "version" => {
                let item: VersionItem = serde_dynamo::from_item(item).unwrap();
                self.versions.entry(item.key.clone()).or_default().push(item);
            }
            "claim" => assert_eq!(self.claims.insert(text("pk"), text("holderId")), None),
            "idempotency" => self.remembered.push(text("pk")),
            kind => panic!("an item of kind {kind:?}"),
        }
    }

    fn version_count(&self) -> usize {
        self.versions.values().map(Vec::len).sum()
    }

    /// Every entity's versions are 1, 2, 3, …, each hashed as it is and chained to the one before.
    #[track_caller]
    fn assert_contiguous(&self) {
        for (key, history) in &self.versions {
            let mut previous = ledgerline_kernel::Hash::genesis();
            for (index, item) in history.iter().enumerate() {
                assert_eq!(item.version.number(), index as u64 + 1, "{key}");
                assert_eq!(item.prev_hash, previous, "{key} at {}", item.version);
                assert_eq!(item.computed_hash().unwrap(), item.hash, "{key} at {}", item.version);
                previous = item.hash.clone();
            }
        }
    }
}

/// The write path, as one client of one tenant uses it.
#[derive(Clone)]
struct Writer {
    commands: Commands,
    domain: Arc<dyn DynDomain>,
}

impl Writer {
    fn products(ledger: impl Ledger + 'static) -> Self {
        let registry = Registry::shipped().unwrap();
        Self::of(registry.by_resource("products").unwrap(), ledger)
    }

    fn of(domain: &Arc<dyn DynDomain>, ledger: impl Ledger + 'static) -> Self {
        Self { commands: Commands::new(Arc::new(ledger), Arc::new(SystemEnvironment)), domain: domain.clone() }
    }

    async fn send(&self, request: CommandRequest<'_>) -> Result<Accepted, CommandError> {
        self.commands.execute(request).await
    }

    fn create<'a>(&'a self, body: &'a str) -> CommandRequest<'a> {
        CommandRequest {
            domain: self.domain.as_ref(),
            action: Action::Create,
            sk: None,
            if_match: None,
            idempotency_key: None,
            body,
            caller: Caller { tenant: "acme".parse().unwrap(), user: "ann".to_owned(), ip: "192.0.2.1".to_owned() },
            origin: RequestOrigin { request_id: "storm".to_owned(), source: "storm".to_owned(), traceparent: None },
        }
    }

    fn change<'a>(&'a self, action: Action<'a>, sk: &str, if_match: IfMatch, body: &'a str) -> CommandRequest<'a> {
        let if_match = Some(if_match);
        CommandRequest { action, sk: Some(sk.parse().unwrap()), if_match, ..self.create(body) }
    }
}

/// The size of a storm: all of it if asked for, else a tenth.
fn scale(full: usize) -> usize {
    if std::env::var("LEDGERLINE_STORM").as_deref() == Ok("full") { full } else { full / 10 }
}

fn seed() -> u64 {
    std::env::var("LEDGERLINE_SEED").map_or(20_261_120, |seed| seed.parse().unwrap())
}

/// What every storm prints; shown by `--nocapture`.
fn announce(what: &str, figures: &str) {
    let size = if scale(10) == 10 { "full" } else { "a tenth (LEDGERLINE_STORM=full runs all)" };
    println!("storm: {what}; seed {}, size {size}; {figures}", seed());
}
