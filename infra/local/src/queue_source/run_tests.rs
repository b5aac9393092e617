use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;

use async_trait::async_trait;
use ledgerline_stores::QueueDepth;
use serde_json::Value;

use super::*;

/// A queue in memory that goes by a clock that the test moves.
#[derive(Clone)]
struct Memory {
    clock: Clock,
    held: Arc<Mutex<Vec<Held>>>,
    broken: Arc<Mutex<u32>>,
}

struct Held {
    id: u32,
    visible_at: DateTime<Utc>,
    received: u32,
}

const VISIBILITY: Duration = Duration::from_secs(60);

impl Memory {
    fn new(ids: impl IntoIterator<Item = u32>) -> Self {
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let held = ids.into_iter().map(|id| Held { id, visible_at: clock.now(), received: 0 }).collect();
        Self { held: Arc::new(Mutex::new(held)), clock, broken: Arc::default() }
    }

    fn with(&self, messages: &[Message], act: impl Fn(&mut Held)) {
        for message in messages {
            // By the last handle only.
            let place = message.receipt_handle.as_str();
            let mut held = self.held.lock().unwrap();
            held.iter_mut().filter(|held| format!("{}/{}", held.id, held.received) == place).for_each(&act);
        }
    }

    fn left(&self) -> Vec<(u32, u32)> {
        self.held.lock().unwrap().iter().map(|held| (held.id, held.received)).collect()
    }
}

#[async_trait]
impl MessageSource for Memory {
    fn arn(&self) -> &str {
        "arn:aws:sqs:us-east-1:000000000000:work"
    }

    async fn receive(&self, max: usize, wait: Duration) -> anyhow::Result<Vec<Message>> {
        {
            let mut broken = self.broken.lock().unwrap();
            if *broken > 0 {
                *broken -= 1;
                anyhow::bail!("the cable is out");
            }
        }
        let now = self.clock.now();
        let received: Vec<_> = {
            let mut held = self.held.lock().unwrap();
            let visible = held.iter_mut().filter(|held| held.visible_at <= now).take(max);
            let receive = |held: &mut Held| {
                held.received += 1;
                held.visible_at = now + VISIBILITY;
                let receipt_handle = format!("{}/{}", held.id, held.received);
                Message { id: held.id.to_string(), receipt_handle, body: held.id.to_string(), ..Message::default() }
            };
            visible.map(receive).collect()
        };
        if received.is_empty() {
            self.clock.sleep(wait).await;
        }
        Ok(received)
    }

    async fn delete(&self, messages: &[Message]) -> anyhow::Result<()> {
        self.with(messages, |held| held.received = u32::MAX);
        self.held.lock().unwrap().retain(|held| held.received < u32::MAX);
        Ok(())
    }

    async fn release(&self, messages: &[Message]) -> anyhow::Result<()> {
        let now = self.clock.now();
        self.with(messages, |held| held.visible_at = now);
        Ok(())
    }

    async fn depths(&self) -> anyhow::Result<QueueDepth> {
        let held = self.held.lock().unwrap().len();
        Ok(QueueDepth { visible: held.try_into()?, ..QueueDepth::default() })
    }
}

/// What a function does with a batch, given the bodies of its messages.
type Act = Box<dyn Fn(&[u32]) -> Result<String, InvokeError> + Send + Sync>;

/// A function that remembers what it was invoked with.
struct Function {
    act: Act,
    hangs: bool,
    batches: Mutex<Vec<Vec<u32>>>,
    at_once: Mutex<(usize, usize)>,
    clock: Option<Clock>,
}

impl Function {
    fn new(act: impl Fn(&[u32]) -> Result<String, InvokeError> + Send + Sync + 'static) -> Self {
        let (batches, at_once) = (Mutex::default(), Mutex::default());
        Self { act: Box::new(act), hangs: false, batches, at_once, clock: None }
    }

    fn seen(&self) -> Vec<u32> {
        let all: BTreeSet<u32> = self.batches.lock().unwrap().iter().flatten().copied().collect();
        all.into_iter().collect()
    }
}

#[async_trait]
impl Invoke for Function {
    async fn invoke(&self, function: &str, event: String) -> Result<String, InvokeError> {
        assert_eq!(function, "work");
        let event: Value = serde_json::from_str(&event).unwrap();
        let bodies = event["Records"].as_array().unwrap().iter().map(|record| record["body"].as_str().unwrap());
        let batch: Vec<u32> = bodies.map(|body| body.parse().unwrap()).collect();
        self.batches.lock().unwrap().push(batch.clone());
        if self.hangs {
            pending::<()>().await;
        }
        {
            let mut at_once = self.at_once.lock().unwrap();
            at_once.0 += 1;
            at_once.1 = at_once.1.max(at_once.0);
        }
        if let Some(clock) = &self.clock {
            clock.sleep(Duration::from_secs(2)).await;
        }
        self.at_once.lock().unwrap().0 -= 1;
        (self.act)(&batch)
    }
}

