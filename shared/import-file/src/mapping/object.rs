//! A line of JSON lines, without losing a digit of it.

use ledgerline_kernel::input::{Problem, entries, object_of};
use serde_json::value::RawValue;

/// The entries of an object, in order, each value as its text.
#[derive(Debug)]
pub(super) struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    pub(super) fn read(line: &'a str) -> Result<Self, Problem> {
        let malformed = |message: String| Problem { path: String::new(), code: "MALFORMED_JSON", message };
        let raw: &RawValue = serde_json::from_str(line).map_err(|error| malformed(format!("is not JSON: {error}")))?;
        Self::of(raw).ok_or_else(|| malformed("must be a JSON object".to_owned()))
    }

    fn of(raw: &'a RawValue) -> Option<Self> {
        entries(raw).map(Self)
    }

    /// The value of a name given once.
    pub(super) fn get(&self, name: &str) -> Result<Option<&'a RawValue>, &'static str> {
        let mut values = self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| *value);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err("must be given once"),
            (value, None) => Ok(value),
        }
    }

    /// The value at a path with dots between names. A name may have dots in it itself.
    pub(super) fn at(&self, path: &str) -> Result<Option<&'a RawValue>, &'static str> {
        let found = self.get(path)?;
        if found.is_some() {
            return Ok(found);
        }
        let Some((name, rest)) = path.split_once('.') else { return Ok(None) };
        match self.get(name)?.and_then(Object::of) {
            Some(inner) => inner.at(rest),
            None => Ok(None),
        }
    }

    /// The object's text without an entry.
    pub(super) fn without(&self, name: &str) -> String {
        let rest: Vec<_> = self.0.iter().filter(|(found, _)| found != name).cloned().collect();
        object_of(&rest)
    }
}
