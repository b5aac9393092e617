use std::sync::Arc;
use std::time::Duration;

use ledgerline_app::{Maintenance, Projector, Reconciler, Redrive, Registry, WithLargeStates};
use ledgerline_kernel::ports::{LedgerRead, ReadModelAudit};
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_views_postgres::PostgresViews;

use crate::{Config, StartupError, SystemEnvironment, dynamodb_client, large_states};

/// How often everything is compared with the ledger, in seconds, where nothing else is said.
const EVERY: u64 = 15 * 60;

/// How long a version may take to every read model before its absence counts, in seconds, where
/// nothing else is said.
const SETTLE: u64 = 60;

/// What keeps read models right beside the stream.
#[derive(Clone)]
pub struct Upkeep {
    /// The domains.
    pub registry: Registry,
    /// The ledger, with large states in it.
    pub ledger: Arc<WithLargeStates<DynamoLedger>>,
    /// Projects into every read model, from the ledger.
    pub projector: Projector,
    /// Compares them with the ledger.
    pub reconciler: Reconciler,
    /// Does so time and again, and what was asked for in between.
    pub maintenance: Maintenance,
    /// Tries again what is quarantined.
    pub redrive: Redrive,
}

impl Upkeep {
    /// Over these views and what `LEDGER_TABLE`, `DATA_TABLE`, `STATE_BUCKET` and the SDK's own
    /// variables say; every `RECONCILE_EVERY_SECONDS` (900), with `RECONCILE_SETTLE_SECONDS` (60) for a
    /// version to arrive.
    ///
    /// # Errors
    /// [`StartupError`] names the variable that is missing or makes no sense.
    pub async fn new(config: &Config, views: PostgresViews) -> Result<Self, StartupError> {
        let (ledger_table, data_table) = (config.required("LEDGER_TABLE")?, config.required("DATA_TABLE")?);
        let every = seconds(config, "RECONCILE_EVERY_SECONDS", EVERY)?;
        let settle = seconds(config, "RECONCILE_SETTLE_SECONDS", SETTLE)?;
        let registry = Registry::shipped().map_err(|error| StartupError::Broken(error.to_string()))?;
        let large = large_states(config, &registry)?;
        let client = dynamodb_client(config).await;
        let index = Arc::new(DynamoLedger::new(client.clone(), ledger_table));
        let ledger = Arc::new(large.over(DynamoLedger::clone(&index)));
        let data_table = Arc::new(large.over(DynamoDataTable::new(client, data_table)));
        let projector = Projector::new(registry.clone(), vec![Arc::clone(&data_table) as _, Arc::new(views.clone())])
            .with_deltas(Arc::clone(&ledger) as _, Arc::new(views.clone()));
        let mut models: Vec<Arc<dyn ReadModelAudit>> = vec![data_table];
        models.extend(views.audits(registry.domains()));
        let environment = Arc::new(SystemEnvironment);
        let read: Arc<dyn LedgerRead> = Arc::clone(&ledger) as _;
        let reconciler =
            Reconciler::new(registry.clone(), index, Arc::clone(&read), projector.clone(), models, environment);
        let kept = Arc::new(views);
        let maintenance =
            Maintenance::new(reconciler.clone(), Arc::clone(&kept) as _, Arc::clone(&kept) as _, every, settle);
        let redrive = Redrive::new(projector.clone(), read, kept);
        Ok(Self { registry, ledger, projector, reconciler, maintenance, redrive })
    }
}

fn seconds(config: &Config, name: &str, default: u64) -> Result<Duration, StartupError> {
    let seconds = config.optional(name).map(|text| text.parse()).transpose();
    let seconds = seconds.map_err(|_| StartupError::invalid(name, "is not a number of seconds"))?;
    Ok(Duration::from_secs(seconds.unwrap_or(default)))
}
