use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Where a field's value comes from. In JSON a column's name, or an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// The row's cell.
    Column(ColumnSource),
    /// The same in every row.
    Constant(Value),
}

/// A column, and how its cells are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnSource {
    /// Its name. In JSON lines a path, with dots between names.
    pub column: String,
    /// What a number has between its whole and its fraction; `.` if only `thousands` is given. With
    /// either, the cell must be a number, of at most 38 digits, and becomes an exact decimal.
    pub decimal: Option<char>,
    /// What a number may have between groups of three digits. A blank stands for those that do not
    /// break as well.
    pub thousands: Option<char>,
    /// How a date is written, as `chrono` spells it: `%d.%m.%Y`. The cell must be such a date, and
    /// becomes one by ISO 8601, or by RFC 3339 if it has a time; without an offset, that is in UTC.
    pub date: Option<String>,
    /// Whether blanks at both ends are left out.
    pub trim: bool,
    /// What an empty cell is.
    pub empty: Option<Empty>,
}

/// What an empty cell is. Without a word of it, nothing in a create and `null` in a merge patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Empty {
    /// Nothing: the field is not in the body.
    Omit,
    /// `null`.
    Null,
    /// An empty text.
    Text,
}

impl Source {
    /// The column of this name, as it is.
    pub fn column(name: impl Into<String>) -> Self {
        Self::Column(ColumnSource { column: name.into(), ..ColumnSource::default() })
    }
}

/// The object in JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    // `null` is a constant, too.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    constant: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decimal: Option<char>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thousands: Option<char>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trim: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    empty: Option<Empty>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl TryFrom<Written> for Source {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written { column: Some(column), constant: None, decimal, thousands, date, trim, empty } => {
                let trim = trim.unwrap_or_default();
                Ok(Self::Column(ColumnSource { column, decimal, thousands, date, trim, empty }))
            }
            Written { column: None, constant: Some(constant), decimal: None, thousands: None, date: None, .. }
                if written.trim.is_none() && written.empty.is_none() =>
            {
                Ok(Self::Constant(constant))
            }
            _ => Err("a field has either a column, and how it is written, or a constant alone"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self.clone() {
            Self::Constant(constant) => Written { constant: Some(constant), ..Written::default() },
            Self::Column(ColumnSource { column, decimal, thousands, date, trim, empty }) => {
                let trim = trim.then_some(true);
                if (decimal, thousands, &date, trim, empty) == (None, None, &None, None, None) {
                    return serializer.serialize_str(&column);
                }
                Written { column: Some(column), constant: None, decimal, thousands, date, trim, empty }
            }
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = Source;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name, or an object with a column or a constant")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Source, E> {
        Ok(Source::column(name))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(map))?.try_into().map_err(A::Error::custom)
    }
}
