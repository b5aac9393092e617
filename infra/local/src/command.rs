//! The command line.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use indicatif::ProgressBar;
use ledgerline_kernel::TenantCode;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::banner;
use crate::dead_letters::{self, DeadLetters};
use crate::diagnose::{self, Diagnose};
use crate::failure::Failure;
use crate::host::{Host, HostOptions, Serving};
use crate::import::{self, Import};
use crate::issuer::{Claims, IssuerKey};
use crate::operate::{Operation, Place, operate_blocking};
use crate::quarantine::{self, Action, Quarantine};
use crate::rebuild::{self, Rebuild};
use crate::reconcile::{self, Reconcile, Resync};
use crate::verify;

/// The exit status of a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// How long a start that was interrupted may take to get to where it can be stopped.
const START_GRACE: Duration = Duration::from_secs(5);

/// How long a stop may take before it is worth a word.
const STOP_NOTE: Duration = Duration::from_secs(4);

const ENVIRONMENT: &str = "\
Environment:
  DATABASE_URL                  A PostgreSQL database for the read models, instead of a private one. What a local
                                host has put there is replaced; a database that is in use otherwise is refused
  LEDGERLINE_POSTGRES=embedded  Use the built-in Postgres, whatever is installed or named
  LEDGERLINE_URL                The host that other commands talk to
  RUST_LOG, NO_COLOR            What is logged, and how";

/// Ledgerline on this machine: the API, its functions and its stores in one process.
///
/// Without a subcommand it serves the API.
#[derive(Debug, Parser)]
#[command(name = "ledgerline", version, after_help = ENVIRONMENT)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
    /// Where state is kept
    #[arg(long, global = true, default_value = ".ledgerline", env = "LEDGERLINE_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// Print one JSON object as the last line, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the stores, the token issuer and the event source mappings for functions served by `cargo lambda watch`
    Stack(StackArgs),
    /// Print a token of the local issuer
    Token(TokenArgs),
    /// Check the ledger: versions, hashes, states against events, unique values; exits with 1 on a defect
    Verify(VerifyArgs),
    /// Say how the read models are, and what to do; exits with 0 only when there is nothing to do
    Diagnose(Diagnose),
    /// Compare the read models with the ledger, and take from it what differs
    Reconcile(Reconcile),
    /// Project a domain's entities again from the ledger, also those that do not seem to differ
    Resync(Resync),
    /// List what the projections could not take, or try it again
    Quarantine(Quarantine),
    /// List the messages that a function failed on too often, or bring them back to be tried again
    DeadLetters(DeadLetters),
    /// Bring the rows of a file into the ledger; run again after an interruption, it goes on
    Import(Import),
    /// Make a domain's Postgres tables anew from the ledger while writes go on; started again, it goes on where it was
    Rebuild(Rebuild),
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    host: HostArgs,
    /// Load the demo catalogue: 1,200 diamonds, for tenant `demo`
    #[arg(long)]
    seed: bool,
}

#[derive(Debug, Args)]
struct StackArgs {
    #[command(flatten)]
    host: HostArgs,
    /// Where `cargo lambda watch` serves the functions
    #[arg(long, default_value = "http://127.0.0.1:9000", value_name = "URL")]
    watch: Url,
}

#[derive(Debug, Clone, Args)]
struct HostArgs {
    /// The port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 3000, value_name = "PORT")]
    port: u16,
    /// Keep nothing: all state is gone when the host stops
    #[arg(long)]
    ephemeral: bool,
    /// The template to read [default: ./template.yaml, else the built-in one]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct TokenArgs {
    /// The tenant that the bearer acts for
    #[arg(long, default_value = banner::TENANT)]
    tenant: TenantCode,
    /// What the bearer may do
    #[arg(long, default_value = "admin", value_parser = ["viewer", "editor", "admin", "system_admin"])]
    role: String,
    /// The bearer's name
    #[arg(long, default_value = "local-user")]
    user: String,
    /// How long it is good for: a number and s, m, h or d
    #[arg(long, default_value = "12h", value_parser = parse_duration)]
    expires_in: Duration,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Only this tenant's part [default: all]
    #[arg(long)]
    tenant: Option<TenantCode>,
    /// The template to read [default: ./template.yaml, else the built-in one]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
}

