//! The function behind the routes that change entities, one HTTP request, one command, and behind those
//! of imports and of administrators.

use std::sync::Arc;

use axum::Router;
use ledgerline_app::{Commands, Imports, Projector, Registry};
use ledgerline_blobs_s3::S3Objects;
use ledgerline_lambda::{
    Config, StartupError, SystemEnvironment, Upkeep, authenticator, dynamodb_client, patient_s3_client, postgres_views,
};
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_views_postgres::PostgresViews;
use ledgerline_web::{Admin, Api, Authenticator, CursorKey};

/// What the function works with, built once per process.
pub struct Deps {
    /// The domains.
    pub registry: Registry,
    /// The write path.
    pub commands: Commands,
    /// Brings the read models up to a command whose caller waits for it.
    pub projector: Projector,
    /// Takes in imports, and says how they are.
    pub imports: Imports,
    /// What administrators may do with their tenant's read models.
    pub admin: Admin,
    /// Verifies callers.
    pub authenticator: Arc<Authenticator>,
    /// Signs cursors.
    pub cursor_key: CursorKey,
}

/// Only callers who wait for the read models, and administrators, need any.
const MAX_CONNECTIONS: u32 = 1;

impl Deps {
    /// Builds them as `LEDGER_TABLE`, `DATA_TABLE`, `DATABASE_URL`, `CURSOR_KEY`, `JWT_ISSUER`,
    /// `JWT_AUDIENCE`, `JWKS_URL`, `STATE_BUCKET`, `IMPORT_BUCKET` and the SDK's own variables say. Nothing connects before
    /// it is needed.
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
        let authenticator = authenticator(config)?;
        let cursor_key = CursorKey::new(&config.required("CURSOR_KEY")?)
            .map_err(|error| StartupError::invalid("CURSOR_KEY", format!("is too short: {error}")))?;
        let Upkeep { registry, ledger, projector, maintenance, redrive, .. } = Upkeep::new(config, views).await?;
        let commands = Commands::new(ledger, Arc::new(SystemEnvironment));
        let jobs = DynamoLedger::new(dynamodb_client(config).await, config.required("LEDGER_TABLE")?);
        let sources = S3Objects::new(patient_s3_client(config).await, config.required("IMPORT_BUCKET")?);
        let imports = Imports::new(registry.clone(), Arc::new(jobs), Arc::new(sources), Arc::new(SystemEnvironment));
        let admin = Admin { maintenance, redrive };
        Ok(Self { registry, commands, projector, imports, admin, authenticator, cursor_key })
    }
}

/// The function: the router with the routes that change entities.
pub fn service(deps: Deps) -> Router {
    ledgerline_web::router(Api {
        registry: deps.registry,
        commands: Some(deps.commands),
        projector: Some(deps.projector),
        queries: None,
        summaries: None,
        imports: Some(deps.imports),
        admin: Some(deps.admin),
        authenticator: deps.authenticator,
        cursor_key: deps.cursor_key,
    })
}

#[cfg(test)]
mod tests;
