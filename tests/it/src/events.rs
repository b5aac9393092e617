//! Domain events on their way out: from a command to a queue that subscribes, and through crashes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use lambda_runtime::{Context, LambdaEvent};
use ledgerline_app::Relay;
use ledgerline_event_relay::{Deps, service};
use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{StoredEvent, VersionItem};
use ledgerline_lambda::SystemEnvironment;
use ledgerline_local::event_source::simulation::{Simulation, Weather};
use ledgerline_local::event_source::{Invoke, InvokeError, Mapping};
use ledgerline_local::host::{Host, HostOptions, Serving};
use ledgerline_local::template::Template;
use ledgerline_testkit::{Delivered, MemoryBus, note_key, version_items};
use serde_json::{Value, json, value::RawValue};
use tower::ServiceExt as _;

/// Two queues for events: one of all prices of tenant `demo`, raw, and one of everything.
const SUBSCRIBERS: &str = "
  Prices: { Type: AWS::SQS::Queue }
  Everything: { Type: AWS::SQS::Queue }
  ToPrices:
    Type: AWS::SNS::Subscription
    Properties:
      TopicArn: !Ref Events
      Protocol: sqs
      Endpoint: !GetAtt Prices.Arn
      RawMessageDelivery: true
      FilterPolicy: { event: [PriceChanged], tenantCode: [demo] }
  ToEverything:
    Type: AWS::SNS::Subscription
    Properties: { TopicArn: !Ref Events, Protocol: sqs, Endpoint: !GetAtt Everything.Arn }

Outputs:
";

async fn host_with_subscribers(directory: &std::path::Path) -> Host {
    let template = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml")).unwrap();
    let path = directory.join("template.yaml");
    std::fs::write(&path, template.replacen("\nOutputs:\n", SUBSCRIBERS, 1)).unwrap();
    let options = HostOptions {
        port: 0,
        data_dir: directory.join("data"),
        ephemeral: true,
        template: Some(path),
        database_url: None,
        serving: Serving::InProcess,
    };
    Host::start(options).await.unwrap()
}

async fn send(host: &Host, path: &str, if_match: Option<&str>, body: &Value) -> StatusCode {
    let mut request = Request::builder().method(Method::POST).uri(path).header("content-type", "application/json");
    request = request.header("authorization", format!("Bearer {}", host.token()));
    if let Some(version) = if_match {
        request = request.header("if-match", version);
    }
    host.answer(request.body(Body::from(body.to_string())).unwrap()).await.status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_s_event_reaches_the_queues_whose_filter_matches_it() {
    let directory = tempfile::tempdir().unwrap();
    let host = host_with_subscribers(directory.path()).await;
    let product = json!({"sk": "ring é", "code": "R", "name": "Ring", "attributes": {"price": "10.00"}});
    assert_eq!(send(&host, "/api/v1/products", None, &product).await, StatusCode::CREATED);
    let path = "/api/v1/products/ring%20%C3%A9/commands/change-price";
    assert_eq!(send(&host, path, Some("\"1\""), &json!({"price": "12.50"})).await, StatusCode::OK);
    assert_eq!(send(&host, path, Some("\"1\""), &json!({"price": "13"})).await, StatusCode::PRECONDITION_FAILED);
    host.caught_up().await.unwrap();

    let [price] = host.queues().receive("ledgerline-prices", 10).await.unwrap().try_into().unwrap();
    let body: Value = serde_json::from_str(&price.body).unwrap();
    assert_eq!((&body["event"], &body["sk"], &body["version"]), (&json!("PriceChanged"), &json!("ring é"), &json!(2)));
    assert_eq!(body["data"], json!({"from": "10.00", "to": "12.50"}));
    let expected = [
        ("dedupeId", "PRODUCT#demo#ring é@2#0"),
        ("event", "PriceChanged"),
        ("tenantCode", "demo"),
        ("type", "PRODUCT"),
    ];
    assert_eq!(price.attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());

    let all = host.queues().receive("ledgerline-everything", 10).await.unwrap();
    let events: Vec<Value> = all
        .iter()
        .map(|message| {
            serde_json::from_str::<Value>(&message.body).unwrap()["MessageAttributes"]["event"]["Value"].clone()
        })
        .collect();
    assert_eq!(events, ["ProductCreated", "PriceChanged"], "nothing of the command that was refused");
    let status = host.mappings().read().await.unwrap();
    let relay = status.event_sources.iter().find(|source| source.function == "event-relay").unwrap();
    assert_eq!((relay.records_behind, relay.lag_seconds, relay.failure_depth), (0, 0.0, 0));
    host.stop().await.unwrap();
}

/// The relay's own function, over a bus in memory.
struct Function {
    bus: MemoryBus,
    /// So many invocations from the first on do all their work, and then their process ends.
    crashes: AtomicU32,
}

#[async_trait]
impl Invoke for Function {
    async fn invoke(&self, _: &str, event: String) -> Result<String, InvokeError> {
        let relay = Relay::new(Arc::new(self.bus.clone()), Arc::new(SystemEnvironment));
        let payload = RawValue::from_string(event).unwrap();
        let answer = service(Deps { relay }).oneshot(LambdaEvent::new(payload, Context::default())).await.unwrap();
        // Here a simulated crash may cut it off.
        tokio::task::yield_now().await;
        let left = self.crashes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Err(InvokeError::Failed("its process ended after it had published".to_owned())),
            Err(_) => Ok(serde_json::to_string(&answer).unwrap()),
        }
    }
}

