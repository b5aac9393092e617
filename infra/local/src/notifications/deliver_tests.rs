use std::path::Path;

use async_trait::async_trait;
use ledgerline_stores::{CreatedObject, LocalMessaging, LocalS3, ObjectListener as _};
use serde_json::{Value, json};

use super::*;
use crate::event_source::{FailureFile, InvokeError};
use crate::notifications::{AsyncFailures, Rule};

/// A function that fails so often before it succeeds, and remembers its events.
struct Function {
    failures: Mutex<u32>,
    hangs: bool,
    away: bool,
    events: Mutex<Vec<Value>>,
}

impl Function {
    fn failing(failures: u32) -> Arc<Self> {
        Arc::new(Self { failures: Mutex::new(failures), hangs: false, away: false, events: Mutex::default() })
    }

    fn keys(&self) -> Vec<String> {
        let key = |event: &Value| event["Records"][0]["s3"]["object"]["key"].as_str().unwrap().to_owned();
        self.events.lock().unwrap().iter().map(key).collect()
    }
}

#[async_trait]
impl Invoke for Function {
    async fn invoke(&self, function: &str, event: String) -> Result<String, InvokeError> {
        assert_eq!(function, "splitter");
        self.events.lock().unwrap().push(serde_json::from_str(&event).unwrap());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let mut failures = self.failures.lock().unwrap();
        if *failures == 0 {
            return Ok("null".to_owned());
        }
        *failures -= 1;
        match self.away {
            true => Err(InvokeError::Unavailable("nobody there".to_owned())),
            false => Err(InvokeError::Failed("it cannot".to_owned())),
        }
    }
}

fn rule() -> Rule {
    Rule {
        id: "Splitter.Uploaded".to_owned(),
        function: "splitter".to_owned(),
        bucket: "files".to_owned(),
        events: vec!["s3:ObjectCreated:*".to_owned()],
        prefix: "imports/".to_owned(),
        suffix: String::new(),
        invoke: AsyncInvoke {
            on_failure: Some("lost".to_owned()),
            dead_letters: Some("dead".to_owned()),
            ..AsyncInvoke::default()
        },
    }
}

fn object(key: &str) -> CreatedObject {
    CreatedObject {
        event: "ObjectCreated:Put",
        bucket: "files".to_owned(),
        key: key.to_owned(),
        size: 3,
        etag: "e".to_owned(),
    }
}

/// A journal in a folder, queues for failures, and a clock that the test moves.
struct World {
    folder: tempfile::TempDir,
    messaging: LocalMessaging,
    clock: Clock,
}

impl World {
    async fn new() -> Self {
        let messaging = LocalMessaging::start().await.unwrap();
        for queue in ["lost", "dead"] {
            messaging.create_queue(queue, BTreeMap::new()).await.unwrap();
        }
        // Not before the notifications, whose times are the machine's.
        let clock = Clock::manual(Utc::now() + Duration::from_secs(60));
        Self { folder: tempfile::tempdir().unwrap(), messaging, clock }
    }

    fn journal(&self) -> Arc<Journal> {
        Arc::new(Journal::open(&self.folder.path().join("notifications"), &[rule()]).unwrap())
    }

    fn start(&self, journal: &Arc<Journal>, function: &Arc<Function>) -> Deliveries {
        let file = FailureFile::new(self.folder.path().join("failures.jsonl"));
        let failures = AsyncFailures::new(self.messaging.queues(), &rule().invoke, file);
        let failures: BTreeMap<String, Arc<dyn FailureDestination>> = [(rule().id, Arc::new(failures) as _)].into();
        Deliveries::start(Arc::clone(journal), Arc::<Function>::clone(function), failures, self.clock.clone())
    }

