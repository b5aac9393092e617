//! The function behind the routes that read: by key, lists, history.

use std::sync::Arc;

use axum::Router;
use ledgerline_app::{Queries, Registry};
use ledgerline_kernel::ports::SummaryRead;
use ledgerline_lambda::{
    Config, StartupError, SystemEnvironment, authenticator, dynamodb_client, large_states, postgres_views,
};
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_views_postgres::PostgresViews;
use ledgerline_web::{Api, Authenticator, CursorKey};

/// What the function works with, built once per process.
pub struct Deps {
    /// The domains.
    pub registry: Registry,
    /// The read path.
    pub queries: Queries,
    /// Verifies callers.
    pub authenticator: Arc<Authenticator>,
    /// Reads the sums of delta projections.
    pub summaries: Arc<dyn SummaryRead>,
    /// Signs the cursors of lists.
    pub cursor_key: CursorKey,
}

/// An instance answers one request at a time.
const MAX_CONNECTIONS: u32 = 1;

impl Deps {
    /// Builds them as `LEDGER_TABLE`, `DATA_TABLE`, `DATABASE_URL`, `CURSOR_KEY`, `JWT_ISSUER`,
    /// `JWT_AUDIENCE`, `JWKS_URL`, `STATE_BUCKET` and the SDK's own variables say.
    ///
    /// # Errors
    /// [`StartupError`] names the variable that is missing or makes no sense.
    pub async fn from_config(config: &Config) -> Result<Self, StartupError> {
        Self::with_views(config, postgres_views(config, MAX_CONNECTIONS)?).await
    }

    /// The same over views that others use too; `DATABASE_URL` is not read.
    ///
    /// # Errors
    /// As [`Deps::from_config`].
    pub async fn with_views(config: &Config, views: PostgresViews) -> Result<Self, StartupError> {
        let (ledger_table, data_table) = (config.required("LEDGER_TABLE")?, config.required("DATA_TABLE")?);
        let cursor_key = CursorKey::new(&config.required("CURSOR_KEY")?)
            .map_err(|error| StartupError::invalid("CURSOR_KEY", format!("is too short: {error}")))?;
        let authenticator = authenticator(config)?;
        let registry = Registry::shipped().map_err(|error| StartupError::Broken(error.to_string()))?;
        let client = dynamodb_client(config).await;
        let large = large_states(config, &registry)?;
        let ledger = large.over(DynamoLedger::new(client.clone(), ledger_table));
        let entities = large.over(DynamoDataTable::new(client, data_table));
        let environment = Arc::new(SystemEnvironment);
        let views = Arc::new(views);
        let queries = Queries::new(Arc::new(ledger), Arc::new(entities), views.clone(), environment);
        Ok(Self { registry, queries, summaries: views, authenticator, cursor_key })
    }
}

/// The function: the router with the routes that read.
pub fn service(deps: Deps) -> Router {
    ledgerline_web::router(Api {
        registry: deps.registry,
        commands: None,
        admin: None,
        imports: None,
        projector: None,
        queries: Some(deps.queries),
        summaries: Some(deps.summaries),
        authenticator: deps.authenticator,
        cursor_key: deps.cursor_key,
    })
}

#[cfg(test)]
mod tests;
