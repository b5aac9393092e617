//! `ledgerline import`: a file of rows, through the same API, upload and queue as anybody's.

mod api;
mod dry_run;
mod mapping_file;
mod memo;
mod summary;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use ledgerline_kernel::TenantCode;
use serde_json::{Value, json};

use crate::banner::TENANT;
use crate::data_dir::{DataDir, Use, read_record};
use crate::host::{Host, HostOptions};
use crate::issuer::{Claims, IssuerKey};
use crate::operate::Place;

use api::{Api, ImportView, may_pass};
use mapping_file::MappingFile;
use memo::Memo;

pub use summary::{json, text, verdict};

/// How often an import is asked how far it is.
const POLL: Duration = Duration::from_millis(500);

/// So many times in a row it may be asked in vain: a host that is started again takes a few seconds.
const PATIENCE: u32 = 20;

/// How long the token is good that the import is watched with.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Brings the rows of a file into the ledger.
#[derive(Debug, Clone, Args)]
pub struct Import {
    /// Which domain: its resource, such as products
    pub resource: String,
    /// CSV with a header, or JSON lines; plain, gzip or ZIP
    pub file: PathBuf,
    /// Which column is which field, JSON or YAML [default: a column is the field of its name]
    #[arg(long, value_name = "FILE")]
    pub map: Option<PathBuf>,
    /// Whose entities
    #[arg(long, default_value = TENANT)]
    pub tenant: TenantCode,
    /// What becomes of rows whose entity exists
    #[arg(long, value_enum, default_value_t = Mode::Upsert)]
    pub mode: Mode,
    /// How the file is written [default: by its name]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Import nothing: show the first rows as they would be stored, and what is wrong with the first 1,000
    #[arg(long)]
    pub dry_run: bool,
    /// Where the rows go that were not accepted [default: FILE.errors.csv]; of an archive whose files have other
    /// columns, into several (FILE.errors-2.csv)
    #[arg(long, value_name = "FILE")]
    pub errors: Option<PathBuf>,
    /// The template to read, where no host runs [default: ./template.yaml, else the built-in one]
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,
}

/// What becomes of rows whose entity exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// They fail
    Create,
    /// They change it
    Upsert,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values
    Csv,
    /// A JSON object on each line
    Jsonl,
}

impl Import {
    fn format(&self) -> anyhow::Result<Format> {
        let name = self.file.to_string_lossy().to_lowercase();
        let plain = [".gz", ".zip"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        match self.format {
            Some(format) => Ok(format),
            None if [".jsonl", ".ndjson"].iter().any(|end| plain.ends_with(end)) => Ok(Format::Jsonl),
            None if plain.ends_with(".csv") || name.ends_with(".zip") => Ok(Format::Csv),
            None => bail!("{} is neither .csv nor .jsonl; say which with --format", self.file.display()),
        }
    }

    fn mapping_file(&self) -> anyhow::Result<Option<MappingFile>> {
        self.map.as_deref().map(MappingFile::read).transpose()
    }

    /// Where the rows go that were not accepted.
    fn errors_file(&self) -> PathBuf {
        self.errors.clone().unwrap_or_else(|| {
            let mut name = self.file.clone().into_os_string();
            name.push(".errors.csv");
            name.into()
        })
    }

    /// Refuses a place for these rows that does not exist or takes something away: after the import is too late.
    fn check_errors_file(&self) -> anyhow::Result<()> {
        let errors = self.errors_file();
        let folder = match errors.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            bail!("--errors: there is no folder {}", folder.display());
        }
        if errors.is_dir() {
            bail!("--errors: {} is a folder", errors.display());
        }
        // By whatever path and link it is named. What does not exist yet is none of them.
        let Ok(written) = errors.canonicalize() else { return Ok(()) };
        for read in [Some(&self.file), self.map.as_ref()].into_iter().flatten() {
            if read.canonicalize().is_ok_and(|read| read == written) {
                bail!("--errors: {} is read by this import, and would be overwritten", errors.display());
            }
        }
        Ok(())
    }

    /// What the API is asked for.
    fn request(&self) -> anyhow::Result<Value> {
        let format = if self.format()? == Format::Csv { "csv" } else { "jsonl" };
        let mode = if self.mode == Mode::Create { "create" } else { "upsert" };
        let (resource, mapping) = (&self.resource, self.mapping_file()?);
        let mut request = json!({"resource": resource, "format": format, "mode": mode, "source": {"upload": true}});
        if let (Value::Object(request), Some(file)) = (&mut request, mapping) {
            request.insert("mapping".to_owned(), serde_json::to_value(file.mapping)?);
        }
        Ok(request)
    }
}

/// What an import came to.
#[derive(Debug)]
pub struct Imported {
    /// How it ended.
    pub(crate) view: ImportView,
    /// Where the rows are that were not accepted: a file, or several where they have other columns.
    pub(crate) errors: Vec<PathBuf>,
    /// Which mapping it takes to import these again.
    pub(crate) map: Option<PathBuf>,
    /// How long it took, as seen from here; nothing of one that had ended before anybody looked.
    pub(crate) took: Option<Duration>,
}

/// What the command did.
#[derive(Debug)]
pub enum Done {
    /// It looked at the file: the text that says what it found, and in how many rows something is wrong.
    Looked(String, usize),
    /// It imported the file.
    Imported(Box<Imported>),
}

/// Imports, from a command line: blocks, and draws how far it is.
///
/// # Errors
/// If the file cannot be read, the host not be reached, or the import be refused. Rows that are not
/// accepted are none.
pub fn import_blocking(import: &Import, place: &Place) -> anyhow::Result<Done> {
    if import.dry_run {
        return dry_run::look(import).map(|(text, wrong)| Done::Looked(text, wrong));
    }
    import.check_errors_file()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    let done = runtime.block_on(run(import, place));
    // What a timed-out invocation left running is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(200));
    done.map(|imported| Done::Imported(Box::new(imported)))
}

