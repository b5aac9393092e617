use serde_json::json;

use super::*;

fn scope(template: &Template) -> Scope {
    let parameters = [
        ("JwtIssuer", "https://issuer.test"),
        ("JwtAudience", "ledgerline"),
        ("JwksUrl", "http://127.0.0.1:1/jwks"),
        ("DatabaseUrl", "postgres://db.test/ledgerline"),
        ("CursorKey", "key"),
    ];
    Scope {
        parameters: parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        resources: template.resource_names(),
        ..Scope::default()
    }
}

#[test]
fn the_deployed_functions_get_their_environment() {
    let template = Template::parse(BUILT_IN, "test").unwrap();
    let binaries: Vec<_> = template.functions.iter().map(|function| function.binary.as_str()).collect();
    assert_eq!(
        binaries,
        ["command-api", "data-sync", "event-relay", "import-splitter", "import-worker", "query-api", "reconcile"]
    );

    let query_api = template.function("QueryApi").unwrap();
    assert_eq!(query_api.timeout, Duration::from_secs(15), "from the globals");
    let environment = template.environment(query_api, &scope(&template)).unwrap();
    assert_eq!(environment["LEDGER_TABLE"], "ledgerline-ledger");
    assert_eq!(environment["DATA_TABLE"], "ledgerline-data");
    assert_eq!(environment["DATABASE_URL"], "postgres://db.test/ledgerline");
    assert_eq!(environment["JWT_ISSUER"], "https://issuer.test");
}

#[test]
fn a_parameter_without_a_value_is_named() {
    let template = Template::parse(BUILT_IN, "test").unwrap();
    let error = template.environment(template.function("DataSync").unwrap(), &Scope::default()).unwrap_err();
    assert!(format!("{error:#}").contains("DatabaseUrl"), "{error:#}");
}

#[test]
fn the_ledger_has_a_stream_and_the_mapping_its_settings() {
    let template = Template::parse(BUILT_IN, "test").unwrap();
    let ledger = template.tables.iter().find(|table| table.logical_id == "Ledger").unwrap();
    assert_eq!((ledger.keys.join(","), ledger.stream), ("pk,sk".to_owned(), true));

    let mapping = &template.stream_mappings[0];
    assert_eq!(mapping.table, "ledgerline-ledger");
    assert_eq!(mapping.on_failure.as_deref(), Some("DataSyncFailures"));
    let expected = Mapping {
        batch_size: 200,
        bisect: true,
        reports_item_failures: true,
        filters: vec![EventPattern::parse(&json!({"eventName": ["INSERT"]})).unwrap()],
        ..Mapping::new("DataSync.LedgerStream", "data-sync")
    };
    assert_eq!(mapping.settings, expected);
}

#[test]
fn what_cannot_run_here_is_named() {
    let template = Template::parse(BUILT_IN, "test").unwrap();
    let expected = [
        "Ledger (DynamoDB TTL)",
        "DataSyncFailuresAlarm (CloudWatch::Alarm)",
        "DataSyncLagAlarm (CloudWatch::Alarm)",
        "DataSyncLogs (Logs::LogGroup)",
        "DataSyncQuarantineAlarm (CloudWatch::Alarm)",
        "DataSyncQuarantined (Logs::MetricFilter)",
        "EventRelayFailuresAlarm (CloudWatch::Alarm)",
        "EventRelayLagAlarm (CloudWatch::Alarm)",
        "EventRelayLogs (Logs::LogGroup)",
        "EventRelayPassedOver (Logs::MetricFilter)",
        "EventRelayPassedOverAlarm (CloudWatch::Alarm)",
        "ImportRowsAgeAlarm (CloudWatch::Alarm)",
        "ImportRowsFailuresAlarm (CloudWatch::Alarm)",
        "ImportSplitterFailuresAlarm (CloudWatch::Alarm)",
        "ImportWorkerLogs (Logs::LogGroup)",
        "ImportedRows (Logs::MetricFilter)",
        "ReconcileDrift (Logs::MetricFilter)",
        "ReconcileDriftAlarm (CloudWatch::Alarm)",
        "ReconcileErrorsAlarm (CloudWatch::Alarm)",
        "ReconcileLogs (Logs::LogGroup)",
    ];
    assert_eq!(template.not_local, expected);
}

