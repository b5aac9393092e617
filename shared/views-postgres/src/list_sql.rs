use ledgerline_kernel::ports::{ListQuery, Sort};
use ledgerline_kernel::{ColumnKind, DynDomain, TableSpec};

use crate::failure::Failure;
use crate::list_terms::{
    Filters, Segments, SortColumn, Values, all_segments, column, filters, order_by, segments_after, words,
};
use crate::session::Plans;
use crate::table_sql::identifier;

/// So many rows in the order asked for are tried with what Postgres cannot estimate, before all rows
/// that pass are gathered and sorted. Where one row in fifty passes, a page is among them.
const WINDOW: usize = 1000;

/// So many are tried with words first.
const GLANCE: usize = 40;

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

/// The statements of a list, each made when it is needed.
pub(crate) struct ListSql<'a> {
    view: String,
    shown: String,
    query: &'a ListQuery,
    filters: Vec<String>,
    leading: Vec<String>,
    numbers: Vec<String>,
    words: Option<String>,
    sort: Vec<SortColumn>,
    /// What the page shows first. Where it cannot be known how far to look, all that it may show.
    segments: Vec<String>,
    /// What it shows where that does not fill it.
    absent: Option<String>,
    values: Vec<String>,
    /// How many of the values a total needs, which no position limits.
    total_values: usize,
}

impl<'a> ListSql<'a> {
    pub(crate) fn new(domain: &dyn DynDomain, query: &'a ListQuery) -> Result<Self, Failure> {
        let table = domain.table();
        let mut values = Values::default();
        let Filters { known: filters, leading, numbers } = filters(table, query, &mut values)?;
        let words = (!query.words.is_empty()).then(|| words(query, &mut values));
        let total_values = values.0.len();
        let mut sort = Vec::new();
        for Sort { field, descending } in &query.sort {
            sort.push(SortColumn { column: column(table, field)?, descending: *descending });
        }
        let Segments { given: mut segments, mut absent } = match &query.after {
            None => all_segments(&sort),
            Some(after) => segments_after(&sort, after, &mut values)?,
        };
        // A filter on the field that it is sorted by lets no row without it pass.
        if query.filters.iter().any(|filter| query.sort.first().is_some_and(|sort| sort.field == filter.field)) {
            absent = None;
        }
        if words.is_some() || !numbers.is_empty() {
            segments.extend(absent.take());
        }
        let (view, shown, values) = (view(table)?, shown(table)?, values.0);
        Ok(Self { view, shown, query, filters, leading, numbers, words, sort, segments, absent, values, total_values })
    }

    /// Where words are asked for, what to begin with. Each row says in `is_page` whether this is the page;
    /// if there is none to show, a row of nulls says it.
    pub(crate) fn glance(&self) -> Option<Statement> {
        self.words.as_deref().map(|words| self.statement(&self.glance_at(words), &self.values))
    }

    /// Answers with one row more than asked for, where there is a next page.
    pub(crate) fn page(&self) -> Statement {
        self.statement(&self.first_page(), &self.values)
    }

    /// To be asked if [`page`](Self::page) found no such row, in its place: that, and what comes behind it. Not that alone,
    /// as a row that gains the field between two statements would be in neither.
    pub(crate) fn whole(&self) -> Option<Statement> {
        let segments: Vec<String> = self.segments.iter().chain([self.absent.as_ref()?]).cloned().collect();
        let page = self.shown_page(&self.first(&segments, self.limit()));
        Some(self.statement(&page, &self.values))
    }

    /// To be asked if [`page`](Self::page) found no such row: it may not have looked far enough. Then this
    /// finds more.
    pub(crate) fn gathered(&self) -> Option<Statement> {
        self.has_unknowns().then(|| self.statement(&self.all_gathered(), &self.values))
    }

