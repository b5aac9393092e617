//! What an import came to, in words and as JSON.

use std::fmt::Write as _;

use anyhow::bail;
use serde_json::{Value, json};

use super::{Done, Imported};
use crate::banner::thousands;

/// For people.
#[must_use]
pub fn text(done: &Done) -> String {
    match done {
        Done::Looked(text, _) => text.clone(),
        Done::Imported(imported) => table(imported),
    }
}

/// Fails unless every row was accepted, or would be.
///
/// # Errors
/// What is not as it should be.
pub fn verdict(done: &Done) -> anyhow::Result<()> {
    match done {
        Done::Looked(_, 0) => Ok(()),
        Done::Looked(_, wrong) => bail!("{} would not be accepted", rows(*wrong)),
        Done::Imported(imported) => match (imported.view.state.as_str(), imported.view.counts.failed) {
            ("completed", 0) => Ok(()),
            ("completed", 1) => bail!("1 row was not accepted"),
            ("completed", failed) => bail!("{failed} rows were not accepted"),
            (state, _) => bail!("the import {state}"),
        },
    }
}

pub(super) fn rows(number: usize) -> String {
    if number == 1 { "1 row".to_owned() } else { format!("{number} rows") }
}

/// A line for each outcome, and what to do next.
fn table(imported: &Imported) -> String {
    let Imported { view, errors, map, took } = imported;
    let (counts, mut text) = (&view.counts, String::new());
    let outcomes = [
        ("created", counts.created),
        ("updated", counts.updated),
        ("unchanged", counts.unchanged),
        ("not accepted", counts.failed),
        ("rows", counts.total),
    ];
    for (name, number) in outcomes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:>14} {:>12}", thousands(usize::try_from(number).unwrap_or(usize::MAX)));
    }
    let _ = write!(text, "{}: import {} {}", view.resource, view.id, view.state);
    if let Some(seconds) = took.map(|took| took.as_secs_f64()) {
        let _ = write!(text, " in {seconds:.1} s");
        if seconds > 0.0 && counts.total > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let _ = write!(text, ", {:.0} rows/s", counts.total as f64 / seconds);
        }
    }
    if let Some(failure) = &view.failure {
        let _ = write!(text, "\n{}: {}", failure.code, failure.message);
    }
    let files: Vec<_> = errors.iter().map(|path| path.display().to_string()).collect();
    let with = map.as_ref().map(|map| format!(" with --map {}", map.display())).unwrap_or_default();
    let files = match files.as_slice() {
        [] => return text,
        [file] => format!("{file}; mend it and import {file}{with}"),
        files => {
            let files = files.join(", ");
            format!("{files}: the archive's files have different columns; mend each and import it{with}")
        }
    };
    let _ = write!(text, "\nwhat was not accepted, and why, is in {files}");
    text
}

/// For scripts.
#[must_use]
pub fn json(done: &Done) -> Value {
    match done {
        Done::Looked(text, wrong) => json!({"dryRun": true, "wrong": wrong, "text": text}),
        Done::Imported(imported) => figures(imported),
    }
}

fn figures(imported: &Imported) -> Value {
    let Imported { view, errors, took, .. } = imported;
    let counts = &view.counts;
    json!({
        "id": view.id,
        "resource": view.resource,
        "state": view.state,
        "counts": {
            "total": counts.total,
            "created": counts.created,
            "updated": counts.updated,
            "unchanged": counts.unchanged,
            "failed": counts.failed,
        },
        "failure": view.failure.as_ref().map(|failure| json!({"code": failure.code, "message": failure.message})),
        "errors": errors,
        "millis": took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
    })
}
