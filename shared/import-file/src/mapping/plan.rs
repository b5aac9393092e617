use std::borrow::Cow;

use ledgerline_kernel::input::{Problem, Rejection};
use serde_json::Value;
use serde_json::value::RawValue;

use super::cell::{Conversion, problem};
use super::object::Object;
use super::source::{ColumnSource, Empty, Source};
use crate::RowContent;

/// What a row is turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The body of a create. An empty cell is nothing.
    Create,
    /// The body of a merge patch (RFC 7396), without the `sk`, which names what is patched. An empty
    /// cell is `null`.
    Patch,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedRow {
    /// The entity that it names, as it is written in the row.
    pub sk: Option<String>,
    /// Its code, the field by which an entity without an `sk` is found.
    pub code: Option<String>,
    /// The body, a JSON object. It is a text, not a value, because numbers are exact in it.
    pub body: String,
}

/// Turns the rows of one file into bodies.
#[derive(Debug, Clone)]
pub struct RowMapper(Plan);

#[derive(Debug, Clone)]
enum Plan {
    /// The row is an object, and that is the body.
    AsItIs,
    Fields(Vec<(String, Node)>),
}

#[derive(Debug, Clone)]
enum Node {
    Object(Vec<(String, Self)>),
    Cell(Cell),
    Constant(String),
}

#[derive(Debug, Clone)]
struct Cell {
    column: String,
    /// Of the cells of a CSV row.
    place: Option<usize>,
    conversion: Conversion,
    trim: bool,
    empty: Option<Empty>,
}

/// The fields that every entity has, which are texts. With `attributes` they are all that a body has.
const TEXTS: [&str; 3] = ["sk", "code", "name"];
/// What an item of DynamoDB nests.
const DEEPEST: usize = 32;
/// As many as a request has reported.
const MAX_PROBLEMS: usize = 20;

impl RowMapper {
    pub(super) fn of_columns(columns: &[String]) -> Result<Self, Vec<Problem>> {
        if columns.is_empty() {
            return Ok(Self(Plan::AsItIs));
        }
        let field_of = |column: &String| {
            let first = column.split('.').next().unwrap_or_default();
            let is_its_own = TEXTS.contains(&column.as_str()) || first == "attributes";
            if is_its_own { column.clone() } else { format!("attributes.{column}") }
        };
        let named = columns.iter().filter(|column| !column.is_empty());
        let fields: Vec<_> = named.map(|column| (field_of(column), Source::column(column))).collect();
        Self::of_fields(&fields, columns)
    }

    pub(super) fn of_fields(fields: &[(String, Source)], columns: &[String]) -> Result<Self, Vec<Problem>> {
        let mut tree = Vec::new();
        let mut problems = Vec::new();
        for (field, source) in fields {
            let placed = node(source, columns).and_then(|node| place(&mut tree, field, node));
            problems.extend(placed.err().map(|rejection| problem(field, rejection)));
        }
        if fields.is_empty() {
            problems.push(problem("", Rejection::new("NO_FIELDS", "must have at least one field")));
        }
        problems.truncate(MAX_PROBLEMS);
        if problems.is_empty() { Ok(Self(Plan::Fields(tree))) } else { Err(problems) }
    }

    /// What a row says.
    ///
    /// # Errors
    /// Everything wrong with its cells, each with its column as `path`; with the row as a whole, with
    /// an empty one.
    pub fn map(&self, content: &RowContent, shape: Shape) -> Result<MappedRow, Vec<Problem>> {
        let row = match content {
            RowContent::Fields(cells) => Row::Cells(cells),
            RowContent::Text(line) => Row::Object(Object::read(line).map_err(|problem| vec![problem])?),
            RowContent::Problem { code, message, .. } => {
                return Err(vec![Problem { path: String::new(), code, message: message.clone() }]);
            }
        };
        match (&self.0, &row, content) {
            (Plan::AsItIs, Row::Object(object), RowContent::Text(line)) => as_it_is(object, line, shape),
            (Plan::AsItIs, ..) => {
                Err(vec![problem("", Rejection::new("MALFORMED_ROW", "must be an object, as the file has no columns"))])
            }
            (Plan::Fields(fields), ..) => {
                let mut writing = Writing { row: &row, shape, problems: Vec::new() };
                let mapped = writing.body(fields);
                writing.problems.truncate(MAX_PROBLEMS);
                if writing.problems.is_empty() { Ok(mapped) } else { Err(writing.problems) }
            }
        }
    }
}