#[test]
fn every_request_has_a_route_and_reads_are_no_business_of_the_commands() {
    let template = Template::parse(BUILT_IN, "test").unwrap();
    for (method, path, function) in [
        ("GET", "/api/v1/products", "query-api"),
        ("HEAD", "/api/v1/products/p", "query-api"),
        ("POST", "/api/v1/products", "command-api"),
        ("DELETE", "/api/v1/products/p", "command-api"),
        ("TRACE", "/api/v1/products", "query-api"),
        ("POST", "/healthz", "query-api"),
        ("GET", "/", "query-api"),
        ("GET", "/api/v1", "query-api"),
    ] {
        let (route, _) = crate::routes::find(&template.routes, method, path).unwrap();
        assert_eq!(route.function, function, "{method} {path}");
    }
}

#[test]
fn what_the_api_tells_browsers_belongs_to_each_of_its_routes() {
    let template = Template::parse(BUILT_IN, "test").unwrap();
    let settings = template.document.pointer("/Resources/Api/Properties/CorsConfiguration").unwrap();
    let cors = Some(Arc::new(Cors::deserialize(settings).unwrap()));
    assert!(template.routes.iter().all(|route| route.cors == cors));
    let exposed = settings["ExposeHeaders"].as_array().unwrap();
    for header in ["etag", "idempotent-replayed", "location", "preference-applied", "retry-after", "x-request-id"] {
        assert!(exposed.contains(&Value::from(header)), "{header}");
    }
}

#[test]
fn a_route_with_a_path_and_no_method_is_refused() {
    let text = "
Resources:
  F:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: f } }
    Properties: { Events: { R: { Type: HttpApi, Properties: { Path: /x } } } }
";
    let error = Template::parse(text, "test").unwrap_err();
    assert!(format!("{error:#}").contains("event R: a route has a Method and a Path"), "{error:#}");
}

#[test]
fn conditions_joins_and_substitutions_are_evaluated() {
    let text = r#"
Parameters: { Topic: { Type: String, Default: "" }, Stage: { Type: String, Default: dev } }
Conditions: { HasTopic: !Not [!Equals [!Ref Topic, ""]] }
Resources:
  Orders: { Type: AWS::DynamoDB::Table, Properties: { KeySchema: [{ AttributeName: pk, KeyType: HASH }] } }
  F:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: f } }
    Properties:
      Environment:
        Variables:
          TOPIC: !If [HasTopic, !Ref Topic, none]
          URL: !Sub "https://${Stage}.${AWS::Region}.test/${Orders}/${!literal}"
          LIST: !Join [";", [a, !Ref Stage]]
          SIZE: 5
"#;
    let template = Template::parse(text, "test").unwrap();
    let scope = Scope { resources: template.resource_names(), ..Scope::default() };
    let environment = template.environment(template.function("F").unwrap(), &scope).unwrap();
    assert_eq!(environment["TOPIC"], "none");
    assert_eq!(environment["URL"], "https://dev.us-east-1.test/ledgerline-orders/${literal}");
    assert_eq!(environment["LIST"], "a;dev");
    assert_eq!(environment["SIZE"], "5");
}

#[test]
fn a_mapping_without_settings_has_lambdas_defaults() {
    let text = "
Resources:
  Orders:
    Type: AWS::DynamoDB::Table
    Properties: { KeySchema: [{ AttributeName: pk }], StreamSpecification: { StreamViewType: NEW_IMAGE } }
  F:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: f } }
    Properties:
      Events: { S: { Type: DynamoDB, Properties: { Stream: !GetAtt Orders.StreamArn, StartingPosition: LATEST, MaximumRetryAttempts: -1 } } }
";
    let template = Template::parse(text, "test").unwrap();
    let expected = Mapping { start: StartingPosition::Newest, ..Mapping::new("F.S", "f") };
    assert_eq!(template.stream_mappings[0].settings, expected);
}

