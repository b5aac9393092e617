use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, Get, TransactGetItem};
use futures::StreamExt as _;
use ledgerline_app::{CommandError, CommandRequest, IfMatch};
use ledgerline_kernel::Action;
use ledgerline_ledger_dynamodb::DynamoLedger;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{Store, TABLE, Writer, announce, client, scale, seed};

const ENDPOINT: &str = "LEDGERLINE_STORM_ENDPOINT";
const RANGE: &str = "LEDGERLINE_STORM_RANGE";
/// Requests that the command process works on at once.
const IN_FLIGHT: usize = 8;

/// What is asked of a product: to be made, and then to have another code.
const COMMANDS_EACH: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_process_that_is_killed_leaves_no_half_command_and_its_retries_complete() {
    let store = Store::start().await;
    let (kills, started) = (scale(500), Instant::now());
    let mut random = fastrand::Rng::with_seed(seed());
    let mut answered = Answered::default();
    let (mut effects_without_answer, mut neither) = (0, 0);
    for _ in 0..kills {
        let mut process = CommandProcess::start(&store, answered.first_open()..usize::MAX).await;
        process.read_some_answers(&mut answered, random.usize(..2 * IN_FLIGHT)).await;
        tokio::time::sleep(Duration::from_micros(random.u64(..50_000))).await;
        process.child.start_kill().unwrap();
        process.read_answers(&mut answered).await;
        for product in answered.open() {
            match completed_commands(&store, product).await {
                0 => neither += 1,
                _ => effects_without_answer += 1,
            }
        }
    }
    let products = answered.beyond();
    let mut last = CommandProcess::start(&store, answered.first_open()..products).await;
    last.read_answers(&mut answered).await;
    assert_eq!(answered.first_open(), products, "a retry did not complete");
    let seconds = started.elapsed().as_secs_f64();

    let contents = store.contents().await;
    contents.assert_contiguous();
    assert_eq!(contents.versions.len(), products);
    assert_eq!(contents.version_count(), products * COMMANDS_EACH, "not one effect for each key");
    assert_eq!(contents.remembered.len(), products * COMMANDS_EACH);
    assert_eq!(contents.claims.len(), products);
    for (key, history) in &contents.versions {
        let newest = history.last().unwrap();
        let claim = format!("UNIQUE#acme#PRODUCT#code#{}", newest.code);
        assert_eq!(contents.claims.get(&claim), Some(&key.to_string()));
        let hashes: Vec<_> = history.iter().map(|item| item.hash.to_string()).collect();
        let product: usize = key.sk.to_string().trim_start_matches("k-").parse().unwrap();
        assert_eq!(answered.hashes[&product], hashes, "{key} was answered with another version");
    }
    store.dynamo.stop().await;
    announce(
        "kill -9",
        &format!(
            "{kills} kills, {} commands with a key and a claim: 0 half, 0 doubled, {products} products complete; \
             when killed, {effects_without_answer} unanswered products had an effect and {neither} had none; {seconds:.1} s",
            products * COMMANDS_EACH,
        ),
    );
}

/// The command process: works through its range and prints a line for each product.
#[test]
#[ignore = "what the storm kills; nothing by itself"]
fn command_process() {
    let (Ok(endpoint), Ok(range)) = (std::env::var(ENDPOINT), std::env::var(RANGE)) else { return };
    let (from, until) = range.split_once(' ').unwrap();
    let range = from.parse().unwrap()..until.parse::<usize>().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let writer = Writer::products(DynamoLedger::new(client(&endpoint).await, TABLE));
        say("\nready");
        let products = futures::stream::iter(range).map(|product| complete(&writer, product));
        products.buffer_unordered(IN_FLIGHT).for_each(|line| async move { say(&line) }).await;
    });
}

fn say(line: &str) {
    println!("{line}");
}

async fn complete(writer: &Writer, product: usize) -> String {
    let (sk, code, next) = (format!("k-{product}"), format!("C-{product}"), format!("D-{product}"));
    let create = json!({"sk": sk, "code": code, "name": "Mortal"}).to_string();
    let created = answer(writer, &format!("create-{product}"), writer.create(&create)).await;
    let change = json!({"code": next}).to_string();
    let change = writer.change(Action::Update, &sk, IfMatch::Any, &change);
    let changed = answer(writer, &format!("change-{product}"), change).await;
    format!("done {product} {created} {changed}")
}

