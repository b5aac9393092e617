//! A product of a tenant's catalogue.
//!
//! | command | leads to | refused when |
//! |---|---|---|
//! | create | `ProductCreated` | it exists |
//! | replace, update | `DetailsChanged` and `PriceChanged`, each if something changed | it is deleted |
//! | `change-price` | `PriceChanged` | it is deleted |
//! | `merge-into` | `ProductMerged`, and on the target what it lacked | either is deleted |
//! | delete | `ProductDeleted` | never; deleting it again changes nothing |
//! | restore | `ProductRestored` | never; restoring a living one changes nothing |
//!
//! A price change is one fact, whichever command caused it: whoever keeps sums of prices listens to
//! `PriceChanged` alone.

mod category_totals;
mod command;
mod decide;
mod error;
mod event;
mod evolve;
mod input;
mod state;
mod stored;
mod values;

pub use command::{AttributesPatch, Command, Details, SpecificationPatch};
pub use error::ProductError;
pub use event::Event;
pub use state::{Attributes, Product, Specification};
pub use values::{Category, Description, Measure, Price, ProductCode, ProductName};

use std::sync::Arc;

use ledgerline_kernel::input::Fields;
use ledgerline_kernel::{
    Action, Aggregate, ColumnKind, ColumnSpec, DecisionContext, Domain, DynDelta, SortKey, StoredEvent, TableSpec,
    delta,
};

impl Aggregate for Product {
    type Command = Command;
    type Event = Event;
    type Error = ProductError;

    fn decide(state: Option<&Self>, command: &Command, _: &DecisionContext) -> Result<Vec<Event>, ProductError> {
        decide::decide(state, command)
    }

    fn evolve(state: Option<Self>, event: &Event) -> Option<Self> {
        evolve::evolve(state, event)
    }

    fn code(&self) -> &str {
        self.code.as_str()
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn is_deleted(&self) -> bool {
        self.is_deleted
    }
}

impl Domain for Product {
    const TYPE: &'static str = "PRODUCT";
    const RESOURCE: &'static str = "products";
    const COMMANDS: &'static [&'static str] = &["change-price", "merge-into"];
    const TABLE: TableSpec = TableSpec {
        name: "product",
        columns: &[
            ColumnSpec { name: "category", kind: ColumnKind::Text },
            ColumnSpec { name: "price", kind: ColumnKind::Numeric },
            ColumnSpec { name: "description", kind: ColumnKind::Text },
            ColumnSpec { name: "specification", kind: ColumnKind::Json },
        ],
        indexed: &["category", "price"],
        searched: &["code", "name", "description"],
    };

    fn deltas() -> Vec<Arc<dyn DynDelta>> {
        vec![delta::<Self, category_totals::CategoryTotals>()]
    }

    fn unique(&self) -> Vec<(&'static str, &str)> {
        vec![("code", self.code.as_str())]
    }

    fn involves(command: &Command) -> Vec<(&'static str, SortKey)> {
        match command {
            Command::MergeInto(target) => vec![("target", target.clone())],
            _ => Vec::new(),
        }
    }

    fn decide_together(
        states: &[Option<&Self>],
        command: &Command,
        context: &DecisionContext,
    ) -> Result<Vec<Vec<Event>>, ProductError> {
        match states {
            [product, target] => decide::merge(*product, *target, command).map(Vec::from),
            _ => Ok(vec![Self::decide(states.first().copied().flatten(), command, context)?]),
        }
    }

    fn parse(action: Action<'_>, fields: &mut Fields<'_>) -> Option<Command> {
        input::parse(action, fields)
    }

    fn to_stored(event: &Event) -> StoredEvent {
        stored::to_stored(event)
    }

    fn from_stored(stored: &StoredEvent) -> Option<Event> {
        stored::from_stored(stored)
    }
}

#[cfg(test)]
mod tests;
