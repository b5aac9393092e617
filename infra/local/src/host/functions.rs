//! The functions that this binary contains.

use anyhow::Context as _;
use ledgerline_lambda::{Config, http};
use ledgerline_views_postgres::PostgresViews;
use {
    ledgerline_command_api as command_api, ledgerline_data_sync as data_sync, ledgerline_event_relay as event_relay,
    ledgerline_import_splitter as import_splitter, ledgerline_import_worker as import_worker,
    ledgerline_query_api as query_api, ledgerline_reconcile as reconcile,
};

use super::{Settings, lookup};
use crate::functions::InProcess;
use crate::stores::Stores;

/// Builds the functions that this binary contains, as the template sets them up.
pub(super) async fn build_functions(settings: &Settings<'_>, stores: &Stores) -> anyhow::Result<InProcess> {
    let views = || PostgresViews::new(stores.pool.clone());
    let mut functions = InProcess::default();
    for function in &settings.template.functions {
        let config = Config::new(lookup(settings.of(function)?));
        let (binary, timeout) = (function.binary.as_str(), function.timeout);
        let cannot_start = || format!("the function {binary} cannot start");
        match binary {
            "command-api" => {
                let deps = command_api::Deps::with_views(&config, views()).await.with_context(cannot_start)?;
                functions.add(binary, timeout, http::service(command_api::service(deps)));
            }
            "query-api" => {
                let deps = query_api::Deps::with_views(&config, views()).await.with_context(cannot_start)?;
                functions.add(binary, timeout, http::service(query_api::service(deps)));
            }
            "event-relay" => {
                let deps = event_relay::Deps::from_config(&config).await.with_context(cannot_start)?;
                functions.add(binary, timeout, event_relay::service(deps));
            }
            "data-sync" => {
                let deps = data_sync::Deps::with_views(&config, views()).await.with_context(cannot_start)?;
                functions.add(binary, timeout, data_sync::service(deps));
            }
            "import-splitter" => {
                let deps = import_splitter::Deps::from_config(&config).await.with_context(cannot_start)?;
                functions.add(binary, timeout, import_splitter::service(deps));
            }
            "import-worker" => {
                let deps = import_worker::Deps::with_views(&config, views()).await.with_context(cannot_start)?;
                functions.add(binary, timeout, import_worker::service(deps));
            }
            "reconcile" => {
                let deps = reconcile::Deps::with_views(&config, views()).await.with_context(cannot_start)?;
                functions.add(binary, timeout, reconcile::service(deps));
            }
            _ => tracing::warn!(
                "{} names the function {binary}, which this host does not contain",
                settings.template.origin
            ),
        }
    }
    Ok(functions)
}
