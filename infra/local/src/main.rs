//! The `ledgerline` command.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use ledgerline_local::command::{self, Cli};
use tracing_subscriber::EnvFilter;

/// Without `RUST_LOG`. dynoxide warns of each conditional write that finds its condition not met,
/// which is how a projection meets what it has done before.
const DEFAULT_LEVELS: &str = "warn,dynoxide=error,ledgerline_local=info";

fn main() -> ExitCode {
    let cli = Cli::read();
    let levels = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LEVELS));
    let to_stderr = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    to_stderr.with_env_filter(levels).without_time().with_target(false).init();
    match command::run(&cli) {
        Ok(code) => code,
        Err(error) => {
            // With nowhere to write to, the exit status has to do.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            if let Some(line) = cli.failure_line(&error) {
                let _ = writeln!(std::io::stdout(), "{line}");
            }
            ExitCode::FAILURE
        }
    }
}
