//! Which column is which field.

mod cell;
mod object;
mod plan;
mod source;

use std::fmt;

use ledgerline_kernel::input::Problem;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use plan::{MappedRow, RowMapper, Shape};
pub use source::{ColumnSource, Empty, Source};

/// Which column is which field of an entity, and how its cells are written.
///
/// ```json
/// {"fields": {"name": "Product name",
///             "attributes.price": {"column": "price", "decimal": ",", "thousands": "."},
///             "attributes.category": {"constant": "diamond"}}}
/// ```
///
/// A field is a path of names with dots between them. Without `fields`, a column is the field of its
/// own name: `sk`, `code`, `name` and what begins with `attributes.` as it is, everything else below
/// `attributes`; one without a name is left out, and is `""` in a mapping if it is the only one; and an
/// object of JSON lines is the body itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<Fields>,
}

impl Mapping {
    /// A column is the field of its own name.
    #[must_use]
    pub fn identity() -> Self {
        Self::default()
    }

    /// These fields, each from where it comes.
    pub fn of(fields: impl IntoIterator<Item = (String, Source)>) -> Self {
        Self { fields: Some(Fields(fields.into_iter().collect())) }
    }

    /// Everything wrong with the mapping itself, for a file with these columns; an empty list of
    /// columns is JSON lines, or a file whose header is not known yet. A problem's `path` is the field.
    /// Codes: `INVALID_FIELD`, `DUPLICATE_FIELD`, `FIELD_WITHIN_A_VALUE`, `UNKNOWN_COLUMN`,
    /// `INVALID_FORMAT`, `INEXACT_CONSTANT`, `NO_FIELDS`.
    #[must_use]
    pub fn check(&self, columns: &[String]) -> Vec<Problem> {
        self.over(columns).err().unwrap_or_default()
    }

    /// Maps rows of a file with these columns, or of JSON lines, which have none.
    ///
    /// # Errors
    /// What [`Self::check`] reports.
    pub fn over(&self, columns: &[String]) -> Result<RowMapper, Vec<Problem>> {
        match &self.fields {
            Some(Fields(fields)) => RowMapper::of_fields(fields, columns),
            None => RowMapper::of_columns(columns),
        }
    }
}

/// In the order in which they are given, duplicates included, so that these can be reported.
#[derive(Debug, Clone, PartialEq)]
struct Fields(Vec<(String, Source)>);

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (field, source) in &self.0 {
            map.serialize_entry(field, source)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of fields, each with its column or constant")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}
