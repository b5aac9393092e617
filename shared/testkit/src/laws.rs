//! What must hold for every aggregate. [`given()`](crate::given()) checks the laws of states on its
//! way; [`hold_for`] checks them all for a history of events.

use ledgerline_kernel::{Aggregate, Domain, StoredEvent, canonical_json};
use serde_json::Value;

use crate::given::state_after;

/// Checks every law along a history: after each event the state is storable, a state that was
/// stored and loaded evolves as the replayed one does, and each event survives storage.
///
/// # Panics
/// Where a law is broken.
#[track_caller]
pub fn hold_for<D: Domain>(history: &[D::Event]) {
    assert!(!history.is_empty(), "an empty history keeps any law");
    for (index, event) in history.iter().enumerate() {
        let (past, new) = history.split_at(index);
        replay_equals_state::<D>(past, new.get(..1).unwrap_or_default());
        event_survives_storage::<D>(event);
    }
}

/// A state survives JSON unchanged, has a canonical form (so no number with a fraction) and keeps
/// the domain's own attributes in an object `attributes`.
///
/// # Panics
/// If not.
#[track_caller]
pub fn state_is_storable<A: Aggregate>(state: &A) {
    drop(stored_and_loaded(state));
}

/// Folding all events from the beginning gives the state that is reached by storing and loading
/// the state after `past` and evolving it by `new`.
///
/// # Panics
/// If not, or if a state on the way is not storable.
#[track_caller]
pub fn replay_equals_state<A: Aggregate>(past: &[A::Event], new: &[A::Event]) {
    let loaded = state_after::<A>(past).map(|state| stored_and_loaded(&state));
    let carried_on = new.iter().fold(loaded, |state, event| A::evolve(state, event));
    let replayed = state_after::<A>(past.iter().chain(new));
    assert_eq!(carried_on, replayed, "replaying all events must give the state");
    if let Some(state) = &replayed {
        state_is_storable(state);
    }
}

/// An event is read back from its stored form, and from that form's JSON text, as it was.
///
/// # Panics
/// If not.
#[track_caller]
pub fn event_survives_storage<D: Domain>(event: &D::Event) {
    let stored = D::to_stored(event);
    let text = serde_json::to_string(&stored).unwrap_or_default();
    let loaded: Option<StoredEvent> = serde_json::from_str(&text).ok();
    assert_eq!(loaded.as_ref(), Some(&stored), "a stored event must survive JSON");
    assert!(canonical_json(&stored.data).is_ok(), "a stored number is a whole number: {text}");
    assert_eq!(D::from_stored(&stored).as_ref(), Some(event), "an event must survive storage: {text}");
}

#[track_caller]
fn stored_and_loaded<A: Aggregate>(state: &A) -> A {
    let json = serde_json::to_value(state).unwrap_or_default();
    assert!(json.get("attributes").is_some_and(Value::is_object), "a state has an object `attributes`: {json}");
    assert!(canonical_json(&json).is_ok(), "a stored number is a whole number: {json}");
    let loaded: Option<A> = serde_json::from_value(json).ok();
    assert_eq!(loaded.as_ref(), Some(state), "a state must survive JSON");
    loaded.unwrap_or_else(|| state.clone())
}
