use ledgerline_kernel::ports::{Comparison, ListQuery, Position, Sort};
use ledgerline_kernel::{ColumnKind, DynDomain, TableSpec};

use crate::failure::Failure;
use crate::table_sql::{identifier, sql_type};

/// So many rows in the order asked for are tried with what Postgres cannot estimate, before all rows
/// that pass are gathered and sorted. Where one row in fifty passes, a page is among them.
const WINDOW: usize = 1000;

/// So many are tried with words first.
const GLANCE: usize = 60;

/// Where no more than so many of them have the words, few rows may have.
const HARDLY_ANY: usize = 2;

/// So many rows are few: what has the words is gathered and sorted at once.
const FEW: usize = 1000;

/// A statement and what is bound to it, all as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) values: Vec<String>,
}

/// The statements of a list.
#[derive(Debug)]
pub(crate) struct ListSql {
    /// Where words are asked for, what to begin with. Each row says in `is_page` whether this is as good
    /// as `page`; if there is none, a row of nulls says it.
    pub(crate) glance: Option<Statement>,
    /// Answers with one row more than asked for, where there is a next page.
    pub(crate) page: Statement,
    /// To be asked if `page` found no such row: it may not have looked far enough. Then this finds
    /// more.
    pub(crate) gathered: Option<Statement>,
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
        let mut values = Values::default();
        let Filters { known: filters, leading, numbers } = filters(table, query, &mut values)?;
        let words = (!query.words.is_empty()).then(|| words(query, &mut values));
        let total_values = values.clone();
        let mut sort = Vec::new();
        for Sort { field, descending } in &query.sort {
            sort.push(SortColumn { column: column(table, field)?, descending: *descending });
        }
        let segments = match &query.after {
            None => all_segments(&sort),
            Some(after) => segments_after(&sort, after, &mut values)?,
        };
        let list =
            List { view: view(table)?, shown: shown(table)?, query, filters, leading, numbers, words, sort, segments };
        let statement = |text, values: &Values| Statement { text, values: values.0.clone() };
        Ok(Self {
            glance: list.words.as_ref().map(|words| statement(list.glance(words), &values)),
            page: statement(list.page(), &values),
            gathered: list.has_unknowns().then(|| statement(list.gathered(), &values)),
            total: query.with_total.then(|| statement(list.total(), &total_values)),
        })
    }
}

/// The parts of a list's statements.
struct List<'a> {
    view: String,
    shown: String,
    query: &'a ListQuery,
    filters: Vec<String>,
    leading: Vec<String>,
    numbers: Vec<String>,
    words: Option<String>,
    sort: Vec<SortColumn>,
    /// What the page may show, in parts without overlap, each of which is one stretch of an index.
    segments: Vec<String>,
}

