use std::sync::Arc;

use ledgerline_kernel::{ColumnKind, TableSpec};

use crate::failure::Failure;

/// The columns that every table has, and what they are cast to from text. First the key columns,
/// which are the same in every version.
const ENVELOPE: [(&str, &str); 17] = [
    ("id", "text"),
    ("tenant_code", "text"),
    ("pk", "text"),
    ("sk", "text"),
    ("cpk", "text"),
    ("csk", "text"),
    ("code", "text"),
    ("name", "text"),
    ("version", "bigint"),
    ("is_deleted", "boolean"),
    ("payload_hash", "text"),
    ("created_at", "timestamptz"),
    ("created_by", "text"),
    ("created_ip", "text"),
    ("updated_at", "timestamptz"),
    ("updated_by", "text"),
    ("updated_ip", "text"),
];

const KEY_COLUMNS: usize = 5;

/// The statements that write one table.
#[derive(Debug)]
pub(crate) struct TableSql {
    /// Takes one text array per column, in the order of the envelope and then of the table.
    pub(crate) upsert: Arc<str>,
    /// Takes ids, versions and hashes; answers with the ids whose row has that version and another
    /// hash.
    pub(crate) forks: Arc<str>,
}

impl TableSql {
    pub(crate) fn new(table: &TableSpec) -> Result<Self, Failure> {
        let name = identifier(table.name)?;
        let mut columns = Vec::new();
        for (column, cast) in ENVELOPE {
            columns.push((identifier(column)?, cast));
        }
        for column in table.columns {
            columns.push((identifier(column.name)?, sql_type(column.kind)));
        }
        let names = list(columns.iter().map(|(column, _)| column.clone()));
        let values = list(columns.iter().map(|(column, cast)| format!("{column}::{cast}")));
        let arrays = list((1..=columns.len()).map(|number| format!("${number}::text[]")));
        let changes = columns.iter().skip(KEY_COLUMNS);
        let changes = list(changes.map(|(column, _)| format!("{column} = excluded.{column}")));
        let upsert = format!(
            "INSERT INTO {name} ({names}) SELECT {values} FROM UNNEST({arrays}) AS given ({names}) \
             ON CONFLICT (\"id\") DO UPDATE SET {changes} WHERE {name}.\"version\" < excluded.\"version\""
        );
        let forks = format!(
            "SELECT held.\"id\" FROM {name} AS held \
             JOIN UNNEST($1::text[], $2::text[], $3::text[]) AS given (id, version, hash) ON held.\"id\" = given.id \
             WHERE held.\"version\" = given.version::bigint AND held.\"payload_hash\" <> given.hash"
        );
        Ok(Self { upsert: upsert.into(), forks: forks.into() })
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// A table's or column's name, quoted. Statements are put together from these, from numbers and
/// from words of this crate only, which is what makes them safe; all else is bound.
pub(crate) fn identifier(name: &'static str) -> Result<String, Failure> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.is_empty() && name.bytes().all(plain) {
        Ok(format!("\"{name}\""))
    } else {
        Err(Failure::Nonsense(format!("{name:?} is not the name of a table or column")))
    }
}

pub(crate) fn sql_type(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text => "text",
        ColumnKind::Numeric => "numeric",
        ColumnKind::Json => "jsonb",
    }
}