/// Does what the command line asks for.
///
/// # Errors
/// If it could not all be done; the error's chain says why, and where possible what to do.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Some(Command::Token(token)) => print_token(cli, token).map(|()| ExitCode::SUCCESS),
        Some(Command::Verify(args)) => verify_ledger(cli, args).map(|()| ExitCode::SUCCESS),
        Some(Command::Rebuild(rebuild)) => operated(cli, rebuild, rebuild.template.clone(), rebuild::text, |_| Ok(())),
        Some(Command::Diagnose(diagnose)) => {
            operated(cli, diagnose, diagnose.template.clone(), diagnose::text, diagnose::verdict)
        }
        Some(Command::Reconcile(reconcile)) => {
            operated(cli, reconcile, reconcile.template.clone(), reconcile::text, reconcile::verdict)
        }
        Some(Command::Resync(resync)) => {
            operated(cli, resync, resync.template.clone(), reconcile::text, reconcile::verdict)
        }
        Some(Command::Quarantine(Quarantine { action: Action::List(list) })) => {
            operated(cli, list, list.which.template.clone(), quarantine::list_text, |_| Ok(()))
        }
        Some(Command::Quarantine(Quarantine { action: Action::Redrive(redrive) })) => {
            let template = redrive.which.template.clone();
            operated(cli, redrive, template, quarantine::redrive_text, quarantine::redrive_verdict)
        }
        Some(Command::DeadLetters(DeadLetters { action: dead_letters::Action::List(list) })) => {
            operated(cli, list, list.which.template.clone(), dead_letters::list_text, |_| Ok(()))
        }
        Some(Command::DeadLetters(DeadLetters { action: dead_letters::Action::Redrive(redrive) })) => {
            let template = redrive.which.template.clone();
            operated(cli, redrive, template, dead_letters::redrive_text, dead_letters::redrive_verdict)
        }
        Some(Command::Import(args)) => import_rows(cli, args),
        Some(Command::Stack(stack)) => {
            let options = cli.host_options(&stack.host, Serving::Watch(stack.watch.clone()));
            run_host(options, false, cli.json)
        }
        None => run_host(cli.host_options(&cli.serve.host, Serving::InProcess), cli.serve.seed, cli.json),
    }
}

impl Cli {
    /// Reads the process's arguments; ends the process with a message if they make no sense.
    #[must_use]
    pub fn read() -> Self {
        Self::try_read(std::env::args_os()).unwrap_or_else(|error| {
            if let Some(line) = usage_line(std::env::args_os(), &error) {
                // With nowhere to write to, the exit status has to do.
                let _ = print(&line);
            }
            error.exit()
        })
    }

    /// The last line on standard output after a failure: with `--json`, and unless a report is that line.
    #[must_use]
    pub fn failure_line(&self, error: &anyhow::Error) -> Option<String> {
        Failure::of(error).line().filter(|_| self.json)
    }

    /// An option of serving before a subcommand would have no effect: clap takes it, as that of a
    /// command that is not run. An error tells more.
    fn try_read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(arguments)?;
        let serve_only = ServeArgs::augment_args(clap::Command::default());
        let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let misplaced = serve_only.get_arguments().find(|option| given(option.get_id().as_str()));
        match (matches.subcommand_name(), misplaced.and_then(clap::Arg::get_long)) {
            (Some(subcommand), Some(option)) => Err(command.error(
                ErrorKind::ArgumentConflict,
                format!("--{option} is an option of serving the API; those of {subcommand} come after its name"),
            )),
            _ => Self::from_arg_matches(&matches),
        }
    }

    /// Where an operator's command runs.
    fn place(&self, template: Option<PathBuf>) -> Place {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Place {
            data_dir: self.data_dir.clone(),
            template,
            host_url: variable("LEDGERLINE_URL"),
            database_url: variable("DATABASE_URL"),
        }
    }

    fn host_options(&self, host: &HostArgs, serving: Serving) -> HostOptions {
        HostOptions {
            port: host.port,
            data_dir: self.data_dir.clone(),
            ephemeral: host.ephemeral,
            template: host.template.clone(),
            database_url: std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()),
            serving,
        }
    }
}

/// What a program reads of a command line that makes no sense.
fn usage_line(arguments: impl IntoIterator<Item = OsString>, error: &clap::Error) -> Option<String> {
    let is_for_a_program = error.use_stderr() && arguments.into_iter().any(|argument| argument == "--json");
    let message = error.to_string();
    let message = message.trim().trim_start_matches("error: ");
    Failure::new(Failure::USAGE, message).line().filter(|_| is_for_a_program)
}

