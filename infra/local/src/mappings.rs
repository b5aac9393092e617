//! The template's event source mappings, running.

use std::sync::Arc;

use anyhow::Context as _;

use crate::data_dir::DataDir;
use crate::event_source::{DynamoDbStream, EventSource, FailureFile, Invoke, PositionFile};
use crate::stores::Stores;
use crate::template::Template;

/// All of them.
pub struct Mappings {
    running: Vec<EventSource>,
}

impl Mappings {
    /// Starts all of them where they stopped. Positions are kept beside the ledger whose streams
    /// they are in; what is given up goes to `failures/`.
    ///
    /// # Errors
    /// If one cannot be started.
    pub async fn start(
        template: &Template,
        stores: &Stores,
        dir: &DataDir,
        functions: &Arc<dyn Invoke>,
    ) -> anyhow::Result<Self> {
        let (positions, failures) = (dir.path().join("dynamodb"), dir.folder("failures")?);
        let mut running = Vec::new();
        for mapping in &template.stream_mappings {
            let id = &mapping.settings.id;
            let stream = DynamoDbStream::open(stores.dynamo.database(), &mapping.table)?;
            let position = PositionFile::new(&positions, id, stream.arn());
            let name = mapping.on_failure.as_ref().unwrap_or(id);
            let failures = FailureFile::new(failures.join(format!("{name}.jsonl")));
            let source =
                EventSource::start(mapping.settings.clone(), stream, position, Arc::clone(functions), failures).await;
            running.push(source.with_context(|| format!("cannot start the event source mapping {id}"))?);
        }
        Ok(Self { running })
    }

    /// Waits until everything written so far has been delivered.
    ///
    /// # Errors
    /// If a mapping has ended.
    pub async fn caught_up(&self) -> anyhow::Result<()> {
        for source in &self.running {
            source.caught_up().await?;
        }
        Ok(())
    }

    /// Stops them, after the invocations under way.
    pub async fn stop(self) {
        for source in self.running {
            source.stop().await;
        }
    }
}

#[cfg(test)]
#[path = "mappings_tests.rs"]
mod tests;