    /// Answers with one number, where a total was asked for.
    pub(crate) fn total(&self) -> Option<Statement> {
        let values = self.values.get(..self.total_values).unwrap_or_default();
        self.query.with_total.then(|| self.statement(&self.count(), values))
    }

    fn statement(&self, text: &str, values: &[String]) -> Statement {
        // To a small tenant's words the index on its rows leads as well as the one on words. A large tenant
        // must not be given the plan that was made for that: the statement is the tenant's own.
        let text = match (&self.words, self.plans()) {
            (Some(_), Plans::Kept) => format!("/* {} */ {text}", self.query.tenant),
            _ => text.to_owned(),
        };
        Statement { text, values: values.to_vec() }
    }

    /// Planning takes longer than finding a page does, so a plan is kept where it is good for every value:
    /// Postgres has no statistics on numbers and words (see [`Filters`]), and limits are written out. It has
    /// them on filters that it knows, and where few rows pass those, another index is better than the order's.
    pub(crate) fn plans(&self) -> Plans {
        let has_numbers = !self.leading.is_empty() || !self.numbers.is_empty();
        let is_fresh = !self.filters.is_empty() || self.words.is_some() && has_numbers;
        if is_fresh { Plans::Fresh } else { Plans::Kept }
    }

    fn first_page(&self) -> String {
        self.shown_page(&if self.has_unknowns() {
            let unknowns = self.unknowns();
            format!("SELECT * FROM ({}) AS page WHERE {unknowns}", self.window(self.reach()))
        } else {
            self.first(&self.segments, self.limit())
        })
    }

    /// The page of these rows.
    fn shown_page(&self, rows: &str) -> String {
        let (shown, limit, order) = (&self.shown, self.limit(), order_by(&self.sort, false));
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
        format!("SELECT * FROM ({}) AS page ORDER BY {order} LIMIT {reach}", self.first(&self.segments, reach))
    }

    /// Where hardly any of the very first rows has the words: those that the index on words finds, unless
    /// they are many.
    fn glance_at(&self, words: &str) -> String {
        let Self { view, shown, .. } = self;
        let (limit, order) = (self.limit(), order_by(&self.sort, false));
        let (near, unknowns, few) = (self.window(GLANCE), self.unknowns(), FEW + 1);
        let having = all(self.known().chain([words, "(SELECT is_so FROM rare)"]));
        let rest = self.rest();
        let rest = all(self.other_numbers().chain([rest.as_str()]));
        format!(
            "WITH rare AS MATERIALIZED (SELECT count(*) = {GLANCE}
                      AND count(*) FILTER (WHERE {unknowns}) <= {HARDLY_ANY} AS is_so FROM ({near}) AS page),
                  found AS MATERIALIZED (SELECT * FROM {view} AS page WHERE {having} LIMIT {few})
             SELECT {shown}, is_page
             FROM (SELECT is_so AND (SELECT count(*) FROM found) < {few} AS is_page FROM rare) AS seen
             LEFT JOIN (SELECT * FROM found AS page WHERE {rest}) AS page ON is_page
             ORDER BY {order} LIMIT {limit}"
        )
    }

    /// The first so many rows of each segment, of what is deleted and of what is not.
    fn first(&self, segments: &[String], limit: usize) -> String {
        let Self { view, query, .. } = self;
        let deleted = if query.include_deleted { &[NOT_DELETED, DELETED][..] } else { &[NOT_DELETED] };
        let order = order_by(&self.sort, true);
        let mut parts = Vec::new();
        for segment in segments {
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
    fn all_gathered(&self) -> String {
        let (limit, order) = (self.limit(), order_by(&self.sort, false));
        let reach = self.reach();
        let is_more = format!("(SELECT count(*) FROM ({}) AS seen) >= {reach}", self.window(reach));
        let rows = self.matching(&is_more, &self.rest());
        format!("SELECT {} FROM {rows} ORDER BY {order} LIMIT {limit}", self.shown)
    }

    fn count(&self) -> String {
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