impl List<'_> {
    fn page(&self) -> String {
        let Self { shown, .. } = self;
        let (limit, order) = (self.limit(), order_by(&self.sort, false));
        let rows = if self.has_unknowns() {
            let unknowns = self.unknowns();
            format!("SELECT * FROM ({}) AS page WHERE {unknowns}", self.window(self.reach()))
        } else {
            self.first(limit)
        };
        format!("SELECT {shown} FROM ({rows}) AS page ORDER BY {order} LIMIT {limit}")
    }

    /// One more than the page holds.
    fn limit(&self) -> usize {
        self.query.limit.saturating_add(1)
    }

    fn reach(&self) -> usize {
        self.limit().max(WINDOW)
    }

    fn window(&self, reach: usize) -> String {
        let order = order_by(&self.sort, false);
        format!("SELECT * FROM ({}) AS page ORDER BY {order} LIMIT {reach}", self.first(reach))
    }

    /// The first rows that have the words, where some of the very first of all have them; where hardly
    /// any has, those that the index on words finds, unless they are many.
    fn glance(&self, words: &str) -> String {
        let Self { view, shown, .. } = self;
        let (limit, order, reach) = (self.limit(), order_by(&self.sort, false), self.limit().max(GLANCE));
        let (near, unknowns, few) = (self.window(reach), self.unknowns(), FEW + 1);
        let having = all(self.known().chain([words, "(SELECT is_so FROM rare)"]));
        let rest = self.rest();
        let rest = all(self.other_numbers().chain([rest.as_str()]));
        format!(
            "WITH near AS MATERIALIZED ({near}),
                  hits AS MATERIALIZED (SELECT * FROM near AS page WHERE {unknowns}),
                  rare AS MATERIALIZED (SELECT (SELECT count(*) FROM near) = {reach}
                                           AND (SELECT count(*) FROM hits) <= {HARDLY_ANY} AS is_so),
                  found AS MATERIALIZED (SELECT * FROM {view} AS page WHERE {having} LIMIT {few}),
                  seen AS (SELECT CASE WHEN is_so THEN (SELECT count(*) FROM found) < {few}
                                       ELSE (SELECT count(*) FROM near) < {reach}
                                            OR (SELECT count(*) FROM hits) >= {limit} END AS is_page FROM rare)
             SELECT {shown}, is_page
             FROM seen
             LEFT JOIN (SELECT * FROM hits WHERE NOT (SELECT is_so FROM rare)
                        UNION ALL SELECT * FROM found AS page WHERE {rest}) AS page ON TRUE
             ORDER BY {order} LIMIT {limit}"
        )
    }

    /// The first so many rows of each segment, of what is deleted and of what is not.
    fn first(&self, limit: usize) -> String {
        let Self { view, query, .. } = self;
        let deleted = if query.include_deleted { &[NOT_DELETED, DELETED][..] } else { &[NOT_DELETED] };
        let order = order_by(&self.sort, true);
        let mut parts = Vec::new();
        for segment in &self.segments {
            for deleted in deleted {
                let filters = self.filters.iter().chain(&self.leading).map(String::as_str);
                let rows = all(filters.chain([*deleted, segment]));
                parts.push(format!("(SELECT * FROM {view} AS page WHERE {rows} ORDER BY {order} LIMIT {limit})"));
            }
        }
        parts.join(" UNION ALL ")
    }

    /// All rows that match, and then the page of them; nothing where the window has shown all there
    /// are.
    fn gathered(&self) -> String {
        let (limit, order) = (self.limit(), order_by(&self.sort, false));
        let reach = self.reach();
        let is_more = format!("(SELECT count(*) FROM ({}) AS seen) >= {reach}", self.window(reach));
        let rows = self.matching(&is_more, &self.rest());
        format!("SELECT {} FROM {rows} ORDER BY {order} LIMIT {limit}", self.shown)
    }

    fn total(&self) -> String {
        format!("SELECT count(*) FROM {}", self.matching("TRUE", "TRUE"))
    }

    /// All rows that match, `rest` among it. OFFSET 0 keeps the order out of how they are found:
    /// walking along an index in the order asked for reads every row where few match. Nor are numbers
    /// looked up where there are words: most rows may have them.
    fn matching(&self, condition: &str, rest: &str) -> String {
        let (known, numbers) = (self.known().chain([condition]), self.other_numbers().chain([rest]));
        let (found, left) = match &self.words {
            Some(words) => (all(known.chain([words.as_str()])), all(numbers)),
            None => (all(known.chain(numbers)), "TRUE".to_owned()),
        };
        format!("(SELECT * FROM {} WHERE {found} OFFSET 0) AS page WHERE {left}", self.view)
    }

    /// What Postgres can estimate.
    fn known(&self) -> impl Iterator<Item = &str> {
        let deleted = if self.query.include_deleted { "TRUE" } else { NOT_DELETED };
        self.filters.iter().map(String::as_str).chain([deleted])
    }

    fn other_numbers(&self) -> impl Iterator<Item = &str> {
        self.leading.iter().chain(&self.numbers).map(String::as_str)
    }

    /// What is yet to be shown.
    fn rest(&self) -> String {
        format!("({})", self.segments.join(" OR "))
    }

    fn unknowns(&self) -> String {
        all(self.numbers.iter().chain(&self.words).map(String::as_str))
    }

    fn has_unknowns(&self) -> bool {
        self.words.is_some() || !self.numbers.is_empty()
    }
}

