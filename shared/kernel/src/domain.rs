//! A domain as the rest of the system sees it: without its types.
//!
//! [`Domain`] is what a domain author implements next to [`Aggregate`]: how requests become
//! commands and how events are stored. [`erase`] turns it into a [`DynDomain`], so that the use
//! cases, the router and the projections are written once for all domains.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde_json::Value;

use crate::input::{Fields, InputError};
use crate::{
    Aggregate, DecisionContext, EntityType, KeyError, Refusal, SortKey, StoredEvent, TableSpec, Version, VersionItem,
};

/// What a request asks of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Make a new one.
    Create,
    /// Replace all that a caller may set.
    Replace,
    /// Change some of it (JSON Merge Patch, RFC 7396).
    Update,
    /// Delete it softly.
    Delete,
    /// Undo a delete.
    Restore,
    /// One of the domain's own commands, in kebab-case, such as `change-price`.
    Named(&'a str),
}

/// How a domain meets the outside: its names, its wire format, its stored events.
pub trait Domain: Aggregate {
    /// The entity type in keys: `PRODUCT`.
    const TYPE: &'static str;
    /// The resource in URLs, plural kebab-case: `products`.
    const RESOURCE: &'static str;
    /// The names of the domain's own commands, kebab-case.
    const COMMANDS: &'static [&'static str];
    /// The read model's table.
    const TABLE: TableSpec;

    /// Reads the command out of a request's fields, reporting every problem to them. `None` only
    /// after at least one problem was reported, or where [`Action::Named`] is not in `COMMANDS`.
    ///
    /// `sk` (of a create) and `version` (of everything else) have been read already.
    fn parse(action: Action<'_>, fields: &mut Fields<'_>) -> Option<Self::Command>;

    /// The event in its newest stored shape.
    fn to_stored(event: &Self::Event) -> StoredEvent;

    /// Reads a stored event of any shape ever written. `None` for one that this code does not know.
    fn from_stored(stored: &StoredEvent) -> Option<Self::Event>;
}

/// What an accepted command leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What happened; empty for nothing.
    pub events: Vec<StoredEvent>,
    /// The state after it.
    pub state: Value,
    /// The business code after it.
    pub code: String,
    /// The name after it.
    pub name: String,
    /// Whether the entity is deleted after it.
    pub is_deleted: bool,
}

/// A ledger entry that this code cannot make sense of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{id} at version {version} cannot be read: {reason}")]
pub struct Corrupt {
    /// The entity.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// What is wrong with it.
    pub reason: String,
}

/// Why there is no decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// The domain said no.
    #[error("{detail}")]
    Refused {
        /// The domain's stable code.
        code: &'static str,
        /// The domain's sentence.
        detail: String,
    },
    /// The stored state is not one of this domain's.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

/// A command that has been read and validated, waiting for the state to decide on.
pub trait PreparedCommand: fmt::Debug + Send + Sync {
    /// Decides on the state in `newest`, as often as asked.
    ///
    /// # Errors
    /// [`Undecided`]: the domain's refusal, or a stored state that cannot be read.
    fn decide(&self, newest: Option<&VersionItem>, context: &DecisionContext) -> Result<Decision, Undecided>;
}

/// A request body, read.
#[derive(Debug)]
pub struct Prepared {
    /// The sort key that a create asked for.
    pub sk: Option<SortKey>,
    /// The `version` in the body, of anything but a create.
    pub version: Option<Version>,
    /// The command.
    pub command: Box<dyn PreparedCommand>,
}

/// A [`Domain`] without its types. Made by [`erase`].
pub trait DynDomain: fmt::Debug + Send + Sync {
    /// See [`Domain::TYPE`].
    fn entity_type(&self) -> &EntityType;
    /// See [`Domain::RESOURCE`].
    fn resource(&self) -> &'static str;
    /// See [`Domain::COMMANDS`].
    fn commands(&self) -> &'static [&'static str];
    /// See [`Domain::TABLE`].
    fn table(&self) -> &'static TableSpec;

    /// Reads and validates a request body (an empty one counts as `{}`).
    ///
    /// # Errors
    /// [`InputError`], with every problem found.
    fn prepare(&self, action: Action<'_>, body: &str) -> Result<Prepared, InputError>;

    /// Checks that every event of `item` is one that this code knows.
    ///
    /// # Errors
    /// [`Corrupt`] names the first that is not.
    fn check_events(&self, item: &VersionItem) -> Result<(), Corrupt>;
}

/// Forgets a domain's types.
///
/// # Errors
/// [`KeyError::EntityType`] if [`Domain::TYPE`] is not a valid entity type.
pub fn erase<D: Domain>() -> Result<Arc<dyn DynDomain>, KeyError> {
    Ok(Arc::new(Erased::<D> { entity_type: D::TYPE.parse()?, domain: PhantomData }))
}

#[derive(Debug)]
struct Erased<D> {
    entity_type: EntityType,
    domain: PhantomData<fn() -> D>,
}

impl<D: Domain> DynDomain for Erased<D> {
    fn entity_type(&self) -> &EntityType {
        &self.entity_type
    }

    fn resource(&self) -> &'static str {
        D::RESOURCE
    }

    fn commands(&self) -> &'static [&'static str] {
        D::COMMANDS
    }

    fn table(&self) -> &'static TableSpec {
        const { &D::TABLE }
    }

    fn prepare(&self, action: Action<'_>, body: &str) -> Result<Prepared, InputError> {
        let mut fields = Fields::of_body(body)?;
        let (sk, version) = match action {
            Action::Create => (fields.optional("sk"), None),
            _ => (None, fields.optional("version")),
        };
        let command = D::parse(action, &mut fields);
        match (fields.finish(), command) {
            (problems, Some(command)) if problems.is_empty() => {
                Ok(Prepared { sk, version, command: Box::new(Typed::<D>(command)) })
            }
            (problems, _) => Err(InputError::Invalid(problems)),
        }
    }

    fn check_events(&self, item: &VersionItem) -> Result<(), Corrupt> {
        match item.events.iter().find(|event| D::from_stored(event).is_none()) {
            Some(unknown) => Err(corrupt(item, format!("unknown event {} v{}", unknown.name, unknown.v))),
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Typed<D: Domain>(D::Command);

impl<D: Domain> PreparedCommand for Typed<D> {
    fn decide(&self, newest: Option<&VersionItem>, context: &DecisionContext) -> Result<Decision, Undecided> {
        let state: Option<D> = match newest {
            Some(item) => Some(read_state(item)?),
            None => None,
        };
        let events = D::decide(state.as_ref(), &self.0, context)
            .map_err(|refusal| Undecided::Refused { code: refusal.code(), detail: refusal.to_string() })?;
        let state = events.iter().fold(state, |state, event| D::evolve(state, event));
        let (Some(state), Ok(json)) = (&state, serde_json::to_value(&state)) else {
            // Only a create decides without a state, and its first event makes one.
            return Err(Undecided::Refused { code: "NOT_CREATED", detail: "there is no such entity yet".to_owned() });
        };
        Ok(Decision {
            events: events.iter().map(D::to_stored).collect(),
            code: state.code().to_owned(),
            name: state.name().to_owned(),
            is_deleted: state.is_deleted(),
            state: json,
        })
    }
}

fn read_state<D: Domain>(item: &VersionItem) -> Result<D, Corrupt> {
    serde::Deserialize::deserialize(&item.state).map_err(|error: serde_json::Error| corrupt(item, error.to_string()))
}

fn corrupt(item: &VersionItem, reason: String) -> Corrupt {
    Corrupt { id: item.key.to_string(), version: item.version, reason }
}
