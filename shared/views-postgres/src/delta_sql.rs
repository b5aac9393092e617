use ledgerline_kernel::{DeltaTable, SummarySpec};

use crate::failure::Failure;
use crate::table_sql::{identifier, sql_type};

/// The statements of one table of sums.
#[derive(Debug)]
pub(crate) struct DeltaSql {
    /// Takes arrays of texts: tenants, each key column, each sum. Adds up what is given of each row,
    /// adds that to the rows in the order of their keys, so that two batches cannot lock them in
    /// opposite orders, and answers with how many are all zero now.
    pub(crate) add: String,
    /// Takes the tenants and the key columns; deletes those of the rows that are all zero.
    pub(crate) sweep: String,
    /// Takes what `add` takes, which is all that one tenant's rows should come to, and then that
    /// tenant. Answers with what would have to be added to which rows, as texts in that order.
    pub(crate) differs: String,
}

/// A column and how a text becomes its value.
struct Column {
    name: String,
    cast: String,
}

impl Column {
    fn keys(table: &DeltaTable) -> Result<Vec<Self>, Failure> {
        let of = |name: &'static str, kind| {
            let sql_type = sql_type(kind);
            let collate = if sql_type == "text" { " COLLATE \"C\"" } else { "" };
            Ok(Self { name: identifier(name)?, cast: format!("::{sql_type}{collate}") })
        };
        let tenant = of("tenant_code", ledgerline_kernel::ColumnKind::Text);
        std::iter::once(tenant).chain(table.key.iter().map(|column| of(column.name, column.kind))).collect()
    }
}

impl DeltaSql {
    pub(crate) fn new(table: &DeltaTable) -> Result<Self, Failure> {
        let name = identifier(table.name)?;
        let keys = Column::keys(table)?;
        let sums = table.sums.iter().map(|sum| identifier(sum)).collect::<Result<Vec<_>, _>>()?;

        let key_names = join(", ", keys.iter().map(|key| key.name.clone()));
        let names = join(", ", keys.iter().map(|key| key.name.clone()).chain(sums.iter().cloned()));
        let arrays = |count| join(", ", (1..=count).map(|number| format!("${number}::text[]")));
        let key_values = join(", ", keys.iter().map(|key| format!("{0}{1} AS {0}", key.name, key.cast)));
        let sum_values = join(", ", sums.iter().map(|sum| format!("{sum}::numeric AS {sum}")));
        let added = join(", ", sums.iter().map(|sum| format!("sum({sum}) AS {sum}")));
        let matters = join(" OR ", sums.iter().map(|sum| format!("sum({sum}) <> 0")));
        let changes = join(", ", sums.iter().map(|sum| format!("{sum} = held.{sum} + excluded.{sum}")));
        let is_zero = join(" AND ", sums.iter().map(|sum| format!("{sum} = 0")));
        let is_same = join(" AND ", keys.iter().map(|key| format!("held.{0} = given.{0}{1}", key.name, key.cast)));

        let add = format!(
            "WITH raw AS (SELECT {key_values}, {sum_values} FROM UNNEST({all}) AS given ({names})), \
             given AS (SELECT {key_names}, {added} FROM raw GROUP BY {key_names} HAVING {matters} ORDER BY {key_names}), \
             changed AS (INSERT INTO {name} AS held ({names}) SELECT {names} FROM given ORDER BY {key_names} \
             ON CONFLICT ({key_names}) DO UPDATE SET {changes} RETURNING {names}) \
             SELECT count(*) FROM changed WHERE {is_zero}",
            all = arrays(keys.len() + sums.len()),
        );
        let held_is_zero = join(" AND ", sums.iter().map(|sum| format!("held.{sum} = 0")));
        let sweep = format!(
            "DELETE FROM {name} AS held USING UNNEST({}) AS given ({key_names}) WHERE {is_same} AND {held_is_zero}",
            arrays(keys.len()),
        );
        let both = |sum: &String| (format!("coalesce(due.{sum}, 0)"), format!("coalesce(held.{sum}, 0)"));
        let is_off = join(" OR ", sums.iter().map(both).map(|(due, held)| format!("{due} <> {held}")));
        let off_by = sums.iter().map(both).map(|(due, held)| format!("({due} - {held})::text"));
        let differs = format!(
            "WITH raw AS (SELECT {key_values}, {sum_values} FROM UNNEST({all}) AS given ({names})), \
             due AS (SELECT {key_names}, {added} FROM raw GROUP BY {key_names}), \
             held AS (SELECT {names} FROM {name} WHERE tenant_code = ${tenant}) \
             SELECT ARRAY[{shown}] FROM due FULL JOIN held USING ({key_names}) WHERE {is_off}",
            all = arrays(keys.len() + sums.len()),
            tenant = keys.len() + sums.len() + 1,
            shown = join(", ", keys.iter().map(|key| format!("{}::text", key.name)).chain(off_by)),
        );
        Ok(Self { add, sweep, differs })
    }
}

/// The statement of a summary. Takes the tenant, the limit and, where there is one, the key to begin
/// after; answers with texts: the key, the sums, the least and the greatest.
pub(crate) fn summary(spec: &SummarySpec, has_after: bool) -> Result<String, Failure> {
    let table = spec.table;
    let name = identifier(table.name)?;
    let keys = Column::keys(table)?;
    let keys = keys.get(1..).unwrap_or_default();
    let sums = table.sums.iter().map(|sum| identifier(sum)).collect::<Result<Vec<_>, _>>()?;
    let mut shown: Vec<String> =
        keys.iter().map(|key| &key.name).chain(&sums).map(|name| format!("held.{name}::text")).collect();
    if let Some(histogram) = spec.histogram {
        let (own, value) = (identifier(histogram.name)?, histogram.key.last());
        let value = identifier(value.map_or("", |column| column.name))?;
        let same = join("", keys.iter().map(|key| format!(" AND counted.{0} = held.{0}", key.name)));
        for order in ["ASC", "DESC"] {
            // The first of the index either way.
            shown.push(format!(
                "(SELECT counted.{value} FROM {own} AS counted WHERE counted.tenant_code = held.tenant_code{same} \
                 ORDER BY counted.{value} {order} LIMIT 1)::text"
            ));
        }
    }
    let order = join(", ", keys.iter().map(|key| format!("held.{}", key.name)));
    let given = join(", ", keys.iter().zip(3..).map(|(key, number)| format!("${number}::text{}", key.cast)));
    let after = if has_after && !keys.is_empty() { format!(" AND ({order}) > ({given})") } else { String::new() };
    let order = if keys.is_empty() { String::new() } else { format!(" ORDER BY {order}") };
    Ok(format!("SELECT {} FROM {name} AS held WHERE held.tenant_code = $1{after}{order} LIMIT $2", shown.join(", ")))
}

fn join(between: &str, parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(between)
}
