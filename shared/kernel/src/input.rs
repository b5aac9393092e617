//! Reading a request body: every problem in one answer, each with its path and a stable code, and
//! numbers exactly as they were written.
//!
//! `serde` derives stop at the first problem, name it only in prose, and read a number through a
//! float; so bodies are read field by field from the raw text instead. Stored data goes through
//! `serde` as usual.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::{Decimal, DecimalError, KeyError, SortKey, Version};

/// Why a body was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Not a JSON object.
    #[error("{0}")]
    Malformed(String),
    /// A JSON object with problems in it.
    #[error("{} problems in the body", .0.len())]
    Invalid(Vec<Problem>),
}

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Where: `attributes.price`.
    pub path: String,
    /// What, for programs: `TOO_MANY_DIGITS`.
    pub code: &'static str,
    /// What, for people; completes the sentence "The field …".
    pub message: String,
}

/// Why a field's value was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// A stable code: `REQUIRED`, `WRONG_TYPE`, `TOO_LONG`, `OUT_OF_RANGE`, …
    pub code: &'static str,
    /// A sentence for people, beginning with "must".
    pub message: String,
}

impl Rejection {
    /// A rejection with this code and sentence.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn wrong_type(expected: &str) -> Self {
        Self::new("WRONG_TYPE", format!("must be {expected}"))
    }
}

/// A value that is read from the raw text of one JSON field.
pub trait FromJson: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// [`Rejection`] says what is wrong with it.
    fn from_json(raw: &str) -> Result<Self, Rejection>;
}

/// What a merge patch says about one field (RFC 7396).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// Nothing: the field stays as it is.
    #[default]
    Keep,
    /// `null`: the field goes.
    Remove,
    /// A new value.
    Set(T),
}

impl<T: Clone> Patch<T> {
    /// The field after the patch.
    pub fn applied_to(&self, current: Option<&T>) -> Option<T> {
        match self {
            Self::Keep => current.cloned(),
            Self::Remove => None,
            Self::Set(value) => Some(value.clone()),
        }
    }
}

/// Reads a request body as JSON; `shape` is what it must be, such as `a JSON array`.
///
/// # Errors
/// [`InputError::Malformed`], in words of our own: those of `serde` tell of types that no caller knows.
pub fn read_body<'a, T: Deserialize<'a>>(text: &'a str, shape: &str) -> Result<T, InputError> {
    serde_json::from_str(text).map_err(|error| {
        InputError::Malformed(match error.classify() {
            Category::Syntax => {
                format!("the body is not JSON: look at line {}, column {}", error.line(), error.column())
            }
            Category::Eof if !text.trim_ascii().is_empty() => "the body ends before its JSON is complete".to_owned(),
            Category::Eof | Category::Data | Category::Io => format!("the body must be {shape}"),
        })
    })
}

/// How many problems of one request are reported: nobody mends more at once, and an answer must not
/// grow with what somebody sends.
pub const MAX_PROBLEMS: usize = 20;

/// How much of one text that somebody sent is repeated to them, in characters.
const MAX_ECHO: usize = 64;

/// A text of a caller's, as a problem may repeat it: all of it or, of a long one, how it begins.
#[must_use]
pub fn echoed(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_ECHO) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
    }
}

