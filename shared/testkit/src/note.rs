//! A domain as small as can be, for tests that need one and do not care which: a note with a text.

use std::fmt;
use std::num::NonZeroU32;

use ledgerline_kernel::input::Fields;
use ledgerline_kernel::{
    Action, Aggregate, ColumnKind, ColumnSpec, Decimal, DecisionContext, Domain, Refusal, StoredEvent, TableSpec,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A note as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    code: String,
    name: String,
    is_deleted: bool,
    attributes: Attributes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Attributes {
    body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stars: Option<Decimal>,
}

impl Note {
    /// Its text.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.attributes.body
    }
}

/// What can be asked of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoteCommand {
    /// Write a new one.
    Write {
        /// Its code.
        code: String,
        /// Its name.
        name: String,
        /// Its text.
        body: String,
    },
    /// Write its text anew.
    Rewrite {
        /// The new text.
        body: String,
    },
    /// Give it stars.
    Rate {
        /// How many.
        stars: Decimal,
    },
    /// Delete it.
    Erase,
}

/// What can have happened to a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoteEvent {
    /// It was written.
    Written {
        /// Its code.
        code: String,
        /// Its name.
        name: String,
        /// Its text.
        body: String,
    },
    /// Its text was written anew.
    Rewritten {
        /// The new text.
        body: String,
    },
    /// It was given stars.
    Rated {
        /// How many.
        stars: Decimal,
    },
    /// It was deleted.
    Erased,
}

/// Why a command on a note can be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteRefusal {
    /// There is no note.
    Missing,
    /// The note was deleted.
    Erased,
}

impl fmt::Display for NoteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no such note",
            Self::Erased => "the note was deleted",
        })
    }
}

impl Refusal for NoteRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Missing => "NOTE_MISSING",
            Self::Erased => "NOTE_ERASED",
        }
    }
}

impl Aggregate for Note {
    type Command = NoteCommand;
    type Event = NoteEvent;
    type Error = NoteRefusal;

    fn decide(state: Option<&Self>, command: &NoteCommand, _: &DecisionContext) -> Result<Vec<NoteEvent>, NoteRefusal> {
        match (state, command) {
            (_, NoteCommand::Write { code, name, body }) => {
                Ok(vec![NoteEvent::Written { code: code.clone(), name: name.clone(), body: body.clone() }])
            }
            (None, _) => Err(NoteRefusal::Missing),
            (Some(note), NoteCommand::Erase) if note.is_deleted => Ok(vec![]),
            (Some(note), _) if note.is_deleted => Err(NoteRefusal::Erased),
            (Some(note), NoteCommand::Rewrite { body }) if note.attributes.body == *body => Ok(vec![]),
            (Some(_), NoteCommand::Rewrite { body }) => Ok(vec![NoteEvent::Rewritten { body: body.clone() }]),
            (Some(_), NoteCommand::Rate { stars }) => Ok(vec![NoteEvent::Rated { stars: stars.clone() }]),
            (Some(_), NoteCommand::Erase) => Ok(vec![NoteEvent::Erased]),
        }
    }

    fn evolve(state: Option<Self>, event: &NoteEvent) -> Option<Self> {
        match (state, event) {
            (_, NoteEvent::Written { code, name, body }) => Some(Self {
                code: code.clone(),
                name: name.clone(),
                is_deleted: false,
                attributes: Attributes { body: body.clone(), stars: None },
            }),
            (None, _) => None,
            (Some(note), NoteEvent::Rewritten { body }) => {
                Some(Self { attributes: Attributes { body: body.clone(), ..note.attributes }, ..note })
            }
            (Some(note), NoteEvent::Rated { stars }) => {
                Some(Self { attributes: Attributes { stars: Some(stars.clone()), ..note.attributes }, ..note })
            }
            (Some(note), NoteEvent::Erased) => Some(Self { is_deleted: true, ..note }),
        }
    }

    fn code(&self) -> &str {
        &self.code
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn is_deleted(&self) -> bool {
        self.is_deleted
    }
}

impl Domain for Note {
    const TYPE: &'static str = "NOTE";
    const RESOURCE: &'static str = "notes";
    const COMMANDS: &'static [&'static str] = &["rate"];
    const TABLE: TableSpec = TableSpec {
        name: "note",
        columns: &[
            ColumnSpec { name: "body", kind: ColumnKind::Text },
            ColumnSpec { name: "stars", kind: ColumnKind::Numeric },
        ],
        indexed: &["body", "stars"],
        searched: &["code", "name", "body"],
    };

    /// Notes forget what they said in between after 90 days.
    const RETENTION_DAYS: Option<NonZeroU32> = NonZeroU32::new(90);

    fn parse(action: Action<'_>, fields: &mut Fields<'_>) -> Option<NoteCommand> {
        match action {
            Action::Create | Action::Replace => {
                let (code, name, body) = (fields.required("code"), fields.required("name"), fields.required("body"));
                Some(NoteCommand::Write { code: code?, name: name?, body: body? })
            }
            Action::Update => Some(NoteCommand::Rewrite { body: fields.required("body")? }),
            Action::Named("rate") => Some(NoteCommand::Rate { stars: fields.required("stars")? }),
            Action::Delete => Some(NoteCommand::Erase),
            Action::Restore | Action::Named(_) => None,
        }
    }

    fn to_stored(event: &NoteEvent) -> StoredEvent {
        let (name, data) = match event {
            NoteEvent::Written { code, name, body } => ("Written", json!({"code": code, "name": name, "body": body})),
            NoteEvent::Rewritten { body } => ("Rewritten", json!({"body": body})),
            NoteEvent::Rated { stars } => ("Rated", json!({"stars": stars})),
            NoteEvent::Erased => ("Erased", json!({})),
        };
        StoredEvent { name: name.to_owned(), v: 1, data }
    }

    fn from_stored(stored: &StoredEvent) -> Option<NoteEvent> {
        let text = |field: &str| Some(stored.data.get(field)?.as_str()?.to_owned());
        match (stored.name.as_str(), stored.v) {
            ("Written", 1) => {
                Some(NoteEvent::Written { code: text("code")?, name: text("name")?, body: text("body")? })
            }
            ("Rewritten", 1) => Some(NoteEvent::Rewritten { body: text("body")? }),
            ("Rated", 1) => Some(NoteEvent::Rated { stars: text("stars")?.parse().ok()? }),
            ("Erased", 1) => Some(NoteEvent::Erased),
            _ => None,
        }
    }
}
