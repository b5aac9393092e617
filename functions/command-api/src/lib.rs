//! The function behind the routes that change entities: one HTTP request, one command.

use std::sync::Arc;

use axum::Router;
use ledgerline_app::{Commands, Projector, Registry};
use ledgerline_lambda::{Config, StartupError, SystemEnvironment, authenticator, dynamodb_client};
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_views_postgres::PostgresViews;
use ledgerline_web::{Api, Authenticator, CursorKey};

/// What the function works with, built once per process.
pub struct Deps {
    /// The domains.
    pub registry: Registry,
    /// The write path.
    pub commands: Commands,
    /// Brings the read models up to a command whose caller waits for it.
    pub projector: Projector,
    /// Verifies callers.
    pub authenticator: Arc<Authenticator>,
}

/// Only callers who wait for the read models need any.
const MAX_CONNECTIONS: u32 = 1;

impl Deps {
    /// Builds them as `LEDGER_TABLE`, `DATA_TABLE`, `DATABASE_URL`, `JWT_ISSUER`, `JWT_AUDIENCE`,
    /// `JWKS_URL` and the SDK's own variables say. Nothing connects before it is needed.
    ///
    /// # Errors
    /// [`StartupError`] names the variable that is missing or makes no sense.
    pub async fn from_config(config: &Config) -> Result<Self, StartupError> {
        let views = PostgresViews::lazy(&config.required("DATABASE_URL")?, MAX_CONNECTIONS)
            .map_err(|_| StartupError::invalid("DATABASE_URL", "is not a URL of a PostgreSQL database"))?;
        Self::with_views(config, views).await
    }

    /// The same over views that others use too; `DATABASE_URL` is not read.
    ///
    /// # Errors
    /// As [`Deps::from_config`].
    pub async fn with_views(config: &Config, views: PostgresViews) -> Result<Self, StartupError> {
        let (ledger_table, data_table) = (config.required("LEDGER_TABLE")?, config.required("DATA_TABLE")?);
        let authenticator = authenticator(config)?;
        let registry = Registry::shipped().map_err(|error| StartupError::Broken(error.to_string()))?;
        let client = dynamodb_client(config).await;
        let entities = DynamoDataTable::new(client.clone(), data_table);
        let projector = Projector::new(registry.clone(), vec![Arc::new(entities), Arc::new(views)]);
        let ledger = DynamoLedger::new(client, ledger_table);
        let commands = Commands::new(Arc::new(ledger), Arc::new(SystemEnvironment));
        Ok(Self { registry, commands, projector, authenticator })
    }
}

/// The function: the router with the routes that change entities.
pub fn service(deps: Deps) -> Router {
    ledgerline_web::router(Api {
        registry: deps.registry,
        commands: Some(deps.commands),
        projector: Some(deps.projector),
        queries: None,
        authenticator: deps.authenticator,
        // There are no lists here, so no cursor is ever handed out.
        cursor_key: CursorKey::ephemeral(),
    })
}

#[cfg(test)]
mod tests;