/// A report that says that not all is as it should be: it has been printed.
fn not_well(error: &anyhow::Error) -> Failure {
    Failure::new(Failure::NOT_WELL, format!("{error:#}"))
}

fn print_token(cli: &Cli, args: &TokenArgs) -> anyhow::Result<()> {
    let claims = Claims {
        tenant: args.tenant.to_string(),
        role: args.role.clone(),
        user: args.user.clone(),
        expires_in: args.expires_in,
    };
    let token = IssuerKey::of_data_dir(&cli.data_dir)?.token(&claims)?;
    match cli.json {
        true => print(&serde_json::json!({ "token": token }).to_string()),
        false => print(&token),
    }
}

/// Runs an operation and prints what it says; fails after that if it did not all work out.
fn operated<O: Operation>(
    cli: &Cli,
    operation: &O,
    template: Option<PathBuf>,
    text: impl Fn(&O::Report) -> String,
    verdict: impl Fn(&O::Report) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let report = operate_blocking(operation, &cli.place(template))?;
    print(&if cli.json { serde_json::to_string(&report)? } else { text(&report) })?;
    verdict(&report).map_err(|error| not_well(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn import_rows(cli: &Cli, args: &Import) -> anyhow::Result<ExitCode> {
    let done = import::import_blocking(args, &cli.place(args.template.clone()))?;
    print(&if cli.json { import::json(&done).to_string() } else { import::text(&done) })?;
    import::verdict(&done).map(|()| ExitCode::SUCCESS)
}

fn verify_ledger(cli: &Cli, args: &VerifyArgs) -> anyhow::Result<()> {
    let host_url = std::env::var("LEDGERLINE_URL").ok().filter(|url| !url.is_empty());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    let (template, tenant) = (args.template.as_deref(), args.tenant.as_ref());
    let report = runtime.block_on(verify::verify(&cli.data_dir, template, tenant, host_url.as_deref()))?;
    print(&if cli.json { serde_json::to_string(&report)? } else { verify::text(&report) })?;
    match report.defect_count {
        0 => Ok(()),
        _ => Err(Failure::new(Failure::NOT_WELL, "the ledger is not as it was written").into()),
    }
}

fn run_host(options: HostOptions, seed: bool, json: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    let done = runtime.block_on(serve(options, seed, json));
    // What a timed-out invocation left running is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(200));
    done
}

/// Runs a host until it is asked to stop. Asked before it is up, it was interrupted.
async fn serve(options: HostOptions, seed: bool, json: bool) -> anyhow::Result<ExitCode> {
    let mut stopping = Stopping::listen()?;
    let spinner = ProgressBar::new_spinner().with_message("starting the stores and the functions");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let mut starting = Box::pin(Host::start(options));
    let host = tokio::select! {
        host = &mut starting => host,
        () = stopping.asked() => {
            spinner.finish_and_clear();
            // What is being started can be stopped without a trace only once it is up.
            if let Ok(Ok(host)) = tokio::time::timeout(START_GRACE, starting).await {
                stop(host, &mut stopping).await?;
            }
            return Ok(interrupted());
        }
    };
    spinner.finish_and_clear();
    let host = host?;
    let seeded = tokio::select! {
        seeded = host.seed_if(seed) => Some(seeded),
        () = stopping.asked() => None,
    };
    let Some(seeded) = seeded else {
        stop(host, &mut stopping).await?;
        return Ok(interrupted());
    };
    let shown = seeded.and_then(|seeded| {
        let text = if json { banner::json(&host, seeded)? } else { banner::text(&host, seeded) };
        print(&text)
    });
    if shown.is_ok() {
        stopping.asked().await;
    }
    let stopped = stop(host, &mut stopping).await;
    shown.and(stopped).map(|()| ExitCode::SUCCESS)
}

/// Stops a host; says so if it takes long; ends at once when asked again.
async fn stop(host: Host, stopping: &mut Stopping) -> anyhow::Result<()> {
    let mut stopped = Box::pin(host.stop());
    loop {
        tokio::select! {
            stopped = &mut stopped => return stopped,
            () = tokio::time::sleep(STOP_NOTE) => tracing::warn!("still stopping; Ctrl-C ends it at once"),
            () = stopping.asked() => std::process::exit(INTERRUPTED.into()),
        }
    }
}

fn interrupted() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}

/// Ctrl-C and SIGTERM.
struct Stopping {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stopping {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("cannot write to standard output")
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a number and s, m, h or d, such as 12h");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
