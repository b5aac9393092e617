//! A look at a file before it is imported: what its rows would be, and what is wrong with them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use ledgerline_app::Registry;
use ledgerline_import_file::{FileError, Found, Limits, Mapping, RowContent, RowMapper, Shape, read};
use ledgerline_kernel::input::{InputError, Problem};
use ledgerline_kernel::{Action, DecisionContext, DynDomain, ImportFormat, Undecided};
use serde_json::{Value, json};

use super::mapping_file::MappingFile;
use super::summary::rows;
use super::{Format, Import, Mode};

/// So many rows are shown.
const SHOWN: usize = 3;

/// So many are looked at.
const LOOKED_AT: usize = 1_000;

/// What is known so far.
struct Look<'a> {
    domain: &'a dyn DynDomain,
    context: DecisionContext,
    mode: Mode,
    /// The file in an archive that the rows are of.
    file: String,
    rows: usize,
    wrong: usize,
    /// Rows that can change what there is, and make nothing new.
    changes: usize,
    shown: Vec<String>,
    problems: String,
}

/// The text that says what was found, and in how many rows something is wrong.
///
/// # Errors
/// If the file or the mapping cannot be read at all.
pub(super) fn look(import: &Import) -> anyhow::Result<(String, usize)> {
    let registry = Registry::shipped()?;
    let domain = registry.by_resource(&import.resource).with_context(|| {
        let known: Vec<_> = registry.domains().map(|domain| domain.resource()).collect();
        format!("there is no resource {:?}; there is: {}", import.resource, known.join(", "))
    })?;
    let mapping = import.mapping_file()?;
    let format = if import.format()? == Format::Csv { ImportFormat::Csv } else { ImportFormat::Jsonl };
    let file = File::open(&import.file).with_context(|| format!("cannot read {}", import.file.display()))?;
    let now = DateTime::<Utc>::from(SystemTime::now()).into();
    let context = DecisionContext { now, tenant: import.tenant.clone(), user: String::new() };
    let (mut look, mut mapper) = (Look::new(domain.as_ref(), context, import.mode), None);
    for found in read(BufReader::new(file), format, &Limits::default()) {
        match found.map_err(|error| unreadable(&error))? {
            Found::File { name, columns } => {
                mapper = Some(mapper_over(mapping.as_ref(), &columns)?);
                look.file = name.map(|name| format!("{name} ")).unwrap_or_default();
            }
            Found::Row { number, content } => {
                look.row(mapper.as_ref().context("a row before its file")?, number, &content);
            }
        }
        if look.rows == LOOKED_AT {
            break;
        }
    }
    Ok((look.text(), look.wrong))
}

fn unreadable(error: &FileError) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

fn mapper_over(file: Option<&MappingFile>, columns: &[String]) -> anyhow::Result<RowMapper> {
    match file {
        Some(file) => file.mapping.over(columns).map_err(|problems| file.complaint("does not fit the file", &problems)),
        None => Mapping::identity().over(columns).or_else(|problems| {
            bail!("the header cannot be imported without a mapping (--map)\n  {}", sentences(&problems).join("\n  "))
        }),
    }
}

fn sentences(problems: &[Problem]) -> Vec<String> {
    let sentence = |Problem { path, message, .. }: &Problem| format!("{path} {message}").trim().to_owned();
    problems.iter().map(sentence).collect()
}

impl<'a> Look<'a> {
    fn new(domain: &'a dyn DynDomain, context: DecisionContext, mode: Mode) -> Self {
        let (shown, problems, file) = (Vec::new(), String::new(), String::new());
        Self { domain, context, mode, file, rows: 0, wrong: 0, changes: 0, shown, problems }
    }

    fn row(&mut self, mapper: &RowMapper, number: u64, content: &RowContent) {
        self.rows += 1;
        match self.stored(mapper, content) {
            Ok(stored) if self.shown.len() < SHOWN => {
                self.shown.push(serde_json::to_string_pretty(&stored).unwrap_or_default());
            }
            Ok(_) => {}
            Err(_) if self.is_change(mapper, content) => self.changes += 1,
            Err(problems) => {
                self.wrong += 1;
                // Writing to a String cannot fail.
                let _ = writeln!(self.problems, "{}row {number}: {}", self.file, problems.join("; "));
            }
        }
    }

    /// What would be stored of a row, if its entity is a new one, or all that is wrong with it.
    fn stored(&self, mapper: &RowMapper, content: &RowContent) -> Result<Value, Vec<String>> {
        let mapped = mapper.map(content, Shape::Create).map_err(|problems| sentences(&problems))?;
        let prepared = self.domain.prepare(Action::Create, &mapped.body).map_err(|error| match error {
            InputError::Invalid(problems) => sentences(&problems),
            InputError::Malformed(message) => vec![message],
        })?;
        let decided = prepared.command.decide(&[None], &self.context).map_err(|error| match error {
            Undecided::Refused { detail, .. } => vec![detail],
            other => vec![other.to_string()],
        })?;
        let decision = decided.into_iter().flatten().next();
        let mut stored = decision.map_or(Value::Null, |decision| decision.state);
        if let (Value::Object(fields), Some(sk)) = (&mut stored, &prepared.sk) {
            fields.insert("sk".to_owned(), json!(sk));
        }
        Ok(stored)
    }

    /// Whether a row, if its entity exists, changes it. Nobody looks here whether it does.
    fn is_change(&self, mapper: &RowMapper, content: &RowContent) -> bool {
        let Ok(mapped) = mapper.map(content, Shape::Patch) else { return false };
        let names_one = mapped.sk.is_some() || mapped.code.is_some();
        self.mode == Mode::Upsert && names_one && self.domain.prepare(Action::Update, &mapped.body).is_ok()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for stored in &self.shown {
            let _ = writeln!(text, "{stored}");
        }
        text.push_str(&self.problems);
        if self.changes > 0 {
            let changes = self.changes;
            let _ =
                writeln!(text, "{changes} of the rows can only change what exists, lacking what a new one must have");
        }
        let (looked_at, wrong) = (rows(self.rows), self.wrong);
        let more = if self.rows == LOOKED_AT { "the first " } else { "" };
        let _ = write!(text, "looked at {more}{looked_at}: {wrong} would not be accepted; nothing was imported");
        text
    }
}

#[cfg(test)]
#[path = "dry_run_tests.rs"]
mod tests;
