use ledgerline_stores::EventPattern;
use serde_json::{Value, json};

use super::*;
use crate::event_source::Mapping;
use crate::event_source::simulation::{Simulation, Weather};

const TEMPLATE: &str = "
Resources:
  Failures: { Type: AWS::SQS::Queue, Properties: { MessageRetentionPeriod: 1209600 } }
  Events: { Type: AWS::SNS::Topic }
";

#[tokio::test]
async fn references_to_queues_and_topics_are_what_the_sdk_takes() {
    let template = Template::parse(TEMPLATE, "test").unwrap();
    let messaging = start(&template).await.unwrap();
    let mut scope = Scope::default();
    add_to(&mut scope, &template, &messaging);
    assert_eq!(scope.resources["Failures"], messaging.queue_url("ledgerline-failures"));
    assert_eq!(scope.resources["Events"], LocalMessaging::topic_arn("ledgerline-events"));
    assert_eq!(scope.attributes["Failures.Arn"], LocalMessaging::queue_arn("ledgerline-failures"));
    assert_eq!(scope.attributes["Failures.QueueName"], "ledgerline-failures");
    messaging.stop().await;
}

#[tokio::test]
async fn what_is_given_up_is_told_to_the_queue_as_lambda_tells_it_and_kept_in_a_file() {
    let messaging = start(&Template::parse(TEMPLATE, "test").unwrap()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = FailureFile::new(directory.path().join("Failures.jsonl"));
    let destination = FailureQueue::new(messaging.queues(), "ledgerline-failures", file.clone());
    assert_eq!(destination.depth().await.unwrap(), 0);

    let never = EventPattern::parse(&json!({"eventName": ["INSERT"]})).unwrap();
    let age = Some(std::time::Duration::from_secs(60));
    let mapping = Mapping { maximum_record_age: age, filters: vec![never], ..Mapping::new("Sync.Ledger", "sync") };
    let simulation = Simulation::new(1, mapping, 1, Weather::default());
    simulation.stream.put(&json!({"pk": {"S": "p"}, "sk": {"S": "s"}}), simulation.clock.now());
    simulation.clock.advance(std::time::Duration::from_secs(61));
    let source = simulation.start(std::sync::Arc::new(crate::functions::InProcess::default())).await.unwrap();
    simulation.settle(&source).await.unwrap();
    source.stop().await;
    let [discarded] = simulation.failures.all().try_into().unwrap();
    destination.take(&discarded).await.unwrap();

    let [told] = messaging.queues().receive("ledgerline-failures", 10).await.unwrap().try_into().unwrap();
    let told: Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!(told, discarded.message);
    assert_eq!((&told["version"], &told["DDBStreamBatchInfo"]["batchSize"]), (&json!("1.0"), &json!(1)));
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(file.path()).unwrap()).unwrap();
    assert_eq!(kept["records"][0]["dynamodb"]["Keys"]["sk"]["S"], "s");
    assert_eq!(destination.depth().await.unwrap(), 1);
    messaging.stop().await;
}
