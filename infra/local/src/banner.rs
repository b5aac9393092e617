//! What a host says once it is up: short, and every line can be pasted.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use ledgerline_stores::PostgresKind;
use serde_json::json;

use crate::host::{Host, Serving};
use crate::seed::Seeded;

/// The tenant of the printed token, and of the demo catalogue.
pub const TENANT: &str = "demo";

/// For people.
#[must_use]
pub fn text(host: &Host, seeded: Option<Seeded>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match host.serving() {
        Serving::InProcess => write_serve(&mut text, host, seeded),
        Serving::Watch(_) => write_stack(&mut text, host),
    };
    text
}

fn write_serve(text: &mut String, host: &Host, seeded: Option<Seeded>) -> std::fmt::Result {
    let (url, ink) = (host.url(), Ink::new());
    if let Some(seeded) = seeded {
        writeln!(text, "{}", seeded_line(seeded))?;
    }
    writeln!(text, "{} {}", ink.bold("Ledgerline is up at"), ink.bold(&url))?;
    writeln!(text, "\n{}", ink.dim("# a token for tenant demo, good for 12 hours"))?;
    writeln!(text, "export TOKEN={}", host.token())?;
    writeln!(text, "\n{}", ink.dim("# create, then list"))?;
    writeln!(
        text,
        "curl -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' {url}/api/v1/products \\\n  \
         -d '{{\"sk\":\"P-1\",\"code\":\"P-1\",\"name\":\"First product\",\"attributes\":{{\"category\":\"demo\",\"price\":\"12.50\"}}}}'"
    )?;
    writeln!(text, "curl -H \"Authorization: Bearer $TOKEN\" '{url}/api/v1/products?sort=-price&limit=3'")?;
    writeln!(text, "\n{}", ink.dim(&where_line(host)))?;
    write!(text, "{}", ink.dim("Ctrl-C stops it."))
}

fn write_stack(text: &mut String, host: &Host) -> std::fmt::Result {
    let ink = Ink::new();
    let Serving::Watch(watch) = host.serving() else { return Ok(()) };
    let (address, port) = (watch.host_str().unwrap_or("127.0.0.1"), watch.port_or_known_default().unwrap_or(9000));
    let env_file = host.env_file().unwrap_or_else(|| "lambda.env".into());
    writeln!(text, "{} {}", ink.bold("The stack is up; tokens are issued at"), ink.bold(&host.url()))?;
    writeln!(text, "\n{}", ink.dim("# serve the functions, in another terminal"))?;
    writeln!(text, "cargo lambda watch -A {address} -P {port} --env-file {}", env_file.display())?;
    writeln!(text, "\n{}", ink.dim("# then send one an event, in a third"))?;
    writeln!(
        text,
        "cargo lambda invoke command-api -A {address} -P {port} --data-file events/command-api/create-product.json"
    )?;
    if let Some(keys) = host.fixture_keys() {
        writeln!(text, "\n{}", ink.dim(&format!("The tokens in events/ are accepted: keys from {keys}.")))?;
    }
    writeln!(text, "\n{}", ink.dim(&where_line(host)))?;
    write!(text, "{}", ink.dim("Ctrl-C stops it."))
}

/// For scripts: one line.
///
/// # Errors
/// None in practice.
pub fn json(host: &Host, seeded: Option<Seeded>) -> anyhow::Result<String> {
    let seeded = seeded.map(|seeded| {
        json!({ "created": seeded.created, "existing": seeded.existing, "seconds": seeded.took.as_secs_f64() })
    });
    Ok(serde_json::to_string(&json!({
        "url": host.url(),
        "token": host.token(),
        "postgres": kind(host.postgres()),
        "databaseUrl": host.database_url(),
        "dynamodb": host.dynamodb(),
        "dataDir": host.data_dir(),
        "envFile": host.env_file(),
        "seeded": seeded,
    }))?)
}

fn where_line(host: &Host) -> String {
    let postgres = match host.postgres() {
        PostgresKind::External => "Postgres from DATABASE_URL",
        PostgresKind::Machine => "Postgres of this machine",
        PostgresKind::Embedded => "Embedded Postgres",
    };
    let elsewhere = host.postgres_elsewhere().map(|folder| format!(", in {}", folder.display())).unwrap_or_default();
    match host.data_dir() {
        Some(dir) => format!("State in {}. {postgres}{elsewhere}.", dir.display()),
        None => format!("Nothing is kept. {postgres}."),
    }
}

fn seeded_line(seeded: Seeded) -> String {
    let Seeded { created, existing, took } = seeded;
    let there = if existing > 0 { format!(", {} were there already", thousands(existing)) } else { String::new() };
    format!("seeded {} products in {:.1} s{there}", thousands(created), took.as_secs_f64())
}

fn kind(kind: PostgresKind) -> &'static str {
    match kind {
        PostgresKind::External => "external",
        PostgresKind::Machine => "machine",
        PostgresKind::Embedded => "embedded",
    }
}

pub(crate) fn thousands(number: usize) -> String {
    match (number / 1000, number % 1000) {
        (0, rest) => rest.to_string(),
        (thousand, rest) => format!("{},{rest:03}", thousands(thousand)),
    }
}

/// Bold and dim on a terminal, nothing elsewhere or with `NO_COLOR`.
struct Ink {
    coloured: bool,
}

impl Ink {
    fn new() -> Self {
        Self { coloured: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    fn bold(&self, text: &str) -> String {
        self.in_style("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.in_style("2", text)
    }

    fn in_style(&self, style: &str, text: &str) -> String {
        if self.coloured { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_summary_of_the_seed_is_one_line() {
        let seeded = Seeded { created: 1200, existing: 0, took: Duration::from_millis(1340) };
        assert_eq!(seeded_line(seeded), "seeded 1,200 products in 1.3 s");
        let again = Seeded { created: 0, existing: 1200, took: Duration::from_millis(400) };
        assert_eq!(seeded_line(again), "seeded 0 products in 0.4 s, 1,200 were there already");
    }
}
