//! A domain with nothing to it: a counter that claims no value and can only grow.

use ledgerline_kernel::input::Fields;
use ledgerline_kernel::{Action, Aggregate, DecisionContext, Domain, Refusal, StoredEvent, TableSpec};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counter {
    code: String,
    name: String,
    attributes: Attributes,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Attributes {
    count: u64,
}

#[derive(Debug)]
pub(crate) enum Command {
    Create { code: String, name: String },
    Increment,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub(crate) enum Event {
    Created { code: String, name: String },
    Incremented {},
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoCounter;

impl std::fmt::Display for NoCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("there is no such counter")
    }
}

impl Refusal for NoCounter {
    fn code(&self) -> &'static str {
        "NO_COUNTER"
    }
}

impl Aggregate for Counter {
    type Command = Command;
    type Event = Event;
    type Error = NoCounter;

    fn decide(state: Option<&Self>, command: &Command, _: &DecisionContext) -> Result<Vec<Event>, NoCounter> {
        match (state, command) {
            (_, Command::Create { code, name }) => Ok(vec![Event::Created { code: code.clone(), name: name.clone() }]),
            (Some(_), Command::Increment) => Ok(vec![Event::Incremented {}]),
            (None, Command::Increment) => Err(NoCounter),
        }
    }

    fn evolve(state: Option<Self>, event: &Event) -> Option<Self> {
        match event {
            Event::Created { code, name } => {
                Some(Self { code: code.clone(), name: name.clone(), attributes: Attributes { count: 0 } })
            }
            Event::Incremented {} => {
                state.map(|counter| Self { attributes: Attributes { count: counter.attributes.count + 1 }, ..counter })
            }
        }
    }

    fn code(&self) -> &str {
        &self.code
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn is_deleted(&self) -> bool {
        false
    }
}

impl Domain for Counter {
    const TYPE: &'static str = "COUNTER";
    const RESOURCE: &'static str = "counters";
    const COMMANDS: &'static [&'static str] = &["increment"];
    const TABLE: TableSpec = TableSpec { name: "counter", columns: &[], indexed: &[], searched: &[] };

    fn parse(action: Action<'_>, fields: &mut Fields<'_>) -> Option<Command> {
        match action {
            Action::Create => {
                let (code, name) = (fields.required("code"), fields.required("name"));
                Some(Command::Create { code: code?, name: name? })
            }
            Action::Named("increment") => Some(Command::Increment),
            _ => None,
        }
    }

    fn to_stored(event: &Event) -> StoredEvent {
        match event {
            Event::Created { code, name } => {
                StoredEvent { name: "Created".to_owned(), v: 1, data: json!({"code": code, "name": name}) }
            }
            Event::Incremented {} => StoredEvent { name: "Incremented".to_owned(), v: 1, data: json!({}) },
        }
    }

    fn from_stored(stored: &StoredEvent) -> Option<Event> {
        serde_json::from_value(json!({"type": stored.name, "data": stored.data})).ok()
    }
}
