use ledgerline_kernel::ports::{Comparison, ListQuery, Position, Sort};
use ledgerline_kernel::{ColumnKind, DynDomain, TableSpec};

use crate::failure::Failure;
use crate::table_sql::{identifier, sql_type};

/// A statement and what is bound to it, all as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) values: Vec<String>,
}

/// The statements of a list.
#[derive(Debug)]
pub(crate) struct ListSql {
    /// Answers with one row more than asked for, where there is a next page.
    pub(crate) page: Statement,
    /// Answers with one number, where a total was asked for.
    pub(crate) total: Option<Statement>,
}

/// A field as a column.
struct Column {
    name: String,
    sql_type: &'static str,
    is_nullable: bool,
}

struct SortColumn {
    column: Column,
    descending: bool,
}

/// Collects values, each used where its placeholder stands.
#[derive(Clone, Default)]
struct Values(Vec<String>);

impl Values {
    fn bind(&mut self, value: &str, sql_type: &str) -> String {
        self.0.push(value.to_owned());
        format!("${}::text::{sql_type}", self.0.len())
    }
}

impl ListSql {
    pub(crate) fn new(domain: &dyn DynDomain, query: &ListQuery) -> Result<Self, Failure> {
        let table = domain.table();
        let name = identifier(table.name)?;
        let mut values = Values::default();
        let matches = matching(table, query, &mut values)?;
        let total = query.with_total.then(|| Statement {
            text: format!("SELECT count(*) FROM {name} WHERE {matches}"),
            values: values.0.clone(),
        });
        let mut sort = Vec::new();
        for Sort { field, descending } in &query.sort {
            sort.push(SortColumn { column: column(table, field)?, descending: *descending });
        }
        let order = order_by(&sort);
        let limit = query.limit.saturating_add(1);
        let segments = match &query.after {
            None => vec![matches],
            Some(after) => {
                let segments = segments_after(&sort, after, &mut values)?;
                segments.into_iter().map(|segment| format!("{matches} AND {segment}")).collect()
            }
        };
        let segments = segments
            .into_iter()
            .map(|segment| format!("(SELECT * FROM {name} AS page WHERE {segment} ORDER BY {order} LIMIT {limit})"));
        let segments = segments.collect::<Vec<_>>().join(" UNION ALL ");
        let columns = selected(table)?;
        let text = format!("SELECT {columns} FROM ({segments}) AS page ORDER BY {order} LIMIT {limit}");
        Ok(Self { page: Statement { text, values: values.0 }, total })
    }
}

/// What a row is read back from: see `entity_of`.
fn selected(table: &TableSpec) -> Result<String, Failure> {
    let mut columns = "\"id\", \"version\", \"payload_hash\", \"code\", \"name\", \"is_deleted\", \
                       \"created_at\", \"created_by\", \"created_ip\", \"updated_at\", \"updated_by\", \"updated_ip\""
        .to_owned();
    for column in table.columns {
        columns.push_str(", ");
        columns.push_str(&identifier(column.name)?);
        if column.kind == ColumnKind::Numeric {
            // As text a number keeps its exact spelling.
            columns.push_str("::text");
        }
    }
    Ok(columns)
}

/// The condition that holds for every entity of the list, on whichever page.
fn matching(table: &TableSpec, query: &ListQuery, values: &mut Values) -> Result<String, Failure> {
    // Row-level security says so too; said here, an index serves it.
    let mut conditions = vec![format!("\"tenant_code\" = {}", values.bind(query.tenant.as_str(), "text"))];
    if !query.include_deleted {
        conditions.push("NOT \"is_deleted\"".to_owned());
    }
    for filter in &query.filters {
        let Column { name, sql_type, .. } = column(table, &filter.field)?;
        let operator = match filter.comparison {
            Comparison::Equal => "=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
        };
        conditions.push(format!("{name} {operator} {}", values.bind(&filter.value, sql_type)));
    }
    Ok(conditions.join(" AND "))
}

fn order_by(sort: &[SortColumn]) -> String {
    let mut order = String::new();
    for SortColumn { column, descending } in sort {
        // `page`: a bare name would be the selected text of a number.
        order.push_str("page.");
        order.push_str(&column.name);
        // Left out where there are no nulls: `name DESC` is an index on `name` read backwards.
        order.push_str(match (descending, column.is_nullable) {
            (true, true) => " DESC NULLS LAST, ",
            (true, false) => " DESC, ",
            (false, _) => ", ",
        });
    }
    order.push_str("page.\"id\"");
    order
}

/// What comes after a position, in segments without overlap: first the entities that equal it in
/// every sort field, then those that equal it in all but the last, and so on. One condition with
/// `OR` would say the same, but no index can begin in its middle.
fn segments_after(sort: &[SortColumn], after: &Position, values: &mut Values) -> Result<Vec<String>, Failure> {
    if after.values.len() != sort.len() {
        return Err(Failure::Nonsense("the position is one of a list sorted otherwise".to_owned()));
    }
    let id = values.bind(&after.id, "text");
    let mut segments = vec![format!("\"id\" > {id}")];
    for (SortColumn { column, descending }, value) in sort.iter().zip(&after.values).rev() {
        let name = &column.name;
        let Some(value) = value else {
            // Nothing comes after an absent value but other absent ones.
            segments.iter_mut().for_each(|segment| *segment = format!("{name} IS NULL AND {segment}"));
            continue;
        };
        let value = values.bind(value, column.sql_type);
        segments.iter_mut().for_each(|segment| *segment = format!("{name} = {value} AND {segment}"));
        segments.push(format!("{name} {} {value}", if *descending { "<" } else { ">" }));
        if column.is_nullable {
            segments.push(format!("{name} IS NULL"));
        }
    }
    Ok(segments)
}

fn column(table: &TableSpec, field: &str) -> Result<Column, Failure> {
    let (name, sql_type, is_nullable) = match field {
        "code" => ("code", "text", false),
        "name" => ("name", "text", false),
        "createdAt" => ("created_at", "timestamptz", false),
        "updatedAt" => ("updated_at", "timestamptz", false),
        _ => match table.column(field) {
            Some(own) if own.kind != ColumnKind::Json => (own.name, sql_type(own.kind), true),
            _ => return Err(Failure::Nonsense(format!("{field:?} is not a field to filter or sort by"))),
        },
    };
    Ok(Column { name: identifier(name)?, sql_type, is_nullable })
}
