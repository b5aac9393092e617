//! What the splitter's and the worker's processes take, with a real queue, bucket and read models around.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use aws_sdk_s3::primitives::ByteStream;
use clap::ValueEnum;
use lambda_runtime::tower::ServiceExt as _;
use lambda_runtime::{Context as Invocation, LambdaEvent};
use ledgerline_app::{Imports, Registry, source_key};
use ledgerline_blobs_s3::S3Objects;
use ledgerline_kernel::ImportState;
use ledgerline_lambda::{Config, SystemEnvironment, s3_client, sqs_client};
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_local::event_source::InvokeError;
use ledgerline_local::queue_source::{MessageSource as _, SqsApi, settle};
use ledgerline_stores::{LocalMessaging, LocalPostgres, LocalS3};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::io::AsyncReadExt as _;

use super::bring_in::ask;
use super::{DATA, rows};
use crate::emulator::Emulator;
use crate::ours::TABLE;

const BUCKET: &str = "imports";
const QUEUE: &str = "rows";

/// What S3 would tell of the object `KEY`.
const UPLOADED: &str = r#"{"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
    "s3": {"bucket": {"name": "imports"}, "object": {"key": "KEY"}}}]}"#;

/// Messages of an invocation, as the template has it.
const BATCH: usize = 2;

/// How often it is looked how far the import is.
const LOOK: Duration = Duration::from_secs(1);

/// A function that runs in a process of its own.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Process {
    /// `import-splitter`
    Splitter,
    /// `import-worker`
    Worker,
}

/// The most memory of each, in MiB.
pub(super) struct Peaks {
    pub(super) splitter: f64,
    pub(super) worker: f64,
}

/// Imports a file of so many rows.
pub(super) async fn measure(rows: usize, postgres: &LocalPostgres) -> anyhow::Result<Peaks> {
    let begun = Instant::now();
    let (emulator, folder) = (Emulator::start(&[TABLE, DATA])?, tempfile::tempdir()?);
    let (messaging, s3) = (LocalMessaging::start().await?, LocalS3::start(folder.path()).await?);
    messaging.create_queue(QUEUE, [("VisibilityTimeout".to_owned(), "360".to_owned())].into()).await?;
    s3.create_bucket(BUCKET)?;
    let environment = [
        ("AWS_ENDPOINT_URL_DYNAMODB", emulator.endpoint().to_owned()),
        ("AWS_ENDPOINT_URL_SQS", messaging.endpoint().to_owned()),
        ("AWS_ENDPOINT_URL_S3", s3.endpoint().to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ("LEDGER_TABLE", TABLE.to_owned()),
        ("DATA_TABLE", DATA.to_owned()),
        ("DATABASE_URL", postgres.url().to_owned()),
        ("IMPORT_BUCKET", BUCKET.to_owned()),
        ("IMPORT_QUEUE_URL", messaging.queue_url(QUEUE)),
        ("STATE_BUCKET", BUCKET.to_owned()),
    ];
    let values = environment.clone();
    let config =
        Config::new(move |name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()));
    let client = s3_client(&config).await;
    let ledger = Arc::new(DynamoLedger::new(emulator.client().await, TABLE));
    let objects = Arc::new(S3Objects::new(client.clone(), BUCKET));
    let imports = Imports::new(Registry::shipped()?, ledger, objects, Arc::new(SystemEnvironment));
    let job = ask(&imports).await?;
    let key = source_key(&job.key);
    let file = ByteStream::from(rows::csv(&format!("m{rows}"), rows)?);
    client.put_object().bucket(BUCKET).key(&key).body(file).send().await?;

    let splitter = Running::start(Process::Splitter, &environment, &UPLOADED.replace("KEY", &key))?;
    let splitter = tokio::task::spawn_blocking(move || splitter.peak()).await??;
    let mut worker = Running::start(Process::Worker, &environment, "")?;
    loop {
        let status = imports.get(&job.key).await?;
        if status.job.state == ImportState::Completed {
            ensure!(usize::try_from(status.counts.created)? == rows, "{:?}", status.counts);
            break;
        }
        ensure!(status.job.state == ImportState::Running, "the import is {:?}", status.job.state);
        ensure!(worker.is_running()?, "the worker ended early");
        tokio::time::sleep(LOOK).await;
    }
    let worker = tokio::task::spawn_blocking(move || worker.peak()).await??;
    println!("  {rows} rows in {:.0} s", begun.elapsed().as_secs_f64());
    messaging.stop().await;
    s3.stop().await;
    Ok(Peaks { splitter, worker })
}

/// A function's process.
struct Running(Child);

impl Running {
    fn start(process: Process, environment: &[(&str, String)], input: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let name = process.to_possible_value().context("a hidden process")?;
        command.args(["import-process", name.get_name()]).envs(environment.iter().cloned());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.as_mut().context("no input")?.write_all(input.as_bytes())?;
        Ok(Self(child))
    }

    fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// Has it end, and say what it took.
    fn peak(mut self) -> anyhow::Result<f64> {
        drop(self.0.stdin.take());
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().context("no output")?).read_line(&mut line)?;
        ensure!(self.0.wait()?.success(), "a function's process failed");
        Ok(line.trim().parse()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Most have ended by themselves.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process's side.
pub(crate) async fn serve(process: Process) -> anyhow::Result<()> {
    let config = Config::from_env();
    match process {
        Process::Splitter => split(&config).await?,
        Process::Worker => tokio::select! {
            ended = work(&config) => ended?,
            closed = input_closed() => closed?,
        },
    }
    println!("{}", peak()?);
    Ok(())
}

async fn input_closed() -> std::io::Result<()> {
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.map(|_| ())
}

async fn split(config: &Config) -> anyhow::Result<()> {
    let mut event = String::new();
    tokio::io::stdin().read_to_string(&mut event).await?;
    let deps = ledgerline_import_splitter::Deps::from_config(config).await?;
    let event = LambdaEvent::new(RawValue::from_string(event)?, Invocation::default());
    let done =
        ledgerline_import_splitter::service(deps).oneshot(event).await.map_err(|error| anyhow::anyhow!(error))?;
    ensure!(done.split == 1, "{done:?}");
    Ok(())
}

/// One invocation after the other, as in one instance of the function.
async fn work(config: &Config) -> anyhow::Result<()> {
    let service = ledgerline_import_worker::service(ledgerline_import_worker::Deps::from_config(config).await?);
    let queue =
        SqsApi::new(sqs_client(config).await, config.required("IMPORT_QUEUE_URL")?, LocalMessaging::queue_arn(QUEUE));
    loop {
        let messages = queue.receive(BATCH, LOOK).await?;
        if messages.is_empty() {
            continue;
        }
        let records: Vec<_> = messages.iter().map(|message| message.record(queue.arn())).collect();
        let event = RawValue::from_string(json!({ "Records": records }).to_string())?;
        let answer = service.clone().oneshot(LambdaEvent::new(event, Invocation::default())).await;
        let answer = answer.map_err(|error| InvokeError::Failed(error.to_string()));
        let answer = answer
            .and_then(|answer| serde_json::to_string(&answer).map_err(|error| InvokeError::Failed(error.to_string())));
        let settled = settle(&messages, true, &answer);
        let done: Vec<_> = settled.delete.into_iter().cloned().collect();
        queue.delete(&done).await?;
    }
}

/// The most memory that this process has had so far, in MiB. Linux only.
fn peak() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no such field in /proc")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no figure in /proc")?.parse()?;
    Ok(kib / 1024.0)
}
