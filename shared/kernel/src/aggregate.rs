use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{TenantCode, Timestamp};

/// What surrounds a decision, resolved at the edge so that the decision itself stays pure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionContext {
    /// When the command was taken in.
    pub now: Timestamp,
    /// For whom.
    pub tenant: TenantCode,
    /// By whom: the verified subject.
    pub user: String,
}

/// A domain's "no": a stable code for programs and a sentence for people (its `Display`).
///
/// It knows nothing of HTTP; the edge answers 422 with it.
pub trait Refusal: fmt::Display + fmt::Debug + PartialEq + Send + Sync + 'static {
    /// A stable code in `SCREAMING_SNAKE_CASE`, such as `PRODUCT_DELETED`.
    fn code(&self) -> &'static str;
}

/// The rules of one kind of entity, and nothing else: no IO, no clock, no randomness.
///
/// Two laws hold, and `ledgerline-testkit` checks them:
/// - **Replay**: folding [`evolve`](Self::evolve) over every event since the first gives the state.
/// - **Round trip**: a state survives JSON unchanged, numbers with a fraction being strings, and
///   keeps the domain's own attributes under `attributes`.
///
/// ```
/// # use ledgerline_kernel::{Aggregate, DecisionContext, Refusal};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
/// struct Door { open: bool }
///
/// #[derive(Debug)]
/// enum Command { Open }
///
/// #[derive(Clone, Debug, PartialEq)]
/// enum Event { Opened }
///
/// #[derive(Debug, PartialEq)]
/// struct Missing;
/// impl std::fmt::Display for Missing {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("there is no door") }
/// }
/// impl Refusal for Missing { fn code(&self) -> &'static str { "DOOR_MISSING" } }
///
/// impl Aggregate for Door {
///     type Command = Command;
///     type Event = Event;
///     type Error = Missing;
///
///     fn decide(state: Option<&Self>, command: &Command, _: &DecisionContext) -> Result<Vec<Event>, Missing> {
///         match (state, command) {
///             (None, _) => Err(Missing),
///             (Some(door), Command::Open) if door.open => Ok(vec![]), // nothing happens
///             (Some(_), Command::Open) => Ok(vec![Event::Opened]),
///         }
///     }
///
///     fn evolve(_: Option<Self>, event: &Event) -> Option<Self> {
///         match event { Event::Opened => Some(Self { open: true }) }
///     }
///
///     fn code(&self) -> &str { "door" }
///     fn name(&self) -> &str { "a door" }
///     fn is_deleted(&self) -> bool { false }
/// }
/// ```
pub trait Aggregate: Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What can be asked for, imperative: `ChangePrice`.
    type Command: fmt::Debug + Send + Sync + 'static;
    /// What can have happened, past tense: `PriceChanged`.
    type Event: Clone + fmt::Debug + PartialEq + Send + Sync + 'static;
    /// Why a command can be refused.
    type Error: Refusal;

    /// What happens when `command` meets `state` (none before the entity exists). An empty list
    /// means that there is nothing to do: nothing is written.
    ///
    /// # Errors
    /// The domain's own refusal.
    fn decide(
        state: Option<&Self>,
        command: &Self::Command,
        context: &DecisionContext,
    ) -> Result<Vec<Self::Event>, Self::Error>;

    /// The state after `event`. Holds no rules and cannot fail: what happened, happened.
    fn evolve(state: Option<Self>, event: &Self::Event) -> Option<Self>;

    /// The entity's business code.
    fn code(&self) -> &str;

    /// The entity's name for people.
    fn name(&self) -> &str;

    /// Whether the entity is (softly) deleted.
    fn is_deleted(&self) -> bool;
}
