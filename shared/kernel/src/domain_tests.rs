use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::{Draft, Stamp};

/// A sum, and when it became too much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tally {
    attributes: Sum,
    closed: bool,
    #[serde(default)]
    added_later: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sum {
    sum: u64,
}

#[derive(Debug, PartialEq)]
struct Never;

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("never")
    }
}

impl Refusal for Never {
    fn code(&self) -> &'static str {
        "NEVER"
    }
}

impl Aggregate for Tally {
    type Command = ();
    /// What is added; nothing closes it.
    type Event = u64;
    type Error = Never;

    fn decide(_: Option<&Self>, _: &(), _: &DecisionContext) -> Result<Vec<u64>, Never> {
        Err(Never)
    }

    fn evolve(state: Option<Self>, event: &u64) -> Option<Self> {
        let before = state.map_or(0, |state| state.attributes.sum);
        Some(Self { attributes: Sum { sum: before + event }, closed: *event == 0, added_later: None })
    }

    fn code(&self) -> &str {
        "tally"
    }

    fn name(&self) -> &str {
        "a tally"
    }

    fn is_deleted(&self) -> bool {
        self.closed
    }
}

impl Domain for Tally {
    const TYPE: &'static str = "TALLY";
    const RESOURCE: &'static str = "tallies";
    const COMMANDS: &'static [&'static str] = &[];
    const TABLE: TableSpec = TableSpec { name: "tally", columns: &[], indexed: &[], searched: &[] };

    fn unique(&self) -> Vec<(&'static str, &str)> {
        vec![("code", "tally")]
    }

    fn parse(_: Action<'_>, _: &mut Fields<'_>) -> Option<()> {
        None
    }

    fn to_stored(event: &u64) -> StoredEvent {
        StoredEvent { name: "Added".to_owned(), v: 1, data: json!(event) }
    }

    fn from_stored(stored: &StoredEvent) -> Option<u64> {
        if stored.name == "Added" { stored.data.as_u64() } else { None }
    }
}

fn item(before: Option<&VersionItem>, added: &[u64], state: Value, closed: bool) -> VersionItem {
    let draft = Draft {
        code: "tally".to_owned(),
        name: "a tally".to_owned(),
        is_deleted: closed,
        events: added.iter().map(Tally::to_stored).collect(),
        state,
        command_id: "c".to_owned(),
        request_id: "r".to_owned(),
        source: "test".to_owned(),
        traceparent: None,
        stamp: Stamp { at: "2026-11-20T08:00:00Z".parse().unwrap(), by: "ann".to_owned(), ip: String::new() },
    };
    let version = before.map_or(Version::FIRST, |before| before.version.next().unwrap());
    VersionItem::chain("TALLY#acme#t".parse().unwrap(), version, before, draft).unwrap()
}

fn state(sum: u64, closed: bool) -> Value {
    json!({"attributes": {"sum": sum}, "closed": closed, "addedLater": null})
}

#[test]
fn a_version_that_says_what_its_events_lead_to_is_replayed() {
    let tally = erase::<Tally>().unwrap();
    let first = item(None, &[1, 2], state(3, false), false);
    assert_eq!(tally.replay(None, &first), Ok(()));
    assert_eq!(tally.replay(Some(&first), &item(Some(&first), &[4, 0], state(7, true), true)), Ok(()));
}

#[test]
fn a_state_written_before_a_field_was_added_is_replayed() {
    let old = item(None, &[1], json!({"attributes": {"sum": 1}, "closed": false}), false);
    assert_eq!(erase::<Tally>().unwrap().replay(None, &old), Ok(()));
}

#[test]
fn a_version_that_says_anything_else_is_not() {
    let tally = erase::<Tally>().unwrap();
    let first = item(None, &[1], state(1, false), false);
    let extra = json!({"attributes": {"sum": 1, "extra": 1}, "closed": false});
    let unknown = StoredEvent { name: "Halved".to_owned(), v: 1, data: Value::Null };
    let lies = [
        (item(None, &[1], state(2, false), false), "its state is not what its events lead to"),
        (item(None, &[1], extra, false), "its state is not what its events lead to"),
        (item(None, &[1], state(1, false), true), "its isDeleted is not what its events lead to"),
        (VersionItem { code: "other".to_owned(), ..first.clone() }, "its code is not what its events lead to"),
        (VersionItem { name: "other".to_owned(), ..first.clone() }, "its name is not what its events lead to"),
        (VersionItem { events: Vec::new(), ..first.clone() }, "its events lead to no state"),
        (VersionItem { events: vec![unknown], ..first.clone() }, "unknown event Halved v1"),
    ];
    for (lie, reason) in lies {
        assert_eq!(tally.replay(None, &lie).unwrap_err().reason, reason, "{lie:?}");
    }
    assert!(tally.replay(None, &item(None, &[1], json!("text"), false)).is_err());
    let after_nothing = tally.replay(Some(&first), &first).unwrap_err();
    assert_eq!(after_nothing.reason, "its state is not what its events lead to");
}

#[test]
fn a_deleted_entity_has_no_unique_value() {
    let tally = erase::<Tally>().unwrap();
    let living = item(None, &[1], state(1, false), false);
    assert_eq!(tally.unique(&living), Ok(vec![("code", "tally".to_owned())]));
    assert_eq!(tally.unique(&item(None, &[0], state(0, true), true)), Ok(Vec::new()));
}
