//! The conditions and the order of a list, as SQL.

use ledgerline_kernel::ports::{Comparison, ListQuery, Position};
use ledgerline_kernel::{ColumnKind, EntityKey, TableSpec};

use crate::failure::Failure;
use crate::table_sql::{identifier, sql_type};

/// A field as a column.
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) sql_type: &'static str,
    pub(crate) is_nullable: bool,
}

pub(crate) struct SortColumn {
    pub(crate) column: Column,
    pub(crate) descending: bool,
}

/// Collects values, each used where its placeholder stands.
#[derive(Clone, Default)]
pub(crate) struct Values(pub(crate) Vec<String>);

impl Values {
    pub(crate) fn bind(&mut self, value: &str, sql_type: &str) -> String {
        self.0.push(value.to_owned());
        format!("${}::text::{sql_type}", self.0.len())
    }
}

/// The conditions that filters are.
///
/// Postgres shows statistics to nobody whose rows a policy decides on, unless the operator is
/// leakproof, and those on numbers and words are not: how many rows pass, it does not know. It would
/// take any for rare, and sort all that most rows pass.
#[derive(Default)]
pub(crate) struct Filters {
    /// Those that it knows.
    pub(crate) known: Vec<String>,
    /// Those on numbers, on the field that the list is sorted by: a stretch of that field's index.
    pub(crate) leading: Vec<String>,
    /// Those on other numbers.
    pub(crate) numbers: Vec<String>,
}

pub(crate) fn filters(table: &TableSpec, query: &ListQuery, values: &mut Values) -> Result<Filters, Failure> {
    let mut filters = Filters::default();
    for filter in &query.filters {
        let Column { name, sql_type, .. } = column(table, &filter.field)?;
        let operator = match filter.comparison {
            Comparison::Equal => "=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
        };
        let leads = query.sort.first().is_some_and(|sort| sort.field == filter.field);
        let conditions = match (sql_type, leads) {
            ("numeric", true) => &mut filters.leading,
            ("numeric", false) => &mut filters.numbers,
            _ => &mut filters.known,
        };
        conditions.push(format!("{name} {operator} {}", values.bind(&filter.value, sql_type)));
    }
    Ok(filters)
}

/// The table has each word behind its tenant. A word holds no character that means something here:
/// all of them separate words.
pub(crate) fn words(query: &ListQuery, values: &mut Values) -> String {
    let words: Vec<String> = query.words.iter().map(|word| format!("'{}@{word}':*", query.tenant)).collect();
    // A query of its own, or it is read anew for each row.
    format!("\"search\" @@ (SELECT {})", values.bind(&words.join(" & "), "tsquery"))
}

/// What decides between equals. Where nothing else does, the sort key: that is the same order within a
/// tenant, and the primary key, which is in the order of ids too, cannot be walked instead. For a large
/// tenant that looks cheap, and its plan would lead another one through all of those rows.
fn last(sort: &[SortColumn]) -> &'static str {
    if sort.is_empty() { "\"sk\"" } else { "\"id\"" }
}

/// The order of the whole, or of one segment. In a segment the first field is absent from all rows
/// or from none; there `DESC` says it, which is an index read backwards.
pub(crate) fn order_by(sort: &[SortColumn], in_segment: bool) -> String {
    let mut order = String::new();
    for (index, SortColumn { column, descending }) in sort.iter().enumerate() {
        // `page`: a bare name would be the selected text of a number.
        order.push_str("page.");
        order.push_str(&column.name);
        order.push_str(match (descending, column.is_nullable && !(in_segment && index == 0)) {
            (true, true) => " DESC NULLS LAST, ",
            (true, false) => " DESC, ",
            (false, _) => ", ",
        });
    }
    order.push_str("page.");
    order.push_str(last(sort));
    if ids_descend(sort) {
        order.push_str(" DESC");
    }
    order
}

/// With the last field, so that an index on it serves both directions.
fn ids_descend(sort: &[SortColumn]) -> bool {
    sort.last().is_some_and(|last| last.descending)
}

/// What a page may show, in parts without overlap, each of which is one stretch of an index.
#[derive(Default)]
pub(crate) struct Segments {
    /// Those with the field that the list is sorted by, if it is sorted by one alone; else all of them.
    pub(crate) given: Vec<String>,
    /// Those without it, which come behind all others.
    pub(crate) absent: Option<String>,
}

pub(crate) fn all_segments(sort: &[SortColumn]) -> Segments {
    match sort {
        [SortColumn { column: Column { name, is_nullable: true, .. }, descending: true }, rest @ ..] => {
            let (given, absent) = (format!("{name} IS NOT NULL"), format!("{name} IS NULL"));
            match rest {
                [] => Segments { given: vec![given], absent: Some(absent) },
                _ => Segments { given: vec![given, absent], absent: None },
            }
        }
        _ => Segments { given: vec!["TRUE".to_owned()], absent: None },
    }
}

/// What comes after a position, in segments without overlap: first the entities that equal it in
/// every sort field, then those that equal it in all but the last, and so on. One condition with
/// `OR` would say the same, but no index can begin in its middle.
pub(crate) fn segments_after(sort: &[SortColumn], after: &Position, values: &mut Values) -> Result<Segments, Failure> {
    if after.values.len() != sort.len() {
        return Err(Failure::Nonsense("the position is one of a list sorted otherwise".to_owned()));
    }
    if sort.is_empty() {
        let key: EntityKey = after.id.parse().map_err(|_| Failure::Nonsense("the position is no id".to_owned()))?;
        let given = vec![format!("{} > {}", last(sort), values.bind(&key.sk.encoded(), "text"))];
        return Ok(Segments { given, absent: None });
    }
    let id = values.bind(&after.id, "text");
    if let Some(segments) = after_one_row(sort, after, &id, values) {
        return Ok(segments);
    }
    let mut segments = vec![format!("\"id\" {} {id}", if ids_descend(sort) { "<" } else { ">" })];
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
    Ok(Segments { given: segments, absent: None })
}

/// The same where one comparison of rows says it, as it does of fields that all go one way: that is one
/// stretch of an index, behind which come the absent values of a single field.
fn after_one_row(sort: &[SortColumn], after: &Position, id: &str, values: &mut Values) -> Option<Segments> {
    let descending = ids_descend(sort);
    let goes_one_way = sort.iter().all(|sort| sort.descending == descending);
    let absent = match sort {
        [SortColumn { column, .. }] => column.is_nullable.then(|| format!("{} IS NULL", column.name)),
        _ if sort.iter().any(|sort| sort.column.is_nullable) => return None,
        _ => None,
    };
    let given: Vec<&String> = after.values.iter().flatten().collect();
    if !goes_one_way || given.len() != sort.len() {
        return None;
    }
    let (mut names, mut bound) = (String::new(), String::new());
    for (SortColumn { column, .. }, value) in sort.iter().zip(given) {
        names.push_str(&format!("{}, ", column.name));
        bound.push_str(&format!("{}, ", values.bind(value, column.sql_type)));
    }
    let operator = if descending { "<" } else { ">" };
    let row = format!("({names}\"id\") {operator} ({bound}{id})");
    Some(Segments { given: vec![row], absent })
}

pub(crate) fn column(table: &TableSpec, field: &str) -> Result<Column, Failure> {
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