/// The fields of one JSON object, taken out one by one. What nobody took is unknown, and refused.
#[derive(Debug)]
pub struct Fields<'a> {
    path: String,
    left: Vec<(String, &'a RawValue)>,
    problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    /// The fields of a request body; an empty body has none.
    ///
    /// # Errors
    /// [`InputError::Malformed`] if the text is not one JSON object.
    pub fn of_body(text: &'a str) -> Result<Self, InputError> {
        let text = if text.trim_ascii().is_empty() { "{}" } else { text };
        let raw: &RawValue = read_body(text, "a JSON object")?;
        Self::of_object(raw, String::new())
            .ok_or_else(|| InputError::Malformed("the body must be a JSON object".to_owned()))
    }

    fn of_object(raw: &'a RawValue, path: String) -> Option<Self> {
        let entries = serde_json::Deserializer::from_str(raw.get()).deserialize_map(EntriesVisitor).ok()?;
        let mut fields = Self { path, left: Vec::with_capacity(entries.len()), problems: Vec::new() };
        // A few names are compared sooner than hashed; many would take their square.
        let mut many = (entries.len() > 16).then(HashSet::new);
        for (name, value) in entries {
            let is_first = match &mut many {
                Some(names) => names.insert(name.clone()),
                None => fields.left.iter().all(|(earlier, _)| *earlier != name),
            };
            if is_first {
                fields.left.push((name, value));
            } else {
                fields.report(&name, Rejection::new("DUPLICATE_FIELD", "must be given once"));
            }
        }
        Some(fields)
    }

    /// Takes a field that must be there. `None` after reporting why.
    pub fn required<T: FromJson>(&mut self, name: &str) -> Option<T> {
        match self.take(name) {
            Some(raw) if raw.get() != "null" => self.read(name, raw),
            _ => {
                self.report(name, Rejection::new("REQUIRED", "must be given"));
                None
            }
        }
    }

    /// Takes a field that may be left out or `null`.
    pub fn optional<T: FromJson>(&mut self, name: &str) -> Option<T> {
        self.take(name).filter(|raw| raw.get() != "null").and_then(|raw| self.read(name, raw))
    }

    /// Takes a field of a merge patch. [`Patch::Keep`] also after reporting a problem.
    pub fn patch<T: FromJson>(&mut self, name: &str) -> Patch<T> {
        match self.take(name) {
            None => Patch::Keep,
            Some(raw) if raw.get() == "null" => Patch::Remove,
            Some(raw) => self.read(name, raw).map_or(Patch::Keep, Patch::Set),
        }
    }

    /// Takes a field of a merge patch that cannot be removed: `null` is a problem.
    pub fn patch_required<T: FromJson>(&mut self, name: &str) -> Option<T> {
        match self.patch(name) {
            Patch::Keep => None,
            Patch::Set(value) => Some(value),
            Patch::Remove => {
                self.report(name, Rejection::new("REQUIRED", "must not be removed"));
                None
            }
        }
    }

    /// Takes a nested object and reads its fields; what `read` leaves over is reported too.
    pub fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Fields<'a>) -> T) -> Patch<T> {
        match self.take(name) {
            None => Patch::Keep,
            Some(raw) if raw.get() == "null" => Patch::Remove,
            Some(raw) => match Self::of_object(raw, self.path_of(name)) {
                Some(mut fields) => {
                    let value = read(&mut fields);
                    self.problems.extend(fields.finish());
                    Patch::Set(value)
                }
                None => {
                    self.report(name, Rejection::wrong_type("an object"));
                    Patch::Keep
                }
            },
        }
    }

    /// Reports a problem that a single field's value could not show.
    pub fn report(&mut self, name: &str, rejection: Rejection) {
        if self.problems.len() < MAX_PROBLEMS {
            let path = self.path_of(&echoed(name));
            self.problems.push(Problem { path, code: rejection.code, message: rejection.message });
        }
    }

    /// Everything found wrong, unknown fields included; the first 20 of it.
    #[must_use]
    pub fn finish(mut self) -> Vec<Problem> {
        for (name, _) in std::mem::take(&mut self.left) {
            self.report(&name, Rejection::new("UNKNOWN_FIELD", "is not known here"));
        }
        self.problems
    }

    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let index = self.left.iter().position(|(candidate, _)| candidate == name)?;
        Some(self.left.swap_remove(index).1)
    }

    fn read<T: FromJson>(&mut self, name: &str, raw: &RawValue) -> Option<T> {
        T::from_json(raw.get()).map_err(|rejection| self.report(name, rejection)).ok()
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// One entry of a batch of creates and updates, with the body that a single request would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchEntry<'a> {
    /// The entity that an update names. A create names its own in the body, or has one generated.
    pub sk: Option<SortKey>,
    /// The body.
    pub body: Cow<'a, str>,
}