    fn files(&self) -> usize {
        files(&self.folder.path().join("notifications"))
    }
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Waits until something is so, and lets no time pass.
async fn soon(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_upload_invokes_the_function_once_and_leaves_nothing_behind() {
    let (world, function) = (World::new().await, Function::failing(0));
    let journal = world.journal();
    let s3 = LocalS3::start_with(&world.folder.path().join("s3"), Arc::<Journal>::clone(&journal)).await.unwrap();
    s3.create_bucket("files").unwrap();
    let endpoint = s3.endpoint().to_owned();
    let config = ledgerline_lambda::Config::new(move |name| match name {
        "AWS_ENDPOINT_URL_S3" => Some(endpoint.clone()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
        _ => None,
    });
    let client = ledgerline_lambda::s3_client(&config).await;
    let deliveries = world.start(&journal, &function);
    for key in ["imports/acme/é 1.csv", "exports/other.csv"] {
        client.put_object().bucket("files").key(key).body(b"a,b\n".to_vec().into()).send().await.unwrap();
    }
    let reader = deliveries.reader().clone();
    soon(|| reader.is_empty()).await;
    deliveries.stop().await;
    assert_eq!(function.keys(), ["imports/acme/%C3%A9+1.csv"]);
    let status = reader.read().await.unwrap().remove(0);
    assert_eq!((status.waiting, status.delivered, status.given_up, status.last_error), (0, 1, 0, None));
    assert_eq!(world.files(), 0);
    s3.stop().await;
}

#[tokio::test]
async fn what_was_not_delivered_when_the_process_was_killed_is_delivered_by_the_next_one() {
    let world = World::new().await;
    let journal = world.journal();
    journal.created(&object("imports/before")).await.unwrap();
    let hanging = Arc::new(Function { hangs: true, ..Arc::into_inner(Function::failing(0)).unwrap() });
    let deliveries = world.start(&journal, &hanging);
    soon(|| hanging.keys().len() == 1).await;
    deliveries.task.abort();
    journal.created(&object("imports/unseen")).await.unwrap();
    drop(journal);
    // Half a file, as a crash leaves it: whoever uploaded that was not answered.
    std::fs::write(world.folder.path().join("notifications/half.new"), "{").unwrap();

    let function = Function::failing(0);
    let journal = world.journal();
    let deliveries = world.start(&journal, &function);
    soon(|| deliveries.reader().is_empty()).await;
    deliveries.stop().await;
    assert_eq!(function.keys(), ["imports/before", "imports/unseen"]);
}

#[tokio::test]
async fn a_function_that_fails_is_tried_again_after_a_minute_and_after_two() {
    let (world, function) = (World::new().await, Function::failing(2));
    let journal = world.journal();
    journal.created(&object("imports/a")).await.unwrap();
    let deliveries = world.start(&journal, &function);
    let begun = world.clock.now();
    for (failures, seconds) in [(1, 60), (2, 120)] {
        soon(|| journal.waiting().first().is_some_and(|waiting| waiting.failures == failures)).await;
        let due = journal.waiting()[0].due;
        assert_eq!(due - world.clock.now(), chrono::TimeDelta::seconds(seconds));
        while !world.clock.advance_to_next() {
            tokio::task::yield_now().await;
        }
    }
    soon(|| deliveries.reader().is_empty()).await;
    assert_eq!((world.clock.now() - begun).num_seconds(), 180);
    assert_eq!(function.keys().len(), 3);
    deliveries.stop().await;
}

#[tokio::test]
async fn what_fails_for_good_goes_to_the_destination_the_dead_letter_queue_and_a_file() {
    let (world, function) = (World::new().await, Function::failing(u32::MAX));
    let journal = world.journal();
    journal.created(&object("imports/a")).await.unwrap();
    let deliveries = world.start(&journal, &function);
    for _ in 0..2 {
        while !world.clock.advance_to_next() {
            tokio::task::yield_now().await;
        }
    }
    soon(|| deliveries.reader().is_empty()).await;
    let reader = deliveries.reader().clone();
    deliveries.stop().await;
    let event = function.events.lock().unwrap()[0].clone();
    let [lost] = world.messaging.queues().receive("lost", 10).await.unwrap().try_into().unwrap();
    let lost: Value = serde_json::from_str(&lost.body).unwrap();
    let context = json!({
        "requestId": lost["requestContext"]["requestId"],
        "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:splitter:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    });
    assert_eq!((&lost["requestContext"], &lost["requestPayload"]), (&context, &event));
    assert!(lost["responsePayload"]["errorMessage"].as_str().unwrap().contains("it cannot"));
    let [dead] = world.messaging.queues().receive("dead", 10).await.unwrap().try_into().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&dead.body).unwrap(), event);
    assert_eq!(dead.attributes["RequestID"], context["requestId"].as_str().unwrap());
    let status = reader.read().await.unwrap().remove(0);
    assert_eq!((status.given_up, status.failure_depth, status.waiting), (1, 1, 0));
    assert_eq!(world.files(), 0);
}

#[tokio::test]
async fn a_function_that_is_away_uses_up_no_retry() {
    let world = World::new().await;
    let function = Arc::new(Function { away: true, ..Arc::into_inner(Function::failing(7)).unwrap() });
    let journal = world.journal();
    journal.created(&object("imports/a")).await.unwrap();
    let deliveries = world.start(&journal, &function);
    while !deliveries.reader().is_empty() {
        tokio::task::yield_now().await;
        let _ = world.clock.advance_to_next();
    }
    assert_eq!(function.keys().len(), 8);
    deliveries.stop().await;
}

#[tokio::test]
async fn stopping_leaves_what_is_not_done_for_the_next_start() {
    let world = World::new().await;
    let hanging = Arc::new(Function { hangs: true, ..Arc::into_inner(Function::failing(0)).unwrap() });
    let journal = world.journal();
    for number in 0..10 {
        journal.created(&object(&format!("imports/{number}"))).await.unwrap();
    }
    let deliveries = world.start(&journal, &hanging);
    soon(|| hanging.keys().len() == CONCURRENCY).await;
    deliveries.stop.send_replace(true);
    while !deliveries.task.is_finished() {
        tokio::task::yield_now().await;
        let _ = world.clock.advance_to_next();
    }
    deliveries.stop().await;
    assert_eq!((hanging.keys().len(), world.files()), (CONCURRENCY, 10));
}