/// Sends a request until it is answered; answers the version's hash.
async fn answer(writer: &Writer, key: &str, request: CommandRequest<'_>) -> String {
    loop {
        let request = CommandRequest { idempotency_key: Some(key.to_owned()), ..request.clone() };
        match writer.send(request).await {
            Ok(accepted) => return accepted.item.hash.to_string(),
            Err(CommandError::InFlight | CommandError::Contended(_)) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{key}: {error}"),
        }
    }
}

struct CommandProcess {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl CommandProcess {
    /// Starts one on these products and waits until it is about to begin.
    async fn start(store: &Store, products: std::ops::Range<usize>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["storms::kills::command_process", "--exact", "--ignored", "--nocapture"])
            .env(ENDPOINT, store.dynamo.endpoint())
            .env(RANGE, format!("{} {}", products.start, products.end))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while lines.next_line().await.unwrap().expect("the command process ended early") != "ready" {}
        Self { child, lines }
    }

    /// Waits for so many answers.
    async fn read_some_answers(&mut self, answered: &mut Answered, count: usize) {
        for _ in 0..count {
            answered.add(&self.lines.next_line().await.unwrap().expect("the command process ended early"));
        }
    }

    /// Reads what it has answered, until it is dead or done.
    async fn read_answers(&mut self, answered: &mut Answered) {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            answered.add(&line);
        }
        self.child.wait().await.unwrap();
    }
}

/// The answers that reached the client: the hashes of each product's two versions.
#[derive(Default)]
struct Answered {
    hashes: BTreeMap<usize, Vec<String>>,
}

impl Answered {
    fn add(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        // The last line of a killed process may be cut off.
        let ["done", product, created, changed] = words.as_slice() else { return };
        if changed.len() == created.len() {
            let hashes = vec![(*created).to_owned(), (*changed).to_owned()];
            let first = self.hashes.entry(product.parse().unwrap()).or_insert_with(|| hashes.clone());
            assert_eq!(*first, hashes, "product {product} was answered in two ways");
        }
    }

    fn first_open(&self) -> usize {
        (0..).find(|product| !self.hashes.contains_key(product)).unwrap()
    }

    /// One more than the last product that may have been begun.
    fn beyond(&self) -> usize {
        self.hashes.last_key_value().map_or(0, |(last, _)| last + 1) + IN_FLIGHT
    }

    fn open(&self) -> impl Iterator<Item = usize> {
        (self.first_open()..self.beyond()).filter(|product| !self.hashes.contains_key(product))
    }
}

/// How many of a product's two commands are in the ledger, in one look; each of them is there with
/// all that belongs to it, or not at all.
async fn completed_commands(store: &Store, product: usize) -> usize {
    let (first, second) = (format!("k-{product}@0000000001"), format!("k-{product}@0000000002"));
    let claim = |letter: char| format!("UNIQUE#acme#PRODUCT#code#{letter}-{product}");
    let record = |command: &str| format!("IDEMPOTENCY#acme#{command}-{product}");
    let keys = [
        ("PRODUCT#acme".to_owned(), first.as_str()),
        (claim('C'), "claim"),
        (record("create"), "idempotency"),
        ("PRODUCT#acme".to_owned(), second.as_str()),
        (claim('D'), "claim"),
        (record("change"), "idempotency"),
    ];
    let get = |(pk, sk): &(String, &str)| {
        let get = Get::builder()
            .table_name(TABLE)
            .key("pk", AttributeValue::S(pk.clone()))
            .key("sk", AttributeValue::S((*sk).to_owned()));
        TransactGetItem::builder().get(get.build().unwrap()).build()
    };
    let request = store.client.transact_get_items().set_transact_items(Some(keys.iter().map(get).collect()));
    let answers = request.send().await.unwrap().responses.unwrap();
    let there: Vec<bool> = answers.iter().map(|answer| answer.item.is_some()).collect();
    match there.as_slice() {
        [false, false, false, false, false, false] => 0,
        [true, true, true, false, false, false] => 1,
        // The change has given the first code up.
        [true, false, true, true, true, true] => 2,
        _ => panic!("half a command on product {product}: {there:?} of {keys:?}"),
    }
}
