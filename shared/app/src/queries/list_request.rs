//! What a list is asked for, read against what the domain has.

use ledgerline_kernel::input::echoed;
use ledgerline_kernel::ports::{Comparison, Filter, ListQuery, Position, Sort};
use ledgerline_kernel::search::words;
use ledgerline_kernel::{ColumnKind, Decimal, DynDomain, TenantCode};

/// A longer search text is refused.
const LONGEST_SEARCH: usize = 500;

/// A search for more words is refused.
const MOST_WORDS: usize = 20;

/// A list as it was asked for: names not yet checked against the domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListRequest {
    /// `field`, `field.gte`, … with their values.
    pub filters: Vec<(String, String)>,
    /// A text of whose words each must begin a word of the entity's, if there is one.
    pub q: Option<String>,
    /// `-price,name`; empty for the order of ids.
    pub sort: String,
    /// Where the page before this one ended.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: usize,
    /// Whether deleted entities are listed too.
    pub include_deleted: bool,
    /// Whether to count all that match.
    pub with_total: bool,
}

/// One parameter, or header, that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterProblem {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub message: String,
}

impl ParameterProblem {
    /// That `message` is wrong with the parameter of this name.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into() }
    }
}

/// What a list is of and in which order, in what the domain has.
struct Terms {
    filters: Vec<Filter>,
    words: Vec<String>,
    sort: Vec<Sort>,
}

impl ListRequest {
    /// All that is wrong with it, for whoever has more to say of the same request.
    #[must_use]
    pub fn problems(&self, domain: &dyn DynDomain) -> Vec<ParameterProblem> {
        self.terms(domain).err().unwrap_or_default()
    }

    pub(super) fn into_query(
        self,
        domain: &dyn DynDomain,
        tenant: TenantCode,
    ) -> Result<ListQuery, Vec<ParameterProblem>> {
        let Terms { filters, words, sort } = self.terms(domain)?;
        let Self { after, limit, include_deleted, with_total, .. } = self;
        Ok(ListQuery { tenant, filters, words, sort, after, limit, include_deleted, with_total })
    }

    /// Every problem is reported, not only the first.
    fn terms(&self, domain: &dyn DynDomain) -> Result<Terms, Vec<ParameterProblem>> {
        let mut problems = Vec::new();
        let mut refuse = |name: &str, message: String| problems.push(ParameterProblem::new(name, message));
        let mut filters = Vec::new();
        for (name, value) in &self.filters {
            match read_filter(domain, name, value) {
                Ok(filter) => filters.push(filter),
                Err(message) => refuse(name, message),
            }
        }
        let words = read_words(domain, self.q.as_deref()).unwrap_or_else(|message| {
            refuse("q", message);
            Vec::new()
        });
        let sort = read_sort(domain, &self.sort).unwrap_or_else(|messages| {
            messages.into_iter().for_each(|message| refuse("sort", message));
            Vec::new()
        });
        if problems.is_empty() { Ok(Terms { filters, words, sort }) } else { Err(problems) }
    }
}

fn read_filter(domain: &dyn DynDomain, name: &str, value: &str) -> Result<Filter, String> {
    let (field, comparison) = match name.rsplit_once('.') {
        Some((field, "gt")) => (field, Comparison::Greater),
        Some((field, "gte")) => (field, Comparison::GreaterOrEqual),
        Some((field, "lt")) => (field, Comparison::Less),
        Some((field, "lte")) => (field, Comparison::LessOrEqual),
        _ => (name, Comparison::Equal),
    };
    let table = domain.table();
    let kind = match field {
        "code" | "name" => ColumnKind::Text,
        _ => table.column(field).ok_or("is not a parameter of this list")?.kind,
    };
    if comparison != Comparison::Equal && !matches!(field, "code" | "name") && table.indexed(field).is_none() {
        return Err("takes no range".to_owned());
    }
    let value = match kind {
        ColumnKind::Text if value.contains('\0') => return Err("must not hold a NUL character".to_owned()),
        ColumnKind::Text => value.to_owned(),
        ColumnKind::Numeric => value.parse::<Decimal>().map_err(|error| error.to_string())?.to_string(),
        ColumnKind::Json => return Err("cannot be filtered by".to_owned()),
    };
    Ok(Filter { field: field.to_owned(), comparison, value })
}

/// The words of a search text, without those that begin another of them. Whatever else the text holds
/// has no meaning and does no harm.
fn read_words(domain: &dyn DynDomain, text: Option<&str>) -> Result<Vec<String>, String> {
    let Some(text) = text else { return Ok(Vec::new()) };
    if domain.table().searched.is_empty() {
        return Err("is not a parameter of this list".to_owned());
    }
    if text.chars().nth(LONGEST_SEARCH).is_some() {
        return Err(format!("must be {LONGEST_SEARCH} characters long at most"));
    }
    let words = words(text);
    // In order, a word is followed by those that it begins.
    let following = words.iter().skip(1).map(Some).chain([None]);
    let needed = words.iter().zip(following).filter(|(word, next)| next.is_none_or(|next| !next.starts_with(*word)));
    let needed: Vec<String> = needed.map(|(word, _)| word.clone()).collect();
    match needed.len() {
        0 => Err("must hold a letter or a digit".to_owned()),
        1..=MOST_WORDS => Ok(needed),
        _ => Err(format!("must be {MOST_WORDS} words at most")),
    }
}

fn read_sort(domain: &dyn DynDomain, text: &str) -> Result<Vec<Sort>, Vec<String>> {
    let (mut sorts, mut problems): (Vec<Sort>, _) = (Vec::new(), Vec::new());
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (field, descending) = part.strip_prefix('-').map_or((part, false), |field| (field, true));
        let sortable = matches!(field, "code" | "name" | "createdAt" | "updatedAt")
            || domain.table().indexed(field).is_some_and(|column| column.kind != ColumnKind::Json);
        if !sortable {
            problems.push(format!("cannot sort by {:?}", echoed(field)));
        } else if sorts.iter().any(|sort| sort.field == field) {
            problems.push(format!("names {field:?} twice"));
        } else {
            sorts.push(Sort { field: field.to_owned(), descending });
        }
    }
    if problems.is_empty() { Ok(sorts) } else { Err(problems) }
}

#[cfg(test)]
#[path = "list_request_tests.rs"]
mod tests;