fn node(source: &Source, columns: &[String]) -> Result<Node, Rejection> {
    let source = match source {
        Source::Constant(constant) if is_inexact(constant) => {
            return Err(Rejection::new("INEXACT_CONSTANT", "must be a text to keep a number with a fraction exact"));
        }
        Source::Constant(constant) => return Ok(Node::Constant(constant.to_string())),
        Source::Column(source) => source,
    };
    // Of several without a name nothing would say which is meant.
    let is_one = !source.column.is_empty() || columns.iter().filter(|column| column.is_empty()).count() == 1;
    let place = columns.iter().position(|column| *column == source.column).filter(|_| is_one);
    if place.is_none() && !columns.is_empty() {
        let message = format!("must be of a column of the file; it has no {:?}", source.column);
        return Err(Rejection::new("UNKNOWN_COLUMN", message));
    }
    if columns.is_empty() && source.column.split('.').count() > DEEPEST {
        return Err(Rejection::new("UNKNOWN_COLUMN", "must be of a column with at most 32 names in its path"));
    }
    let conversion = Conversion::of(source)?;
    let ColumnSource { column, trim, empty, .. } = source.clone();
    Ok(Node::Cell(Cell { column, place, conversion, trim, empty }))
}

/// Whether a number in it went through a float.
fn is_inexact(constant: &Value) -> bool {
    match constant {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(is_inexact),
        Value::Object(fields) => fields.values().any(is_inexact),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Puts a field where its path says.
fn place(tree: &mut Vec<(String, Node)>, field: &str, node: Node) -> Result<(), Rejection> {
    let path: Vec<_> = field.split('.').collect();
    if path.iter().any(|name| name.is_empty()) || path.len() > DEEPEST {
        return Err(Rejection::new("INVALID_FIELD", "must be 1 to 32 names with dots between them"));
    }
    let within = || Rejection::new("FIELD_WITHIN_A_VALUE", "must not be within another field that has a value");
    let Some((last, above)) = path.split_last() else { return Ok(()) };
    if above.first().is_some_and(|first| TEXTS.contains(first)) {
        return Err(within());
    }
    let mut here = tree;
    for name in above {
        let at = here.iter().position(|(found, _)| found == name).unwrap_or_else(|| {
            here.push(((*name).to_owned(), Node::Object(Vec::new())));
            here.len() - 1
        });
        here = match here.get_mut(at) {
            Some((_, Node::Object(inner))) => inner,
            _ => return Err(within()),
        };
    }
    match here.iter().find(|(found, _)| found == last) {
        Some((_, Node::Object(_))) => {
            Err(Rejection::new("FIELD_WITHIN_A_VALUE", "must not have other fields within it"))
        }
        Some(_) => Err(Rejection::new("DUPLICATE_FIELD", "must be given once")),
        None => {
            here.push(((*last).to_owned(), node));
            Ok(())
        }
    }
}

fn as_it_is(object: &Object<'_>, line: &str, shape: Shape) -> Result<MappedRow, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut text_of = |name: &str| match object.get(name) {
        Ok(value) => value.and_then(|value| serde_json::from_str::<Option<String>>(value.get()).ok().flatten()),
        Err(message) => {
            problems.push(problem(name, Rejection::new("DUPLICATE_FIELD", message)));
            None
        }
    };
    let (sk, code) = (text_of("sk"), text_of("code"));
    let is_text = |value: &RawValue| value.get().starts_with('"') || value.get() == "null";
    if object.get("sk").ok().flatten().is_some_and(|value| !is_text(value)) {
        problems.push(problem("sk", Rejection::new("WRONG_TYPE", "must be a text")));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let body = if shape == Shape::Patch { object.without("sk") } else { line.to_owned() };
    Ok(MappedRow { sk, code, body })
}

enum Row<'a> {
    Cells(&'a [String]),
    Object(Object<'a>),
}

/// What a row has for a column.
enum Given<'a> {
    /// Not even the column.
    Nothing,
    Text(Cow<'a, str>),
    /// Of an object: a number, true, false, a list or an object.
    Other(&'a str),
}

struct Writing<'a> {
    row: &'a Row<'a>,
    shape: Shape,
    problems: Vec<Problem>,
}

impl Writing<'_> {
    fn body(&mut self, fields: &[(String, Node)]) -> MappedRow {
        let (mut sk, mut code) = (None, None);
        let mut entries = Vec::with_capacity(fields.len());
        for (name, node) in fields {
            let Some(value) = self.value(node) else { continue };
            let text = || serde_json::from_str(&value).ok();
            match name.as_str() {
                "sk" => sk = text(),
                "code" => code = text(),
                _ => {}
            }
            if name != "sk" || (self.shape == Shape::Create && sk.is_some()) {
                entries.push(entry(name, &value));
            }
        }
        MappedRow { sk, code, body: format!("{{{}}}", entries.join(",")) }
    }

    fn value(&mut self, node: &Node) -> Option<String> {
        match node {
            Node::Constant(value) => Some(value.clone()),
            Node::Cell(cell) => self.cell(cell).unwrap_or_else(|rejection| {
                self.problems.push(problem(&cell.column, rejection));
                None
            }),
            Node::Object(fields) => {
                let values = fields.iter().filter_map(|(name, node)| Some(entry(name, &self.value(node)?)));
                let entries: Vec<_> = values.collect();
                (!entries.is_empty()).then(|| format!("{{{}}}", entries.join(",")))
            }
        }
    }

    fn cell(&self, cell: &Cell) -> Result<Option<String>, Rejection> {
        let text = match self.row.given(cell)? {
            Given::Nothing => return Ok(None),
            Given::Text(text) => text,
            Given::Other(value) => return other(value, &cell.conversion).map(Some),
        };
        let text = if cell.trim { text.trim() } else { &text };
        if !text.is_empty() {
            return Ok(Some(json(&cell.conversion.apply(text)?)));
        }
        let by_shape = if self.shape == Shape::Create { Empty::Omit } else { Empty::Null };
        Ok(match cell.empty.unwrap_or(by_shape) {
            Empty::Omit => None,
            Empty::Null => Some("null".to_owned()),
            Empty::Text => Some(json("")),
        })
    }
}

impl<'a> Row<'a> {
    fn given(&self, cell: &Cell) -> Result<Given<'a>, Rejection> {
        let object = match self {
            Self::Cells(cells) => {
                let cells: &'a [String] = cells;
                let found = cell.place.and_then(|at| cells.get(at));
                return Ok(found.map_or(Given::Nothing, |text| Given::Text(Cow::Borrowed(text))));
            }
            Self::Object(object) => object,
        };
        let found = object.at(&cell.column).map_err(|message| Rejection::new("DUPLICATE_FIELD", message))?;
        Ok(match found.map(RawValue::get) {
            None => Given::Nothing,
            Some("null") => Given::Text(Cow::Borrowed("")),
            Some(text) if text.starts_with('"') => {
                let unpaired = |_| Rejection::new("WRONG_TYPE", "must be a text without half a character");
                Given::Text(Cow::Owned(serde_json::from_str(text).map_err(unpaired)?))
            }
            Some(other) => Given::Other(other),
        })
    }
}

/// What is not a text has nothing to convert; but a number is one already.
fn other(value: &str, conversion: &Conversion) -> Result<String, Rejection> {
    let is_number = value.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match conversion {
        Conversion::Number { .. } if !is_number => Err(Rejection::new("WRONG_TYPE", "must be a number")),
        Conversion::Date(_) => Err(Rejection::new("WRONG_TYPE", "must be a date in a text")),
        Conversion::Number { .. } | Conversion::Text => Ok(value.to_owned()),
    }
}

fn entry(name: &str, value: &str) -> String {
    format!("{}:{value}", json(name))
}

fn json(text: &str) -> String {
    Value::from(text).to_string()
}