impl<'a> BatchEntry<'a> {
    /// Reads an entry: with a `version` it is an update, whose `sk` is taken out; else a create, as
    /// it is. The rest is for the domain to read.
    ///
    /// # Errors
    /// [`InputError::Invalid`] for an update with no `sk`, more than one, or one that cannot be.
    pub fn read(entry: &'a RawValue) -> Result<Self, InputError> {
        let as_it_is = || Self { sk: None, body: Cow::Borrowed(entry.get()) };
        let Some(fields) = entries(entry) else { return Ok(as_it_is()) };
        if !fields.iter().any(|(name, value)| name == "version" && value.get() != "null") {
            return Ok(as_it_is());
        }
        let (named, rest): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(name, _)| name == "sk");
        let read = match named.as_slice() {
            [] => Err(Rejection::new("REQUIRED", "must be given")),
            [(_, sk)] => SortKey::from_json(sk.get()),
            _ => Err(Rejection::new("DUPLICATE_FIELD", "must be given once")),
        };
        let sk = read.map_err(|Rejection { code, message }| {
            InputError::Invalid(vec![Problem { path: "sk".to_owned(), code, message }])
        })?;
        Ok(Self { sk: Some(sk), body: Cow::Owned(object_of(&rest)) })
    }
}

/// The entries of an object, in order, duplicates included, each value as its raw text; none if it is no
/// object.
#[must_use]
pub fn entries(value: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    serde_json::Deserializer::from_str(value.get()).deserialize_map(EntriesVisitor).ok()
}

/// The text of an object with these entries.
#[must_use]
pub fn object_of(entries: &[(String, &RawValue)]) -> String {
    let entries: Vec<_> = entries.iter().map(|(name, value)| format!("{}:{value}", serde_json::json!(name))).collect();
    format!("{{{}}}", entries.join(","))
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl FromJson for String {
    /// Any text without U+0000, which Postgres cannot store.
    fn from_json(raw: &str) -> Result<Self, Rejection> {
        let text: Self = serde_json::from_str(raw).map_err(|_| Rejection::wrong_type("a text"))?;
        if text.contains('\0') {
            return Err(Rejection::new("NUL_CHARACTER", "must not hold a NUL character"));
        }
        Ok(text)
    }
}

impl FromJson for bool {
    fn from_json(raw: &str) -> Result<Self, Rejection> {
        serde_json::from_str(raw).map_err(|_| Rejection::wrong_type("true or false"))
    }
}

impl FromJson for Decimal {
    /// A JSON string or a JSON number, digit by digit either way.
    fn from_json(raw: &str) -> Result<Self, Rejection> {
        let text = if raw.starts_with('"') { String::from_json(raw)? } else { raw.to_owned() };
        text.parse().map_err(|error| match error {
            DecimalError::NotANumber => Rejection::wrong_type("a decimal number, such as \"12.50\""),
            DecimalError::TooManyDigits => Rejection::new("TOO_MANY_DIGITS", error.to_string()),
        })
    }
}

impl FromJson for Version {
    fn from_json(raw: &str) -> Result<Self, Rejection> {
        raw.parse().map_err(|_| Rejection::wrong_type("a version, a whole number from 1"))
    }
}

impl FromJson for SortKey {
    /// What a caller may choose: a sort key that a URL path can name. An HTTP API hands paths over
    /// decoded, and so cannot tell a `/` or a `?` within one segment from one that ends it.
    fn from_json(raw: &str) -> Result<Self, Rejection> {
        let text = String::from_json(raw)?;
        let refused = |reason: &dyn fmt::Display| Rejection::new("INVALID_SORT_KEY", format!("is refused: {reason}"));
        if text.contains(['/', '?']) || matches!(text.as_str(), "." | "..") {
            return Err(refused(&"a URL path cannot name one with / or ?, or . and .. alone"));
        }
        text.parse().map_err(|error: KeyError| refused(&error))
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