fn all_well(_: &[u32]) -> Result<String, InvokeError> {
    Ok(r#"{"batchItemFailures":[]}"#.to_owned())
}

fn mapping() -> QueueMapping {
    QueueMapping {
        batch_size: 5,
        reports_item_failures: true,
        maximum_concurrency: 3,
        visibility: VISIBILITY,
        ..QueueMapping::new("Work.Rows", "work")
    }
}

fn start(mapping: QueueMapping, memory: &Memory, function: &Arc<Function>) -> QueueSource {
    let parts = QueueParts {
        source: Arc::new(memory.clone()),
        functions: Arc::<Function>::clone(function),
        dead_letters: None,
        clock: memory.clock.clone(),
    };
    QueueSource::start(mapping, parts)
}

/// Lets time pass until something is so.
async fn until(memory: &Memory, is_so: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if is_so() {
            return;
        }
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        if !is_so() {
            let _ = memory.clock.advance_to_next();
        }
    }
    panic!("it never came: {:?} are left", memory.left());
}

/// Stops it; a receive that waits for a message by the clock ends first.
async fn stop(source: QueueSource, memory: &Memory) {
    source.stop.send_replace(true);
    until(memory, || source.task.is_finished()).await;
    source.stop().await;
}

#[tokio::test]
async fn everything_is_delivered_in_batches_of_the_size_set_and_deleted() {
    let (memory, function) = (Memory::new(1..=23), Arc::new(Function::new(all_well)));
    let source = start(mapping(), &memory, &function);
    until(&memory, || memory.left().is_empty()).await;
    assert_eq!(function.seen(), (1..=23).collect::<Vec<_>>());
    assert!(function.batches.lock().unwrap().iter().all(|batch| batch.len() <= 5));
    let status = source.reader().read().await.unwrap();
    assert!(status.is_empty() && status.current_error.is_none() && status.invocations >= 5, "{status:?}");
    stop(source, &memory).await;
}

#[tokio::test]
async fn as_many_invocations_run_at_a_time_as_the_mapping_allows_and_no_more() {
    let memory = Memory::new(1..=60);
    let function = Arc::new(Function { clock: Some(memory.clock.clone()), ..Function::new(all_well) });
    let source = start(mapping(), &memory, &function);
    until(&memory, || memory.left().is_empty()).await;
    assert_eq!(function.at_once.lock().unwrap().1, 3);
    assert_eq!(function.batches.lock().unwrap().len(), 12, "nothing was delivered twice");
    stop(source, &memory).await;
}

