//! Splitters and workers that are killed with `kill -9`, messages that come twice, and messages that others
//! see again while they are worked on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ledgerline_kernel::{ImportCounts, ImportKey, ImportState};
use ledgerline_local::queue_source::{Message, MessageSource, SqsApi};
use ledgerline_stores::QueueDepth;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::site::{Site, config, deliver, imports, rows_queue, split, worker};
use super::{announce, counts, scale, seed};

/// The variables of a process, a line each.
const VARIABLES: &str = "LEDGERLINE_STORM_VARIABLES";

/// Less than a batch takes: most of what a process works on, others see again meanwhile.
const VISIBILITY: Duration = Duration::from_secs(1);

/// Rows of a file, and of a message: few, so that there is much to be killed in.
const FILE_ROWS: usize = 1_000;
const MESSAGE_ROWS: usize = 40;

/// How many products there are.
const PRODUCTS: usize = 4_000;

/// How many of the messages that are done with come again all the same.
const TWICE: f64 = 0.2;

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_are_killed_and_messages_that_come_twice_apply_each_row_once_and_count_it_once() {
    let Some(site) = Site::start(VISIBILITY, 1_000).await else { return };
    let (kills, begun) = (scale(200), Instant::now());
    let mut random = fastrand::Rng::with_seed(seed());
    let mut catalogue = Catalogue::default();
    let (mut ended, mut versions, mut rows) = (ImportCounts::default(), 0, 0);
    let mut killed_in: BTreeMap<&str, usize> = BTreeMap::new();
    let mut processes = [Process::start(&site).await, Process::start(&site).await];
    let mut current = None;
    let mut killed = 0;
    loop {
        let (import, expected) = match current.take() {
            Some(current) => current,
            None if killed >= kills => break,
            None => {
                let (csv, expected) = catalogue.next_file(&mut random);
                (site.upload("acme", csv).await, expected)
            }
        };
        // Every other time a splitter is to be hit, which is done with a file soon.
        let most = if killed % 2 == 0 { 400 } else { 60 };
        tokio::time::sleep(Duration::from_millis(random.u64(5..most))).await;
        let status = site.status(&import).await;
        if status.job.state == ImportState::Completed {
            assert_eq!(status.counts, expected, "{import}");
            versions += expected.created + expected.updated;
            rows += expected.total();
            ended.add(&expected);
            continue;
        }
        assert!(!status.job.state.is_final(), "{status:?}");
        if killed < kills {
            let during = if status.job.split.whole { "rows were worked on" } else { "the file was read" };
            *killed_in.entry(during).or_default() += 1;
            let process = &mut processes[killed % 2];
            process.kill().await;
            *process = Process::start(&site).await;
            killed += 1;
        }
        current = Some((import, expected));
    }
    for process in &mut processes {
        process.kill().await;
    }
    let entities = usize::try_from(ended.created).unwrap();
    site.assert_sound(entities, usize::try_from(versions).unwrap()).await;
    announce(
        "imports killed",
        &format!(
            "{kills} kills ({killed_in:?}), {rows} rows ({ended:?}), {versions} versions: each row applied once and \
             counted once; {:.1} s",
            begun.elapsed().as_secs_f64()
        ),
    );
}

/// What was imported so far, and the next file.
#[derive(Default)]
struct Catalogue {
    /// Prices by product.
    prices: BTreeMap<usize, u32>,
}

impl Catalogue {
    /// A file about some products, each once, and what is to become of its rows.
    fn next_file(&mut self, random: &mut fastrand::Rng) -> (String, ImportCounts) {
        let (mut csv, mut expected) = ("sk,code,name,category,price\n".to_owned(), counts(0, 0, 0, 0));
        let mut products: Vec<usize> = (0..PRODUCTS).collect();
        random.shuffle(&mut products);
        for product in products.into_iter().take(FILE_ROWS) {
            if random.u32(..50) == 0 {
                writeln!(csv, "p-{product},P-{product},指輪 {product},rings,cheap").unwrap();
                expected.failed += 1;
                continue;
            }
            let price = if random.bool() { 10 } else { random.u32(..100) };
            writeln!(csv, "p-{product},P-{product},指輪 {product},rings,{price}.50").unwrap();
            match self.prices.insert(product, price) {
                None => expected.created += 1,
                Some(before) if before == price => expected.unchanged += 1,
                Some(_) => expected.updated += 1,
            }
        }
        (csv, expected)
    }
}

/// A process that splits and works: what is killed.
struct Process(Child);

impl Process {
    /// Starts one and waits until it is about to begin.
    async fn start(site: &Site) -> Self {
        let variables: Vec<_> = site.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["imports::kills::import_process", "--exact", "--ignored", "--nocapture"])
            .env(VARIABLES, variables.join("\n"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while lines.next_line().await.unwrap().expect("the process ended early") != "ready" {}
        Self(child)
    }

    async fn kill(&mut self) {
        self.0.start_kill().unwrap();
        assert!(!self.0.wait().await.unwrap().success(), "it had ended before it was killed");
    }
}

/// Works until it is killed.
#[test]
#[ignore = "what the storm kills; nothing by itself"]
fn import_process() {
    let Ok(variables) = std::env::var(VARIABLES) else { return };
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (&*name.to_owned().leak(), value.to_owned())).collect();
    let config = config(&variables);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let queue = Twice { queue: rows_queue(&config).await, random: Mutex::new(fastrand::Rng::new()) };
        let mapping = deliver(Arc::new(queue), Arc::new(worker(&config).await), VISIBILITY);
        let (imports, tenant) = (imports(&config).await, "acme".parse().unwrap());
        println!("\nready");
        loop {
            // S3 tells of a file until a splitter has read it.
            let jobs = imports.list(&tenant, None, 2).await.unwrap();
            for job in jobs.iter().filter(|job| !job.split.whole) {
                if let Err(error) = split(&config, &job.key, MESSAGE_ROWS).await {
                    eprintln!("{} is not split: {error}", job.key);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(mapping.reader().read().await.is_ok());
        }
    });
}

/// A queue that delivers some messages again although they were deleted.
struct Twice {
    queue: SqsApi,
    random: Mutex<fastrand::Rng>,
}

#[async_trait]
impl MessageSource for Twice {
    fn arn(&self) -> &str {
        self.queue.arn()
    }

    async fn receive(&self, max: usize, wait: Duration) -> anyhow::Result<Vec<Message>> {
        self.queue.receive(max, wait).await
    }

    async fn delete(&self, messages: &[Message]) -> anyhow::Result<()> {
        let is_forgotten = |_: &&Message| self.random.lock().unwrap().f64() < TWICE;
        let kept: Vec<_> = messages.iter().filter(|message| !is_forgotten(message)).cloned().collect();
        self.queue.delete(&kept).await
    }

    async fn release(&self, messages: &[Message]) -> anyhow::Result<()> {
        self.queue.release(messages).await
    }

    async fn depths(&self) -> anyhow::Result<QueueDepth> {
        self.queue.depths().await
    }
}

/// Waits until an import has come to its end.
pub(super) async fn completed(site: &Site, import: &ImportKey) -> ImportCounts {
    for _ in 0..1_000 {
        let status = site.status(import).await;
        if status.job.state == ImportState::Completed {
            return status.counts;
        }
        assert!(!status.job.state.is_final(), "{status:?}");
        // Each look adds up all outcomes, which the others have to wait for.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{import} is not completed");
}
