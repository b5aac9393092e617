//! A look at a file before it is imported: what its rows would be, and what is wrong with them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;

use anyhow::{Context as _, bail};
use ledgerline_app::Registry;
use ledgerline_import_file::{FileError, Found, Limits, Mapping, RowMapper, Shape, read};
use ledgerline_kernel::input::{InputError, Problem};
use ledgerline_kernel::{Action, DynDomain, ImportFormat};

use super::{Format, Import};

/// So many rows are shown.
const SHOWN: usize = 3;

/// So many are looked at.
const LOOKED_AT: usize = 1_000;

/// What is known so far.
#[derive(Default)]
struct Look {
    rows: usize,
    wrong: usize,
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
    let mapping = match import.mapping()? {
        serde_json::Value::Null => Mapping::identity(),
        value => serde_json::from_value(value).context("the mapping makes no sense")?,
    };
    let format = if import.format()? == Format::Csv { ImportFormat::Csv } else { ImportFormat::Jsonl };
    let file = File::open(&import.file).with_context(|| format!("cannot read {}", import.file.display()))?;
    let (mut look, mut mapper) = (Look::default(), None);
    for found in read(BufReader::new(file), format, &Limits::default()) {
        match found.map_err(|error| unreadable(&error))? {
            Found::File { columns, .. } => mapper = Some(mapper_over(&mapping, &columns)?),
            Found::Row { number, content } => {
                let mapper = mapper.as_ref().context("a row before its file")?;
                look.row(domain.as_ref(), mapper, number, &content);
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

fn mapper_over(mapping: &Mapping, columns: &[String]) -> anyhow::Result<RowMapper> {
    let problems = match mapping.over(columns) {
        Ok(mapper) => return Ok(mapper),
        Err(problems) => problems,
    };
    let mut text = "the mapping does not fit the file".to_owned();
    for Problem { path, message, .. } in problems {
        let _ = write!(text, "\n  {path} {message}");
    }
    bail!(text)
}

impl Look {
    fn row(
        &mut self,
        domain: &dyn DynDomain,
        mapper: &RowMapper,
        number: u64,
        content: &ledgerline_import_file::RowContent,
    ) {
        self.rows += 1;
        let body = match mapper.map(content, Shape::Create) {
            Ok(mapped) => mapped.body,
            Err(problems) => return self.refused(number, &problems),
        };
        match domain.prepare(Action::Create, &body) {
            Err(InputError::Invalid(problems)) => self.refused(number, &problems),
            Err(InputError::Malformed(message)) => self.say(number, &message),
            Ok(_) if self.shown.len() < SHOWN => {
                let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
                self.shown.push(serde_json::to_string_pretty(&body).unwrap_or_default());
            }
            Ok(_) => {}
        }
    }

    fn refused(&mut self, number: u64, problems: &[Problem]) {
        let said: Vec<_> = problems.iter().map(|Problem { path, message, .. }| format!("{path} {message}")).collect();
        self.say(number, said.join("; ").trim());
    }

    fn say(&mut self, number: u64, what: &str) {
        self.wrong += 1;
        // Writing to a String cannot fail.
        let _ = writeln!(self.problems, "row {number}: {what}");
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for body in &self.shown {
            let _ = writeln!(text, "{body}");
        }
        text.push_str(&self.problems);
        let (rows, wrong) = (self.rows, self.wrong);
        let more = if rows == LOOKED_AT { "the first " } else { "" };
        let _ = write!(text, "looked at {more}{rows} rows: {wrong} would not be accepted; nothing was imported");
        text
    }
}
