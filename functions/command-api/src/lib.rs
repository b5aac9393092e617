//! The function behind the routes that change entities: one HTTP request, one command.

use std::sync::Arc;

use axum::Router;
use ledgerline_app::{Commands, Registry};
use ledgerline_lambda::{Config, StartupError, SystemEnvironment, authenticator, dynamodb_client};
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_web::{Api, Authenticator, CursorKey};

/// What the function works with, built once per process.
pub struct Deps {
    /// The domains.
    pub registry: Registry,
    /// The write path.
    pub commands: Commands,
    /// Verifies callers.
    pub authenticator: Arc<Authenticator>,
}

impl Deps {
    /// Builds them as `LEDGER_TABLE`, `JWT_ISSUER`, `JWT_AUDIENCE`, `JWKS_URL` and the SDK's own
    /// variables say.
    ///
    /// # Errors
    /// [`StartupError`] names the variable that is missing or makes no sense.
    pub async fn from_config(config: &Config) -> Result<Self, StartupError> {
        let table = config.required("LEDGER_TABLE")?;
        let authenticator = authenticator(config)?;
        let registry = Registry::shipped().map_err(|error| StartupError::Broken(error.to_string()))?;
        let ledger = DynamoLedger::new(dynamodb_client(config).await, table);
        Ok(Self { registry, commands: Commands::new(Arc::new(ledger), Arc::new(SystemEnvironment)), authenticator })
    }
}

/// The function: the router with the routes that change entities.
pub fn service(deps: Deps) -> Router {
    ledgerline_web::router(Api {
        registry: deps.registry,
        commands: Some(deps.commands),
        queries: None,
        authenticator: deps.authenticator,
        // There are no lists here, so no cursor is ever handed out.
        cursor_key: CursorKey::ephemeral(),
    })
}

#[cfg(test)]
mod tests;