#[tokio::test]
async fn what_a_function_reports_comes_again_after_the_visibility_timeout_and_nothing_else_does() {
    let reports = |batch: &[u32]| match batch {
        [7] => all_well(batch),
        _ if batch.contains(&7) => Ok(r#"{"batchItemFailures":[{"itemIdentifier":"7"}]}"#.to_owned()),
        _ => all_well(batch),
    };
    let (memory, function) = (Memory::new(1..=10), Arc::new(Function::new(reports)));
    let source = start(mapping(), &memory, &function);
    until(&memory, || memory.left() == [(7, 1)]).await;
    let begun = memory.clock.now();
    until(&memory, || memory.left().is_empty()).await;
    assert!((memory.clock.now() - begun).to_std().unwrap() >= VISIBILITY - Duration::from_secs(2));
    assert_eq!(function.batches.lock().unwrap().len(), 3);
    let status = source.reader().read().await.unwrap();
    assert!(status.last_error.unwrap().contains("1 of 5"), "the status names what went wrong");
    stop(source, &memory).await;
}

#[tokio::test]
async fn a_batch_that_fails_comes_again_whole() {
    let failures = Mutex::new(2);
    let fails = move |batch: &[u32]| {
        let mut failures = failures.lock().unwrap();
        if *failures == 0 {
            return all_well(batch);
        }
        *failures -= 1;
        Err(InvokeError::Failed("no".to_owned()))
    };
    let (memory, function) = (Memory::new(1..=5), Arc::new(Function::new(fails)));
    let source = start(mapping(), &memory, &function);
    until(&memory, || memory.left().is_empty()).await;
    assert_eq!(*function.batches.lock().unwrap(), vec![(1..=5).collect::<Vec<_>>(); 3]);
    stop(source, &memory).await;
}

#[tokio::test]
async fn a_function_that_is_not_up_yet_is_tried_again_before_the_messages_are() {
    let absences = Mutex::new(3);
    let absent = move |batch: &[u32]| {
        let mut absences = absences.lock().unwrap();
        if *absences == 0 {
            return all_well(batch);
        }
        *absences -= 1;
        Err(InvokeError::Unavailable("nobody there".to_owned()))
    };
    let (memory, function) = (Memory::new([1]), Arc::new(Function::new(absent)));
    let source = start(mapping(), &memory, &function);
    until(&memory, || function.batches.lock().unwrap().len() == 4).await;
    assert!(memory.left().iter().all(|(_, received)| *received == 1), "one receive is enough");
    until(&memory, || memory.left().is_empty()).await;
    stop(source, &memory).await;
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_is_read_again() {
    let (memory, function) = (Memory::new(1..=3), Arc::new(Function::new(all_well)));
    *memory.broken.lock().unwrap() = 3;
    let source = start(mapping(), &memory, &function);
    until(&memory, || memory.left().is_empty()).await;
    assert!(source.reader().read().await.unwrap().last_error.unwrap().contains("the cable is out"));
    stop(source, &memory).await;
}

#[tokio::test]
async fn what_the_filter_leaves_out_is_deleted_and_not_delivered() {
    let (memory, function) = (Memory::new([1, 2]), Arc::new(Function::new(all_well)));
    let one = ledgerline_stores::EventPattern::parse(&json!({"body": ["1"]})).unwrap();
    let source = start(QueueMapping { filters: vec![one], ..mapping() }, &memory, &function);
    until(&memory, || memory.left().is_empty()).await;
    assert_eq!(function.seen(), [1]);
    stop(source, &memory).await;
}

#[tokio::test]
async fn stopping_gives_back_what_was_received_and_not_begun() {
    let (memory, function) = (Memory::new(1..=4), Arc::new(Function::new(all_well)));
    let window = Duration::from_secs(50);
    let source = start(QueueMapping { window, ..mapping() }, &memory, &function);
    while memory.left().iter().any(|(_, received)| *received == 0) {
        tokio::task::yield_now().await;
    }
    stop(source, &memory).await;
    let now = memory.clock.now();
    assert!(memory.held.lock().unwrap().iter().all(|held| held.visible_at <= now));
    assert_eq!((function.seen(), memory.left().len()), (Vec::new(), 4));
}

#[tokio::test]
async fn stopping_waits_for_what_is_under_way_but_not_for_ever() {
    for hangs in [false, true] {
        let memory = Memory::new(1..=5);
        let slow = Function { hangs, clock: Some(memory.clock.clone()), ..Function::new(all_well) };
        let function = Arc::new(slow);
        let source = start(mapping(), &memory, &function);
        while function.batches.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        stop(source, &memory).await;
        assert_eq!(memory.left().is_empty(), !hangs, "hangs: {hangs}");
    }
}

#[tokio::test]
async fn in_bad_weather_and_after_crashes_every_message_is_taken_in_the_end() {
    for seed in 0..30 {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let taken = Arc::new(Mutex::new(BTreeMap::<u32, u32>::new()));
        let taking = Arc::clone(&taken);
        let weather = move |batch: &[u32]| {
            let mut random = random.lock().unwrap();
            let (luck, lost) = (random.u8(0..10), random.bool());
            let failed: Vec<u32> = batch.iter().copied().filter(|_| random.u8(0..5) == 0).collect();
            for id in batch.iter().filter(|id| luck > 1 && !failed.contains(id)) {
                *taking.lock().unwrap().entry(*id).or_default() += 1;
            }
            let failed: Vec<_> = failed.iter().map(|id| json!({ "itemIdentifier": id.to_string() })).collect();
            match luck {
                0 => Err(InvokeError::Failed("refused".to_owned())),
                1 => Ok("nonsense".to_owned()),
                2 if lost => Err(InvokeError::Failed("the answer was lost".to_owned())),
                _ => Ok(json!({ "batchItemFailures": failed }).to_string()),
            }
        };
        let memory = Memory::new(0..100);
        let function = Arc::new(Function { clock: Some(memory.clock.clone()), ..Function::new(weather) });
        for round in 0..3 {
            let source = start(mapping(), &memory, &function);
            let turns = fastrand::Rng::with_seed(seed * 7 + round).usize(1..400);
            for _ in 0..turns {
                tokio::task::yield_now().await;
                if memory.held.lock().unwrap().len() > 90 {
                    let _ = memory.clock.advance_to_next();
                }
            }
            source.kill().await;
        }
        let source = start(mapping(), &memory, &function);
        until(&memory, || memory.left().is_empty()).await;
        stop(source, &memory).await;
        let taken: Vec<u32> = taken.lock().unwrap().keys().copied().collect();
        assert_eq!(taken, (0..100).collect::<Vec<_>>(), "seed {seed}");
    }
}
