use ledgerline_kernel::ports::{CommitError, LedgerWrite};
use ledgerline_kernel::{
    Action, Aggregate, Commit, DecisionContext, Domain, Draft, DynDomain, EntityKey, Stamp, Timestamp, Version,
    VersionItem,
};

use crate::given::{default_context, state_after};
use crate::note::{Note, NoteEvent};

/// The key of a note of tenant `acme`.
///
/// # Panics
/// If `sk` is no sort key.
#[must_use]
#[track_caller]
#[expect(clippy::unwrap_used, reason = "a test's own mistake fails the test")]
pub fn note_key(sk: &str) -> EntityKey {
    EntityKey::new(Note::TYPE.parse().unwrap(), "acme".parse().unwrap(), sk.parse().unwrap())
}

/// Noon on 2026-01-01, when everything happens in a test that does not say otherwise.
#[must_use]
pub fn noon() -> Timestamp {
    default_context().now
}

/// Commits one version and nothing else, at [`noon`].
///
/// # Errors
/// [`CommitError`].
pub async fn append(ledger: &impl LedgerWrite, item: &VersionItem) -> Result<(), CommitError> {
    ledger.commit(&Commit::of(item.clone()), noon()).await
}

/// The first `count` versions of a note, chained: written at noon, rewritten every second after.
///
/// # Panics
/// Never for a key and a count that make sense.
#[must_use]
pub fn version_items(key: &EntityKey, count: u64) -> Vec<VersionItem> {
    large_version_items(key, count, 0)
}

/// As [`version_items`], each with a text of at least `bytes` bytes in its state.
///
/// # Panics
/// Never for a key and a count that make sense.
#[must_use]
pub fn large_version_items(key: &EntityKey, count: u64, bytes: usize) -> Vec<VersionItem> {
    let mut items: Vec<VersionItem> = Vec::new();
    let mut history = Vec::new();
    for number in 1..=count {
        let body = format!("text {number} {}", "x".repeat(bytes));
        let event = match number {
            1 => NoteEvent::Written { code: format!("C-{}", key.sk), name: format!("Note {}", key.sk), body },
            _ => NoteEvent::Rewritten { body },
        };
        history.push(event.clone());
        let item = item_after(key, number, items.last(), &history, &event);
        items.push(item);
    }
    items
}

/// What a domain makes of a request on the version `last` of an entity (none for a new one): the next
/// version, or none if there was nothing to do. By `ann`, at `at`, from a request as any other.
///
/// # Panics
/// If the domain refuses the request.
#[must_use]
#[track_caller]
#[expect(clippy::unwrap_used, reason = "a test's own mistake fails the test")]
pub fn next_version(
    domain: &dyn DynDomain,
    key: &EntityKey,
    last: Option<&VersionItem>,
    (action, body): (Action<'_>, &str),
    at: Timestamp,
) -> Option<VersionItem> {
    let context = DecisionContext { now: at, tenant: key.partition.tenant.clone(), user: "ann".to_owned() };
    let command = domain.prepare(action, body).unwrap().command;
    let decided = command.decide(&[last.cloned()], &context).unwrap().swap_remove(0).unwrap();
    if decided.events.is_empty() {
        return None;
    }
    let number = last.map_or(1, |last| last.version.number() + 1);
    let draft = Draft {
        code: decided.code,
        name: decided.name,
        is_deleted: decided.is_deleted,
        events: decided.events,
        state: decided.state,
        command_id: format!("{key}@{number}"),
        request_id: "r".to_owned(),
        source: "test".to_owned(),
        traceparent: None,
        stamp: Stamp { at, by: context.user, ip: String::new() },
    };
    Some(VersionItem::chain(key.clone(), Version::new(number).unwrap(), last, draft).unwrap())
}

/// Another item in the place of `item`: same entity, version and predecessor, other content. What
/// a second writer would have stored there.
///
/// # Panics
/// If `item` is not one of a note.
#[must_use]
#[expect(clippy::unwrap_used, reason = "a test's own mistake fails the test")]
pub fn fork_of(item: &VersionItem) -> VersionItem {
    let mut fork = item.clone();
    fork.command_id = format!("{}-fork", item.command_id);
    *fork.state.pointer_mut("/attributes/body").unwrap() = "somebody else's text".into();
    fork.hash = fork.computed_hash().unwrap();
    fork
}

#[expect(clippy::unwrap_used, reason = "a note has a canonical form and its versions have ten digits")]
fn item_after(
    key: &EntityKey,
    number: u64,
    previous: Option<&VersionItem>,
    history: &[NoteEvent],
    event: &NoteEvent,
) -> VersionItem {
    let state = state_after::<Note>(history).unwrap();
    let seconds = chrono::Duration::seconds(i64::try_from(number - 1).unwrap());
    let context = default_context();
    let draft = Draft {
        code: state.code().to_owned(),
        name: state.name().to_owned(),
        is_deleted: state.is_deleted(),
        events: vec![Note::to_stored(event)],
        state: serde_json::to_value(&state).unwrap(),
        command_id: format!("{key}-command-{number}"),
        request_id: format!("request-{number}"),
        source: "testkit".to_owned(),
        traceparent: None,
        stamp: Stamp { at: (context.now.as_datetime() + seconds).into(), by: context.user, ip: "192.0.2.7".to_owned() },
    };
    VersionItem::chain(key.clone(), Version::new(number).unwrap(), previous, draft).unwrap()
}