/// Imports through the host that runs on the data directory or is named, else through one of its own.
async fn run(import: &Import, place: &Place) -> anyhow::Result<Imported> {
    let token = match std::env::var("LEDGERLINE_TOKEN") {
        Ok(token) if !token.is_empty() => token,
        _ => token(import, &place.data_dir)?,
    };
    let running = place.host_url.clone().or_else(|| host_of(&place.data_dir));
    if let Some(url) = running {
        let api = Api::new(&url, &token)?;
        return tokio::select! {
            done = follow(import, &api, &place.data_dir) => done,
            _ = tokio::signal::ctrl_c() => bail!("left; the host at {url} goes on with the import, and so does this command when it is run again"),
        };
    }
    let host = Host::start(HostOptions::for_a_command(place)).await?;
    let api = Api::new(&host.url(), &token)?;
    let done = tokio::select! {
        done = follow(import, &api, &place.data_dir) => done,
        // The stores are to be stopped all the same.
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; run it again, and it goes on")),
    };
    let stopped = host.stop().await;
    done.and_then(|imported| stopped.map(|()| imported))
}

fn token(import: &Import, data_dir: &Path) -> anyhow::Result<String> {
    let claims = Claims {
        tenant: import.tenant.to_string(),
        role: "editor".to_owned(),
        user: "local-user".to_owned(),
        expires_in: TOKEN_LIFE,
    };
    IssuerKey::of_data_dir(data_dir)?.token(&claims)
}

/// The host that serves this data directory.
fn host_of(data_dir: &Path) -> Option<String> {
    let record = read_record(data_dir)?;
    DataDir::take(data_dir, Use::Command("import")).is_err().then_some(record.url)
}

/// Asks for the import, or finds the one that was interrupted; uploads; waits for the end.
async fn follow(import: &Import, api: &Api, data_dir: &Path) -> anyhow::Result<Imported> {
    let begun = Instant::now();
    let request = import.request()?;
    let memo = Memo::of(import, &request, data_dir)?;
    let found = match memo.read() {
        Some(id) => api.uploaded(&id).await?,
        None => None,
    };
    let had_ended = found.as_ref().is_some_and(ImportView::is_final);
    let view = match found {
        // Its outcome has not been told yet. To import the file anew instead would fail each row of a create.
        Some(view) if had_ended => {
            eprintln!("import {} had ended meanwhile", view.id);
            view
        }
        Some(view) => {
            eprintln!("going on with import {}", view.id);
            api.resume(&view.id).await?
        }
        None => begin(import, api, &request, &memo).await?,
    };
    let view = watch(api, view).await?;
    let errors = match view.counts.failed {
        0 => Vec::new(),
        _ => api.errors(&view.id, &import.errors_file()).await?,
    };
    // Only now: until its errors are written, an import that has ended is one to come back to.
    memo.forget();
    let took = (!had_ended).then(|| begun.elapsed());
    Ok(Imported { view, errors, map: import.map.clone(), took })
}

async fn begin(import: &Import, api: &Api, request: &Value, memo: &Memo) -> anyhow::Result<ImportView> {
    let size = std::fs::metadata(&import.file).with_context(|| format!("cannot read {}", import.file.display()))?.len();
    let view = api.ask(request).await?;
    let upload = view.upload.as_ref().context("the API gave no address to upload to")?;
    let bar = ProgressBar::new(size)
        .with_style(ProgressStyle::with_template("uploading {bar:40} {bytes}/{total_bytes}, {eta} left")?);
    api.upload(&upload.url, &import.file, size, &bar).await?;
    bar.finish_and_clear();
    // Only now: what was not uploaded is begun anew.
    memo.write(&view.id)?;
    Ok(view)
}

/// Waits for the end, and draws how far it is, on a terminal only.
///
/// # Errors
/// The import is refused to be shown, or the host could not be asked more than [`PATIENCE`] times in a row.
async fn watch(api: &Api, mut view: ImportView) -> anyhow::Result<ImportView> {
    let bar = ProgressBar::new_spinner();
    let of_known = of_known()?;
    let of_unknown = ProgressStyle::with_template("{spinner} importing, {pos} rows so far{msg}")?;
    let mut failures = 0;
    while !view.is_final() {
        bar.set_style(if view.progress.whole { of_known.clone() } else { of_unknown.clone() });
        bar.set_length(view.progress.rows);
        bar.set_position(view.counts.total);
        let not_accepted = match view.counts.failed {
            0 => String::new(),
            failed => format!(", {failed} not accepted"),
        };
        bar.set_message(not_accepted + if failures > 0 { "; the host does not answer" } else { "" });
        tokio::time::sleep(POLL).await;
        match api.get(&view.id).await {
            Ok(seen) => (view, failures) = (seen, 0),
            Err(error) if failures < PATIENCE && may_pass(&error) => failures += 1,
            Err(error) => {
                bar.finish_and_clear();
                let id = &view.id;
                return Err(error.context(format!("left import {id}; run the command again, and it goes on")));
            }
        }
    }
    bar.finish_and_clear();
    Ok(view)
}

/// How an import is drawn whose number of rows is known. `{per_sec}` would have four digits after the point.
fn of_known() -> anyhow::Result<ProgressStyle> {
    let style = ProgressStyle::with_template("importing {bar:40} {pos}/{len} rows, {rate} rows/s, {eta} left{msg}")?;
    Ok(style.with_key("rate", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
        // Drawing goes on without it.
        let _ = write!(to, "{:.0}", state.per_sec());
    }))
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
