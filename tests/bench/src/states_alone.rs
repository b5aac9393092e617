use std::num::NonZeroU32;
use std::sync::Arc;

use ledgerline_kernel::input::InputError;
use ledgerline_kernel::{Action, Corrupt, DynDelta, DynDomain, EntityType, Prepared, TableSpec, VersionItem};

/// A domain without its delta projections.
#[derive(Debug)]
pub(crate) struct StatesAlone(pub(crate) Arc<dyn DynDomain>);

impl DynDomain for StatesAlone {
    fn entity_type(&self) -> &EntityType {
        self.0.entity_type()
    }

    fn resource(&self) -> &'static str {
        self.0.resource()
    }

    fn commands(&self) -> &'static [&'static str] {
        self.0.commands()
    }

    fn table(&self) -> &'static TableSpec {
        self.0.table()
    }

    fn retention_days(&self) -> Option<NonZeroU32> {
        self.0.retention_days()
    }

    fn has_large_states(&self) -> bool {
        self.0.has_large_states()
    }

    fn deltas(&self) -> Vec<Arc<dyn DynDelta>> {
        Vec::new()
    }

    fn prepare(&self, action: Action<'_>, body: &str) -> Result<Prepared, InputError> {
        self.0.prepare(action, body)
    }

    fn check_events(&self, item: &VersionItem) -> Result<(), Corrupt> {
        self.0.check_events(item)
    }

    fn replay(&self, before: Option<&VersionItem>, item: &VersionItem) -> Result<(), Corrupt> {
        self.0.replay(before, item)
    }

    fn unique(&self, item: &VersionItem) -> Result<Vec<(&'static str, String)>, Corrupt> {
        self.0.unique(item)
    }
}
