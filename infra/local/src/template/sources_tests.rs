use ledgerline_stores::EventPattern;
use serde_json::json;

use super::*;
use crate::template::Template;

const TEMPLATE: &str = r#"
Resources:
  Files: { Type: AWS::S3::Bucket }
  Lost: { Type: AWS::SQS::Queue }
  Dead: { Type: AWS::SQS::Queue }
  Rows:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 180
      RedrivePolicy: { deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 5 }
  Splitter:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: splitter } }
    Properties:
      EventInvokeConfig:
        MaximumEventAgeInSeconds: 3600
        MaximumRetryAttempts: 1
        DestinationConfig: { OnFailure: { Type: SQS, Destination: !GetAtt Lost.Arn } }
      DeadLetterQueue: { Type: SQS, TargetArn: !GetAtt Dead.Arn }
      Events:
        Uploaded:
          Type: S3
          Properties:
            Bucket: !Ref Files
            Events: ["s3:ObjectCreated:*"]
            Filter: { S3Key: { Rules: [{ Name: prefix, Value: imports/ }, { Name: Suffix, Value: /source }] } }
        Gone: { Type: S3, Properties: { Bucket: !Ref Files, Events: "s3:ObjectRemoved:*" } }
  Worker:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: worker } }
    Properties:
      Timeout: 30
      Events:
        Rows:
          Type: SQS
          Properties:
            Queue: !GetAtt Rows.Arn
            BatchSize: 20
            MaximumBatchingWindowInSeconds: 2
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: { MaximumConcurrency: 8 }
            FilterCriteria: { Filters: [{ Pattern: '{"body":{"tenant":["acme"]}}' }] }
        Off: { Type: SQS, Properties: { Queue: !GetAtt Rows.Arn, Enabled: false } }
"#;

#[test]
fn a_mapping_of_a_queue_is_read_with_all_its_settings_unless_it_is_off() {
    let template = Template::parse(TEMPLATE, "test").unwrap();
    let [mapping] = template.queue_mappings.as_slice() else { panic!("{:?}", template.queue_mappings) };
    assert_eq!(mapping.queue, "ledgerline-rows");
    let expected = QueueMapping {
        batch_size: 20,
        window: Duration::from_secs(2),
        reports_item_failures: true,
        maximum_concurrency: 8,
        filters: vec![EventPattern::parse(&json!({"body": {"tenant": ["acme"]}})).unwrap()],
        visibility: Duration::from_secs(180),
        ..QueueMapping::new("Worker.Rows", "worker")
    };
    assert_eq!(mapping.settings, expected);
    let rows = template.queues.iter().find(|queue| queue.logical_id == "Rows").unwrap();
    assert_eq!(rows.dead_letters.as_deref(), Some("ledgerline-dead"));
    assert_eq!(template.not_local, ["Splitter.Gone (S3)", "Worker.Off (SQS)"]);
}

#[test]
fn a_notification_of_a_bucket_is_read_with_what_becomes_of_failures() {
    let template = Template::parse(TEMPLATE, "test").unwrap();
    let [rule] = template.notifications.as_slice() else { panic!("{:?}", template.notifications) };
    let expected = Rule {
        id: "Splitter.Uploaded".to_owned(),
        function: "splitter".to_owned(),
        bucket: "ledgerline-files".to_owned(),
        events: vec!["s3:ObjectCreated:*".to_owned()],
        prefix: "imports/".to_owned(),
        suffix: "/source".to_owned(),
        invoke: AsyncInvoke {
            retries: 1,
            max_age: Duration::from_secs(3600),
            on_failure: Some("ledgerline-lost".to_owned()),
            dead_letters: Some("ledgerline-dead".to_owned()),
        },
    };
    assert_eq!(*rule, expected);
}

#[test]
fn what_lambda_would_refuse_is_refused_and_named() {
    for (from, to, says) in [
        ("VisibilityTimeout: 180", "VisibilityTimeout: 29", "VisibilityTimeout (29 s)"),
        ("MaximumBatchingWindowInSeconds: 2", "X: 2", "MaximumBatchingWindowInSeconds"),
        ("MaximumRetryAttempts: 1", "MaximumRetryAttempts: 3", "2 at most"),
        ("Queue: !GetAtt Rows.Arn, Enabled", "Queue: !GetAtt None.Arn, Enabled", "not in the template"),
        ("Name: prefix", "Name: infix", "a rule of its Filter"),
    ] {
        let error = Template::parse(&TEMPLATE.replace(from, to), "test").unwrap_err();
        assert!(format!("{error:#}").contains(says), "{error:#}");
    }
}
