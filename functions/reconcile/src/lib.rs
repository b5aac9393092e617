//! The function behind the schedule: it compares the read models with the ledger and makes them say
//! the same.

use std::time::{Duration, SystemTime};

use lambda_runtime::tower::Service;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use ledgerline_app::{Maintenance, Worked};
use ledgerline_lambda::{Config, StartupError, Upkeep, deadline, postgres_views};
use ledgerline_views_postgres::PostgresViews;
use serde_json::Value;

/// What the function works with, built once per process.
#[derive(Clone)]
pub struct Deps {
    /// The work.
    pub maintenance: Maintenance,
}

/// One instance, one thing at a time.
const MAX_CONNECTIONS: u32 = 1;

/// How much of its time an invocation leaves for what it has begun: one page of entities, compared and
/// repaired in every read model, or the sums of a tenant. More than a call to Postgres may take.
const RESERVE: Duration = Duration::from_secs(30);

/// How long an invocation works that was given no deadline.
const UNLIMITED: Duration = Duration::from_secs(60);

impl Deps {
    /// Builds them as `LEDGER_TABLE`, `DATA_TABLE`, `DATABASE_URL`, `STATE_BUCKET`,
    /// `RECONCILE_EVERY_SECONDS`, `RECONCILE_SETTLE_SECONDS` and the SDK's own variables say.
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
        Ok(Self { maintenance: Upkeep::new(config, views).await?.maintenance })
    }
}

/// The function: whatever the event, it does what there is to do, and answers with what it did. It
/// fails if a store does; the next invocation goes on.
pub fn service(
    deps: Deps,
) -> impl Service<LambdaEvent<Value>, Response = Worked, Error = Error, Future: Send> + Clone + Send {
    service_fn(move |event: LambdaEvent<Value>| {
        let maintenance = deps.maintenance.clone();
        async move {
            let until = until(&event.context);
            let worked = maintenance.work(&move || SystemTime::now() < until).await?;
            report(&worked);
            Ok(worked)
        }
    })
}

/// When to begin nothing more.
fn until(context: &Context) -> SystemTime {
    deadline(context).map_or_else(|| SystemTime::now() + UNLIMITED, |deadline| deadline - RESERVE)
}

/// One line of JSON; a metric filter looks for the sentences.
fn report(worked: &Worked) {
    if *worked == Worked::default() {
        return;
    }
    let text = serde_json::to_string(worked).unwrap_or_default();
    match &worked.round {
        Some(round) if round.counts.drift() > 0 || !round.is_good() => {
            let (drift, left, unreadable) = (round.counts.drift(), round.counts.left(), round.unreadable);
            tracing::error!(drift, left, unreadable, report = text, "the read models differed from the ledger");
        }
        _ => tracing::info!(report = text, "reconciled"),
    }
}

#[cfg(test)]
mod tests;
