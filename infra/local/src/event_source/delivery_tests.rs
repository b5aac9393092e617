use super::*;

fn records(numbers: impl IntoIterator<Item = u64>) -> Vec<Record> {
    let record = |number: u64| Record {
        sequence_number: SequenceNumber::parse(&number.to_string()).unwrap(),
        item: number.to_string(),
        created: moment(0),
        json: "{}".to_owned(),
    };
    numbers.into_iter().map(record).collect()
}

fn moment(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn mapping() -> Mapping {
    Mapping { maximum_retry_attempts: Some(2), reports_item_failures: true, ..Mapping::new("m", "f") }
}

fn failed() -> Result<String, InvokeError> {
    Err(InvokeError::Failed("on purpose".to_owned()))
}

fn reports(numbers: &[u64]) -> Result<String, InvokeError> {
    let failures: Vec<_> =
        numbers.iter().map(|number| serde_json::json!({"itemIdentifier": number.to_string()})).collect();
    Ok(serde_json::json!({"batchItemFailures": failures}).to_string())
}

fn numbers(records: Option<&[Record]>) -> Vec<u64> {
    records.unwrap_or_default().iter().map(|record| record.sequence_number.as_str().parse().unwrap()).collect()
}

/// Delivers to a function that is `function`; the numbers of each invocation and of what was given up.
fn run(
    mapping: &Mapping,
    records: &[Record],
    function: impl Fn(&[u64]) -> Result<String, InvokeError>,
) -> (Vec<Vec<u64>>, Vec<Vec<u64>>) {
    let mut delivery = Delivery::new(mapping, records);
    let (mut invocations, mut given_up) = (Vec::new(), Vec::new());
    while let Some(batch) = delivery.next() {
        let batch = numbers(Some(batch));
        let answer = function(&batch);
        invocations.push(batch);
        if let Settled::GivenUp(gone) = delivery.settle(&answer) {
            given_up.push(numbers(Some(gone.records)));
        }
        assert!(invocations.len() < 1000, "delivery ends");
    }
    assert_eq!(delivery.done(), records.len());
    (invocations, given_up)
}

#[test]
fn no_records_need_no_invocation() {
    assert_eq!(Delivery::new(&mapping(), &[]).next(), None);
}

#[test]
fn what_lambda_counts_as_a_success_is_one() {
    let (mapping, records) = (mapping(), records(1..=3));
    let successes =
        [r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#, "{}", "null", "", r#"{"other":1}"#];
    for answer in successes {
        let mut delivery = Delivery::new(&mapping, &records);
        assert_eq!(delivery.settle(&Ok(answer.to_owned())), Settled::Delivered, "{answer}");
        assert_eq!((delivery.next(), delivery.done()), (None, 3), "{answer}");
    }
}

#[test]
fn a_malformed_report_or_one_of_an_unknown_record_fails_the_whole_batch() {
    let (mapping, records) = (mapping(), records(1..=3));
    let failures = [
        "not JSON",
        "[]",
        r#""fine""#,
        r#"{"batchItemFailures":{}}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":2}]}"#,
        r#"{"batchItemFailures":[{"ItemIdentifier":"2"}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":"2"},{"itemIdentifier":"9"}]}"#,
    ];
    for answer in failures {
        let mut delivery = Delivery::new(&mapping, &records);
        assert_eq!(delivery.settle(&Ok(answer.to_owned())), Settled::Retry(FIRST_DELAY), "{answer}");
        assert_eq!((numbers(delivery.next()), delivery.done()), (vec![1, 2, 3], 0), "{answer}");
    }
}

#[test]
fn a_report_is_not_read_unless_the_mapping_says_so() {
    let mapping = Mapping { reports_item_failures: false, ..mapping() };
    let records = records(1..=3);
    let (invocations, given_up) = run(&mapping, &records, |_| reports(&[2]));
    assert_eq!((invocations, given_up), (vec![vec![1, 2, 3]], vec![]));
}

#[test]
fn a_partial_failure_goes_on_at_the_numerically_lowest_record_reported() {
    let (mapping, records) = (mapping(), records(8..=12));
    let mut delivery = Delivery::new(&mapping, &records);
    // As texts, "10" and "11" come before "9".
    assert_eq!(delivery.settle(&reports(&[11, 9, 10])), Settled::Retry(FIRST_DELAY));
    assert_eq!((numbers(delivery.next()), delivery.done()), (vec![9, 10, 11, 12], 1));
}

#[test]
fn an_error_is_retried_as_often_as_allowed_and_then_the_batch_is_given_up() {
    let (mapping, records) = (mapping(), records(1..=3));
    let mut delivery = Delivery::new(&mapping, &records);
    for millis in [100, 200] {
        assert_eq!(delivery.settle(&failed()), Settled::Retry(Duration::from_millis(millis)));
        assert_eq!(delivery.done(), 0);
    }
    let expected =
        GivenUp { records: &records, why: Why::RetryAttemptsExhausted, invocations: 3, error: "on purpose".to_owned() };
    assert_eq!(delivery.settle(&failed()), Settled::GivenUp(expected));
    assert_eq!((delivery.next(), delivery.done()), (None, 3));
}

#[test]
fn without_a_limit_a_batch_is_retried_for_ever_with_growing_pauses() {
    let mapping = Mapping { maximum_retry_attempts: None, ..mapping() };
    let records = records(1..=3);
    let mut delivery = Delivery::new(&mapping, &records);
    let pauses: Vec<_> = (0..100).map(|_| delivery.settle(&failed())).collect();
    assert_eq!(pauses[..3], [100, 200, 400].map(|millis| Settled::Retry(Duration::from_millis(millis))));
    assert!(pauses[6..].iter().all(|pause| *pause == Settled::Retry(LONGEST_DELAY)));
    assert_eq!(numbers(delivery.next()), [1, 2, 3]);
}

#[test]
fn progress_gives_what_is_left_all_of_its_retries() {
    let mapping = Mapping { maximum_retry_attempts: Some(1), ..mapping() };
    let records = records(1..=3);
    let mut delivery = Delivery::new(&mapping, &records);
    delivery.settle(&failed());
    delivery.settle(&reports(&[2]));
    assert_eq!(delivery.settle(&failed()), Settled::Retry(FIRST_DELAY));
    assert!(matches!(delivery.settle(&failed()), Settled::GivenUp(gone) if numbers(Some(gone.records)) == [2, 3]));
}

#[test]
fn a_function_that_cannot_be_reached_uses_up_no_retry_and_splits_nothing() {
    let mapping = Mapping { maximum_retry_attempts: Some(0), bisect: true, ..mapping() };
    let records = records(1..=3);
    let mut delivery = Delivery::new(&mapping, &records);
    let nobody = Err(InvokeError::Unavailable("nobody".to_owned()));
    for millis in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
        assert_eq!(delivery.settle(&nobody), Settled::Retry(Duration::from_millis(millis)));
    }
    assert_eq!(numbers(delivery.next()), [1, 2, 3]);
}

#[test]
fn bisection_isolates_a_poison_record_and_everything_else_is_delivered_in_order() {
    let mapping = Mapping { bisect: true, ..mapping() };
    for poison in 1..=9 {
        let records = records(1..=9);
        let (invocations, given_up) =
            run(&mapping, &records, |batch| if batch.contains(&poison) { failed() } else { reports(&[]) });
        assert_eq!(given_up, [[poison]]);
        let alone = invocations.iter().filter(|batch| **batch == [poison]).count();
        assert_eq!(alone, 3, "one attempt and two retries of record {poison}");
        let succeeded: Vec<_> = invocations.into_iter().filter(|batch| !batch.contains(&poison)).flatten().collect();
        assert_eq!(succeeded, (1..=9).filter(|number| *number != poison).collect::<Vec<_>>());
    }
}

#[test]
fn with_reports_and_bisection_only_the_record_that_keeps_failing_is_given_up() {
    let mapping = Mapping { bisect: true, ..mapping() };
    for poison in 1..=9 {
        let records = records(1..=9);
        let (_, given_up) = run(&mapping, &records, |batch| {
            let failed: Vec<u64> = batch.iter().copied().filter(|number| *number == poison).collect();
            reports(&failed)
        });
        assert_eq!(given_up, [[poison]]);
    }
}

#[test]
fn without_bisection_a_reported_poison_record_takes_the_rest_of_its_batch_along() {
    let (mapping, records) = (mapping(), records(1..=5));
    let (invocations, given_up) = run(&mapping, &records, |batch| reports(if batch.contains(&3) { &[3] } else { &[] }));
    assert_eq!(invocations, [vec![1, 2, 3, 4, 5], vec![3, 4, 5], vec![3, 4, 5], vec![3, 4, 5]]);
    assert_eq!(given_up, [[3, 4, 5]]);
}

#[test]
fn records_that_are_too_old_are_given_up_unseen_and_their_younger_neighbours_are_not() {
    let age = Some(Duration::from_secs(60));
    let mapping = Mapping { maximum_retry_attempts: None, maximum_record_age: age, ..mapping() };
    let mut records = records(1..=4);
    records[2].created = moment(30);
    records[3].created = moment(30);
    let mut delivery = Delivery::new(&mapping, &records);
    assert_eq!(delivery.expire(moment(60)), None, "60 s is not over 60 s");
    assert_eq!(delivery.settle(&failed()), Settled::Retry(FIRST_DELAY));
    let gone = delivery.expire(moment(61)).unwrap();
    assert_eq!((numbers(Some(gone.records)), gone.why, gone.invocations), (vec![1, 2], Why::RecordAgeExceeded, 1));
    assert_eq!((numbers(delivery.next()), delivery.done()), (vec![3, 4], 2));
    assert_eq!(delivery.expire(moment(61)), None);
    assert_eq!(delivery.expire(moment(91)).unwrap().records.len(), 2);
    assert_eq!((delivery.next(), delivery.expire(moment(91))), (None, None));
}

#[test]
fn without_a_maximum_age_no_record_is_too_old() {
    let (mapping, records) = (mapping(), records(1..=2));
    assert_eq!(Delivery::new(&mapping, &records).expire(moment(1_000_000)), None);
}
