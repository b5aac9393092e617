//! Dead letters, and what became of them, for people.

use std::fmt::Write as _;

use super::{DeadLetter, DeadQueue, DeadRows, Listed, Redriven, RedrivenQueue, Source};

/// Where no host runs.
const NO_HOST: &str = "no host runs here, and queues are kept in a host's memory: there is nothing in them. What \
                       imports lost with them is sent again when a host starts";

/// For people.
#[must_use]
pub fn list_text(listed: &Listed) -> String {
    let mut text = String::new();
    for queue in listed.queues.iter().filter(|queue| queue.count > 0) {
        let DeadQueue { queue, sources, count, messages, .. } = queue;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{queue}: {}, from {}", counted(*count), sources_text(sources));
        for message in messages {
            let _ = writeln!(text, "  {}", line(message));
        }
        if u64::try_from(messages.len()).is_ok_and(|shown| shown < *count) {
            let _ = writeln!(text, "  the first {} of more", messages.len());
        }
    }
    match (listed.queues.iter().map(|queue| queue.count).sum(), listed.host_runs) {
        (0, true) => "there are no dead letters".to_owned(),
        (0, false) => NO_HOST.to_owned(),
        (count, _) => {
            text + &format!("{}: mend what made them fail, then `ledgerline dead-letters redrive`", counted(count))
        }
    }
}

/// For people.
#[must_use]
pub fn redrive_text(redriven: &Redriven) -> String {
    let mut text = String::new();
    for queue in redriven.queues.iter().filter(|queue| queue.moved + queue.left > 0 || queue.problem.is_some()) {
        let RedrivenQueue { queue, sources, moved, left, problem } = queue;
        let _ = write!(text, "{queue}: {} brought back to {}", counted(*moved), sources_text(sources));
        if *left > 0 {
            let _ = write!(text, ", {left} still there");
        }
        if let Some(problem) = problem {
            let _ = write!(text, " ({problem})");
        }
        text.push('\n');
    }
    match (redriven.queues.iter().map(|queue| queue.moved).sum::<u64>(), redriven.host_runs) {
        (0, false) => NO_HOST.to_owned(),
        (0, true) if text.is_empty() => "there were no dead letters to redrive".to_owned(),
        (0, true) => text.trim_end().to_owned(),
        _ => {
            text + "they are worked on now: `ledgerline diagnose` says how far that is, and what fails again ends among \
                    the dead letters again"
        }
    }
}

fn counted(count: u64) -> String {
    format!("{count} {}", if count == 1 { "message" } else { "messages" })
}

/// `ImportRows, which ImportWorker.Rows reads`
fn sources_text(sources: &[Source]) -> String {
    let source = |Source { queue, mapping }: &Source| format!("{queue}, which {mapping} reads");
    sources.iter().map(source).collect::<Vec<_>>().join(", or ")
}

fn line(message: &DeadLetter) -> String {
    let DeadLetter { id, receive_count, age_seconds, body, rows } = message;
    let body: String = body.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let rows = rows.as_ref().map(|rows| rows_text(rows) + ", ").unwrap_or_default();
    format!("{id}: {rows}received {receive_count} times, {} old: {body}", age(*age_seconds))
}

fn rows_text(rows: &DeadRows) -> String {
    let DeadRows { tenant, import, chunk, file, first, last, count } = rows;
    let file = file.as_ref().map(|file| format!(" of {file}")).unwrap_or_default();
    let rows = if *count == 1 { format!("row {first}") } else { format!("{count} rows, {first} to {last},") };
    format!("{rows}{file} of import {import} of {tenant}, chunk {chunk}")
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
