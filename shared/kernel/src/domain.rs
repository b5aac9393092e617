//! A domain as the rest of the system sees it: without its types.
//!
//! [`Domain`] is what a domain author implements next to [`Aggregate`]: how requests become
//! commands and how events are stored. [`erase`] turns it into a [`DynDomain`], so that the use
//! cases, the router and the projections are written once for all domains.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde_json::Value;

use crate::input::{Fields, InputError};
use crate::{
    Aggregate, DecisionContext, DynDelta, EntityType, KeyError, Refusal, SortKey, StoredEvent, TableSpec, Version,
    VersionItem,
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

    /// For how many days versions stay that are neither the first nor the newest; for ever if none.
    const RETENTION_DAYS: Option<NonZeroU32> = None;

    /// Whether an entity may outgrow a ledger item. What is too large is kept beside the ledger then,
    /// under its hash; otherwise it is refused.
    const LARGE_STATES: bool = false;

    /// The read models of this domain that hold sums over entities.
    #[must_use]
    fn deltas() -> Vec<Arc<dyn DynDelta>> {
        Vec::new()
    }

    /// The values that no other living entity of this type and tenant may have, by field. Taken and
    /// given up in the transaction of the version that changes them; a deleted entity has none.
    fn unique(&self) -> Vec<(&'static str, &str)> {
        Vec::new()
    }

    /// The other entities of this domain that a command concerns, each with the field that names it.
    fn involves(_: &Self::Command) -> Vec<(&'static str, SortKey)> {
        Vec::new()
    }

    /// What happens to each of several entities, in one transaction. `states` are the addressed
    /// entity, then those that the command [`involves`](Self::involves); so are the answers.
    ///
    /// # Errors
    /// The domain's own refusal, of all of it.
    fn decide_together(
        states: &[Option<&Self>],
        command: &Self::Command,
        context: &DecisionContext,
    ) -> Result<Vec<Vec<Self::Event>>, Self::Error> {
        Ok(vec![Self::decide(states.first().copied().flatten(), command, context)?])
    }

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
    /// The unique values that it takes, by field.
    pub taken: Vec<(&'static str, String)>,
    /// The unique values that it gives up, by field.
    pub released: Vec<(&'static str, String)>,
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

/// A command that has been read and validated, waiting for the states to decide on.
pub trait PreparedCommand: fmt::Debug + Send + Sync {
    /// See [`Domain::involves`].
    fn involves(&self) -> Vec<(&'static str, SortKey)>;

    /// Decides on the states in these items, as often as asked: the addressed entity, then those
    /// that the command [`involves`](Self::involves). One decision for each, in the same order; none
    /// for an entity that there is not and that nothing happens to.
    ///
    /// # Errors
    /// [`Undecided`]: the domain's refusal, or a stored state that cannot be read.
    fn decide(
        &self,
        newest: &[Option<VersionItem>],
        context: &DecisionContext,
    ) -> Result<Vec<Option<Decision>>, Undecided>;
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
    /// See [`Domain::RETENTION_DAYS`].
    fn retention_days(&self) -> Option<NonZeroU32>;
    /// See [`Domain::LARGE_STATES`].
    fn has_large_states(&self) -> bool;
    /// See [`Domain::deltas`].
    fn deltas(&self) -> Vec<Arc<dyn DynDelta>>;

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

    /// Checks that `item` says what its events make of the version `before` it (none before the
    /// first). A state may lack what newer code adds to it, but holds nothing of its own.
    ///
    /// # Errors
    /// [`Corrupt`] says what differs, or which of the two cannot be read.
    fn replay(&self, before: Option<&VersionItem>, item: &VersionItem) -> Result<(), Corrupt>;

    /// The values that no other entity may have while `item` is the newest version, by field; none
    /// of a deleted one.
    ///
    /// # Errors
    /// [`Corrupt`] if the state is not one of this domain's.
    fn unique(&self, item: &VersionItem) -> Result<Vec<(&'static str, String)>, Corrupt>;
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

    fn retention_days(&self) -> Option<NonZeroU32> {
        D::RETENTION_DAYS
    }

    fn has_large_states(&self) -> bool {
        D::LARGE_STATES
    }

    fn deltas(&self) -> Vec<Arc<dyn DynDelta>> {
        D::deltas()
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
        read_events::<D>(item).map(drop)
    }

    fn replay(&self, before: Option<&VersionItem>, item: &VersionItem) -> Result<(), Corrupt> {
        let before = before.map(read_state::<D>).transpose()?;
        let (events, stored) = (read_events::<D>(item)?, read_state::<D>(item)?);
        let replayed = events.iter().fold(before, |state, event| D::evolve(state, event));
        let replayed = replayed.filter(|_| !events.is_empty());
        let replayed = replayed.ok_or_else(|| corrupt(item, "its events lead to no state".to_owned()))?;
        let own = serde_json::to_value(&stored).unwrap_or_default();
        let same = [
            ("state", replayed == stored && covers(&own, &item.state)),
            ("code", replayed.code() == item.code),
            ("name", replayed.name() == item.name),
            ("isDeleted", replayed.is_deleted() == item.is_deleted),
        ];
        match same.iter().find(|(_, same)| !same) {
            Some((field, _)) => Err(corrupt(item, format!("its {field} is not what its events lead to"))),
            None => Ok(()),
        }
    }

    fn unique(&self, item: &VersionItem) -> Result<Vec<(&'static str, String)>, Corrupt> {
        read_state::<D>(item).map(|state| claims(&state))
    }
}

#[derive(Debug)]
struct Typed<D: Domain>(D::Command);

impl<D: Domain> PreparedCommand for Typed<D> {
    fn involves(&self) -> Vec<(&'static str, SortKey)> {
        D::involves(&self.0)
    }

    fn decide(
        &self,
        newest: &[Option<VersionItem>],
        context: &DecisionContext,
    ) -> Result<Vec<Option<Decision>>, Undecided> {
        let states = newest.iter().map(|item| item.as_ref().map(read_state::<D>).transpose());
        let states: Vec<Option<D>> = states.collect::<Result<_, _>>()?;
        let seen: Vec<Option<&D>> = states.iter().map(Option::as_ref).collect();
        let decided = D::decide_together(&seen, &self.0, context)
            .map_err(|refusal| Undecided::Refused { code: refusal.code(), detail: refusal.to_string() })?;
        let mut decided = decided.into_iter();
        Ok(states.into_iter().map(|before| decision::<D>(before, &decided.next().unwrap_or_default())).collect())
    }
}

/// What `events` make of `before`; none where there is no entity, before or after.
fn decision<D: Domain>(before: Option<D>, events: &[D::Event]) -> Option<Decision> {
    let had = before.as_ref().map(claims).unwrap_or_default();
    let state = events.iter().fold(before, |state, event| D::evolve(state, event))?;
    let has = claims(&state);
    // Plain structs of texts, checked by the domain's tests to survive JSON.
    let json = serde_json::to_value(&state).unwrap_or_default();
    Some(Decision {
        events: events.iter().map(D::to_stored).collect(),
        code: state.code().to_owned(),
        name: state.name().to_owned(),
        is_deleted: state.is_deleted(),
        taken: has.iter().filter(|value| !had.contains(value)).cloned().collect(),
        released: had.into_iter().filter(|value| !has.contains(value)).collect(),
        state: json,
    })
}

/// What a living entity has and no other may have.
fn claims<D: Domain>(state: &D) -> Vec<(&'static str, String)> {
    if state.is_deleted() {
        return Vec::new();
    }
    state.unique().into_iter().map(|(field, value)| (field, value.to_owned())).collect()
}

pub(crate) fn read_state<D: Domain>(item: &VersionItem) -> Result<D, Corrupt> {
    serde::Deserialize::deserialize(&item.state).map_err(|error: serde_json::Error| corrupt(item, error.to_string()))
}

pub(crate) fn read_events<D: Domain>(item: &VersionItem) -> Result<Vec<D::Event>, Corrupt> {
    let unknown = |event: &StoredEvent| corrupt(item, format!("unknown event {} v{}", event.name, event.v));
    item.events.iter().map(|event| D::from_stored(event).ok_or_else(|| unknown(event))).collect()
}

/// Whether everything in `stored` is in `own` too.
fn covers(own: &Value, stored: &Value) -> bool {
    match (own, stored) {
        (Value::Object(own), Value::Object(stored)) => {
            stored.iter().all(|(name, stored)| own.get(name).is_some_and(|own| covers(own, stored)))
        }
        (Value::Array(own), Value::Array(stored)) => {
            own.len() == stored.len() && own.iter().zip(stored).all(|(own, stored)| covers(own, stored))
        }
        _ => own == stored,
    }
}

pub(crate) fn corrupt(item: &VersionItem, reason: String) -> Corrupt {
    Corrupt { id: item.key.to_string(), version: item.version, reason }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
