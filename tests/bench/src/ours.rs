//! Our side: the write path as the command function has it.

use std::sync::Arc;

use anyhow::Context;
use aws_sdk_dynamodb::Client;
use ledgerline_app::{Accepted, Caller, CommandError, CommandRequest, Commands, IfMatch, Registry, RequestOrigin};
use ledgerline_kernel::{Action, DynDomain, TenantCode};
use ledgerline_lambda::SystemEnvironment;
use ledgerline_ledger_dynamodb::DynamoLedger;
use serde_json::json;

use crate::counter::Counter;

/// The name of our side's table.
pub(crate) const TABLE: &str = "ours";

/// A product of the size that a catalogue's entry has.
pub(crate) fn product(sk: &str) -> String {
    json!({
        "sk": sk, "code": format!("C-{sk}"), "name": "Round brilliant, very good cut",
        "attributes": {
            "category": "diamond", "price": "2757.00",
            "description": "Carat 0.70, cut Very Good, color E, clarity SI1, depth 62.4, table 57",
            "specification": {"weight": "0.70 ct", "dimensions": "5.67 x 5.70 x 3.53 mm"},
        },
    })
    .to_string()
}

/// Another price for a product.
pub(crate) fn price(cents: usize) -> String {
    json!({"price": format!("{}.{:02}", cents / 100, cents % 100)}).to_string()
}

/// A counter at 0.
pub(crate) fn counter(sk: &str) -> String {
    json!({"sk": sk, "code": format!("C-{sk}"), "name": "Visitors"}).to_string()
}

/// One domain's commands.
#[derive(Clone)]
pub(crate) struct Ours {
    commands: Commands,
    domain: Arc<dyn DynDomain>,
    tenant: TenantCode,
}

impl Ours {
    /// Products, each of which claims its code.
    pub(crate) fn products(client: &Client) -> anyhow::Result<Self> {
        Self::new(client, &Registry::shipped()?, "products")
    }

    /// Counters, which claim nothing.
    pub(crate) fn counters(client: &Client) -> anyhow::Result<Self> {
        Self::new(client, &Registry::default().with::<Counter>()?, "counters")
    }

    fn new(client: &Client, registry: &Registry, resource: &str) -> anyhow::Result<Self> {
        let commands = Commands::new(Arc::new(DynamoLedger::new(client.clone(), TABLE)), Arc::new(SystemEnvironment));
        let domain = registry.by_resource(resource).context("no such domain")?.clone();
        Ok(Self { commands, domain, tenant: "acme".parse()? })
    }

    /// Creates what this body says.
    pub(crate) async fn create(&self, body: &str) -> anyhow::Result<()> {
        self.send(Action::Create, None, body).await?;
        Ok(())
    }

    /// Gives a product the price that this body says.
    pub(crate) async fn change_price(&self, sk: &str, body: &str) -> anyhow::Result<()> {
        let accepted = self.send(Action::Named("change-price"), Some(sk), body).await?;
        anyhow::ensure!(accepted.changed, "the price of {sk} was the same before");
        Ok(())
    }

    /// Adds one to a counter, whatever its version.
    pub(crate) async fn increment(&self, sk: &str) -> Result<Accepted, CommandError> {
        self.send(Action::Named("increment"), Some(sk), "").await
    }

    async fn send(&self, action: Action<'_>, sk: Option<&str>, body: &str) -> Result<Accepted, CommandError> {
        let request = CommandRequest {
            domain: self.domain.as_ref(),
            action,
            sk: sk.map(str::parse).transpose().map_err(CommandError::VersionsExhausted)?,
            if_match: sk.map(|_| IfMatch::Any),
            idempotency_key: None,
            body,
            caller: Caller { tenant: self.tenant.clone(), user: "ann".to_owned(), ip: "192.0.2.1".to_owned() },
            origin: RequestOrigin {
                request_id: "0198a1b2-c3d4-4e5f-8a6b-7c8d9e0f1a2b".to_owned(),
                source: "bench".to_owned(),
                traceparent: None,
            },
        };
        self.commands.execute(request).await
    }
}