#[test]
fn the_relay_publishes_versions_to_a_topic_that_it_is_told_of() {
    let template = Template::parse(BUILT_IN, "test").unwrap();
    let [mapping] = template
        .stream_mappings
        .iter()
        .filter(|mapping| mapping.settings.function == "event-relay")
        .collect::<Vec<_>>()[..]
    else {
        panic!("one mapping");
    };
    assert_eq!(mapping.on_failure.as_deref(), Some("EventRelayFailures"));
    assert!(mapping.settings.bisect && mapping.settings.maximum_retry_attempts.is_some());
    let record =
        |kind: &str| json!({"eventName": "INSERT", "dynamodb": {"NewImage": {"kind": {"S": kind}}}}).to_string();
    assert!(mapping.settings.accepts(&record("version")) && !mapping.settings.accepts(&record("claim")));
    assert_eq!(template.topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["ledgerline-events"]);
}

#[test]
fn queues_topics_subscriptions_and_schedules_are_read_and_what_does_not_run_is_named() {
    let text = r#"
Resources:
  Topic: { Type: AWS::SNS::Topic }
  Dead: { Type: AWS::SQS::Queue }
  Inbox:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 90
      RedrivePolicy: { deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 5 }
  Good:
    Type: AWS::SNS::Subscription
    Properties:
      TopicArn: !Ref Topic
      Protocol: sqs
      Endpoint: !GetAtt Inbox.Arn
      RawMessageDelivery: true
      FilterPolicy: { event: [PriceChanged] }
  Mail: { Type: AWS::SNS::Subscription, Properties: { TopicArn: !Ref Topic, Protocol: email, Endpoint: a@b.test } }
  OnBody:
    Type: AWS::SNS::Subscription
    Properties: { TopicArn: !Ref Topic, Protocol: sqs, Endpoint: !GetAtt Inbox.Arn, FilterPolicyScope: MessageBody }
  F:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: f } }
    Properties:
      Events:
        Tick: { Type: ScheduleV2, Properties: { ScheduleExpression: rate(1 minute) } }
        Noon: { Type: ScheduleV2, Properties: { ScheduleExpression: cron(0 12 * * ? *) } }
"#;
    let template = Template::parse(text, "test").unwrap();
    let inbox = template.queues.iter().find(|queue| queue.logical_id == "Inbox").unwrap();
    assert_eq!((inbox.name.as_str(), inbox.attributes["VisibilityTimeout"].as_str()), ("ledgerline-inbox", "90"));
    assert!(inbox.attributes["RedrivePolicy"].contains(":ledgerline-dead"));
    let [subscription] = template.subscriptions.as_slice() else { panic!("{:?}", template.subscriptions) };
    assert_eq!((subscription.topic.as_str(), subscription.queue.as_str()), ("ledgerline-topic", "ledgerline-inbox"));
    assert_eq!(subscription.settings.filter, Some(json!({"event": ["PriceChanged"]})));
    assert!(subscription.settings.raw);
    assert_eq!(template.schedules.iter().map(|schedule| schedule.id.as_str()).collect::<Vec<_>>(), ["F.Tick"]);
    let not_local = ["F.Noon (ScheduleV2)", "Mail (SNS::Subscription)", "OnBody (SNS::Subscription)"];
    assert_eq!(template.not_local, not_local);
}

#[test]
fn a_bucket_with_a_name_of_its_own_has_it_for_whoever_spells_it() {
    let template = Template::parse(BUILT_IN, "test").unwrap();
    let bucket = template.buckets.iter().find(|bucket| bucket.logical_id == "Imports").unwrap();
    let splitter = template.environment(template.function("ImportSplitter").unwrap(), &scope(&template)).unwrap();
    let commands = template.environment(template.function("CommandApi").unwrap(), &scope(&template)).unwrap();
    assert_eq!(bucket.name, "ledgerline-imports-000000000000-us-east-1");
    assert_eq!((&splitter["IMPORT_BUCKET"], &commands["IMPORT_BUCKET"]), (&bucket.name, &bucket.name));
    assert_eq!(template.notifications[0].bucket, bucket.name);
    assert!(template.buckets.iter().any(|bucket| bucket.name == "ledgerline-states"));
}