const NOT_DELETED: &str = "NOT \"is_deleted\"";
const DELETED: &str = "\"is_deleted\"";

fn all<'a>(conditions: impl Iterator<Item = &'a str>) -> String {
    let conditions: Vec<&str> = conditions.collect();
    if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") }
}

/// What lists read of a table: the rows of the session's tenant.
pub(crate) fn view(table: &TableSpec) -> Result<String, Failure> {
    identifier(table.name).map(|_| format!("\"{}_of_tenant\"", table.name))
}

/// What a row is read back from: see `entity_of`.
fn shown(table: &TableSpec) -> Result<String, Failure> {
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

/// The conditions that filters are.
///
/// Postgres shows statistics to nobody whose rows a policy decides on, unless the operator is
/// leakproof, and those on numbers and words are not: how many rows pass, it does not know. It would
/// take any for rare, and sort all that most rows pass.
#[derive(Default)]
struct Filters {
    /// Those that it knows.
    known: Vec<String>,
    /// Those on numbers, on the field that the list is sorted by: a stretch of that field's index.
    leading: Vec<String>,
    /// Those on other numbers.
    numbers: Vec<String>,
}

fn filters(table: &TableSpec, query: &ListQuery, values: &mut Values) -> Result<Filters, Failure> {
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
fn words(query: &ListQuery, values: &mut Values) -> String {
    let words: Vec<String> = query.words.iter().map(|word| format!("'{}@{word}':*", query.tenant)).collect();
    format!("\"search\" @@ {}", values.bind(&words.join(" & "), "tsquery"))
}

/// The order of the whole, or of one segment. In a segment the first field is absent from all rows
/// or from none; there `DESC` says it, which is an index read backwards.
fn order_by(sort: &[SortColumn], in_segment: bool) -> String {
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
    order.push_str("page.\"id\"");
    if ids_descend(sort) {
        order.push_str(" DESC");
    }
    order
}

/// With the last field, so that an index on it serves both directions.
fn ids_descend(sort: &[SortColumn]) -> bool {
    sort.last().is_some_and(|last| last.descending)
}

fn all_segments(sort: &[SortColumn]) -> Vec<String> {
    match sort.first() {
        Some(SortColumn { column: Column { name, is_nullable: true, .. }, descending: true }) => {
            vec![format!("{name} IS NOT NULL"), format!("{name} IS NULL")]
        }
        _ => vec!["TRUE".to_owned()],
    }
}

/// What comes after a position, in segments without overlap: first the entities that equal it in
/// every sort field, then those that equal it in all but the last, and so on. One condition with
/// `OR` would say the same, but no index can begin in its middle.
fn segments_after(sort: &[SortColumn], after: &Position, values: &mut Values) -> Result<Vec<String>, Failure> {
    if after.values.len() != sort.len() {
        return Err(Failure::Nonsense("the position is one of a list sorted otherwise".to_owned()));
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
    Ok(segments)
}

/// The same where one comparison of rows says it, as it does of fields that all go one way: that is one
/// stretch of an index, behind which come the absent values of a single field.
fn after_one_row(sort: &[SortColumn], after: &Position, id: &str, values: &mut Values) -> Option<Vec<String>> {
    let descending = ids_descend(sort);
    let goes_one_way = sort.iter().all(|sort| sort.descending == descending);
    let absent = match sort {
        [SortColumn { column, .. }] => column.is_nullable.then(|| format!("{} IS NULL", column.name)),
        _ if sort.is_empty() || sort.iter().any(|sort| sort.column.is_nullable) => return None,
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
    Some(std::iter::once(row).chain(absent).collect())
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