/// The relay's mapping, as it is deployed.
fn mapping() -> Mapping {
    let template = Template::load(Some(concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml").as_ref())).unwrap();
    let mut mappings = template.stream_mappings.into_iter().map(|mapping| mapping.settings);
    mappings.find(|mapping| mapping.function == "event-relay").unwrap()
}

fn put(simulation: &Simulation, item: &VersionItem) {
    let image: serde_dynamo::Item = serde_dynamo::to_item(item).unwrap();
    simulation.stream.put(&serde_json::to_value(image).unwrap(), simulation.clock.now());
}

/// What a subscriber has that keeps of each dedupe id the first message, by entity, in order.
fn kept(bus: &MemoryBus) -> BTreeMap<String, Vec<String>> {
    let mut kept: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in bus.published() {
        let of_entity = kept.entry(message.entity.to_string()).or_default();
        if !of_entity.contains(&message.dedupe_id) {
            of_entity.push(message.dedupe_id);
        }
    }
    kept
}

#[tokio::test]
async fn a_relay_that_crashes_between_publishing_and_answering_publishes_again_under_the_same_id() {
    let function = Arc::new(Function { bus: MemoryBus::default(), crashes: AtomicU32::new(2) });
    let simulation = Simulation::new(1, mapping(), 1, Weather::default());
    for item in version_items(&note_key("a"), 3) {
        put(&simulation, &item);
    }
    let source = simulation.start(Arc::<Function>::clone(&function)).await.unwrap();
    simulation.settle(&source).await.unwrap();
    source.stop().await;
    let published: Vec<String> = function.bus.published().into_iter().map(|message| message.dedupe_id).collect();
    assert!(published.len() > 3, "{published:?}");
    assert_eq!(kept(&function.bus)["NOTE#acme#a"], [1, 2, 3].map(|version| format!("NOTE#acme#a@{version}#0")));
}

#[tokio::test]
async fn a_thousand_storms_of_crashes_and_partial_failures_lose_no_event_and_keep_each_entity_s_order() {
    const CASES: u64 = 1_000;
    let (mut events, mut repeated, mut killed) = (0, 0, 0);
    for seed in 0..CASES {
        let mut random = fastrand::Rng::with_seed(seed);
        let weather = Weather { refused: 0.1, unanswered: 0.1, delay: Duration::from_millis(300) };
        let simulation = Simulation::new(seed, mapping(), random.usize(1..4), weather);
        let bus = MemoryBus::default();
        let mut luck = random.fork();
        bus.fail(move |_| {
            let away = || StoreError::Unavailable { store: "bus", reason: "bad luck".to_owned() };
            match luck.u8(0..10) {
                0 => Delivered::No(away()),
                1 => Delivered::Unanswered(away()),
                _ => Delivered::Yes,
            }
        });
        let function = Arc::new(Function { bus: bus.clone(), crashes: AtomicU32::new(0) });
        let mut expected = BTreeMap::new();
        let mut histories: Vec<_> =
            (0..random.usize(1..4)).map(|number| history(&mut random, &format!("n{number}"), &mut expected)).collect();
        while histories.iter().any(|history| !history.is_empty()) {
            // Some of what there is, in an order in which it may have been written.
            for _ in 0..random.usize(1..8) {
                let place = random.usize(..histories.len());
                if !histories[place].is_empty() {
                    put(&simulation, &histories[place].remove(0));
                }
            }
            if random.u8(0..4) == 0 {
                simulation.stream.split();
            }
            let source = simulation.start(Arc::<Function>::clone(&function)).await.unwrap();
            for _ in 0..random.usize(0..12) {
                simulation.step().await;
            }
            source.kill().await;
            killed += 1;
        }
        let source = simulation.start(Arc::<Function>::clone(&function)).await.unwrap();
        simulation.settle(&source).await.unwrap();
        source.stop().await;
        assert_eq!(kept(&bus), expected, "seed {seed}");
        assert!(simulation.failures.all().is_empty(), "nothing was given up, seed {seed}");
        let distinct = expected.values().flatten().count();
        events += distinct;
        repeated += bus.published().len() - distinct;
    }
    println!(
        "{CASES} cases, seeds 0 to {}: {events} events, 0 lost, {repeated} repetitions told, {killed} kills",
        CASES - 1
    );
}

/// The versions of a note, some with several events; notes the ids to expect.
fn history(random: &mut fastrand::Rng, sk: &str, expected: &mut BTreeMap<String, Vec<String>>) -> Vec<VersionItem> {
    let mut items = version_items(&note_key(sk), random.u64(1..6));
    for item in &mut items {
        for _ in 0..random.usize(0..2) {
            item.events.push(StoredEvent { name: "Rated".to_owned(), v: 1, data: json!({"stars": "5"}) });
        }
        item.hash = item.computed_hash().unwrap();
        let ids = (0..item.events.len()).map(|index| format!("{}@{}#{index}", item.key, item.version));
        expected.entry(item.key.to_string()).or_default().extend(ids);
    }
    items
}
