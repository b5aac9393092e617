use super::*;

fn message(id: &str) -> Message {
    Message { id: id.to_owned(), receipt_handle: format!("handle of {id}"), ..Message::default() }
}

fn mapping() -> QueueMapping {
    QueueMapping { batch_size: 3, visibility: Duration::from_secs(60), ..QueueMapping::new("Work.Rows", "work") }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn ids(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.id.as_str()).collect()
}

fn due(gathering: &mut Gathering, seconds: i64) -> Vec<String> {
    let batch = gathering.due(at(seconds)).map(|(batch, _)| batch).unwrap_or_default();
    batch.into_iter().map(|message| message.id).collect()
}

#[test]
fn without_a_window_what_was_received_is_a_batch_at_once() {
    let mut gathering = Gathering::new(&mapping());
    assert_eq!((gathering.room(), gathering.due_in(at(0))), (3, None));
    gathering.add(vec![message("a"), message("b")], "arn", at(0));
    assert_eq!((gathering.room(), gathering.due_in(at(0))), (1, Some(Duration::ZERO)));
    assert_eq!(due(&mut gathering, 0), ["a", "b"]);
    assert_eq!(gathering.due(at(0)), None);
}

#[test]
fn a_window_begins_with_its_first_message_and_a_full_batch_ends_it() {
    let window = Duration::from_secs(20);
    let mut gathering = Gathering::new(&QueueMapping { window, ..mapping() });
    gathering.add(vec![message("a")], "arn", at(0));
    gathering.add(vec![message("b")], "arn", at(15));
    assert_eq!((due(&mut gathering, 15), gathering.due_in(at(15))), (Vec::new(), Some(Duration::from_secs(5))));
    assert_eq!(due(&mut gathering, 20), ["a", "b"]);
    gathering.add(vec![message("c"), message("d"), message("e"), message("f")], "arn", at(30));
    assert_eq!(gathering.room(), 0);
    assert_eq!(due(&mut gathering, 30), ["c", "d", "e"]);
    assert_eq!(due(&mut gathering, 30), Vec::<String>::new());
    assert_eq!(ids(&gathering.into_rest()), ["f"]);
}

#[test]
fn no_more_is_asked_for_than_one_receive_gives() {
    let window = Duration::from_secs(1);
    let gathering = Gathering::new(&QueueMapping { batch_size: 10_000, window, ..mapping() });
    assert_eq!(gathering.room(), 10);
}

#[test]
fn what_does_not_fit_into_an_event_is_in_the_next_one() {
    let window = Duration::from_secs(20);
    let mut gathering = Gathering::new(&QueueMapping { batch_size: 100, window, ..mapping() });
    let large = |id: &str| Message { body: "x".repeat(1024 * 1024 - 1024), ..message(id) };
    let ids: Vec<String> = (0..8).map(|number| number.to_string()).collect();
    gathering.add(ids.iter().map(|id| large(id)).collect(), "arn", at(0));
    let (batch, _) = gathering.due(at(0)).unwrap();
    let event: Vec<_> = batch.iter().map(|message| message.record("arn").to_string()).collect();
    assert!(event.join(",").len() + r#"{"Records":[]}"#.len() <= PAYLOAD);
    assert_eq!(batch.len(), 6);
    assert_eq!(due(&mut gathering, 0), Vec::<String>::new(), "the rest waits for its window");
    assert_eq!(due(&mut gathering, 20), ["6", "7"]);
    // One that is too large by itself is delivered all the same: nobody else would.
    gathering.add(vec![Message { body: "x".repeat(PAYLOAD), ..message("huge") }, message("b")], "arn", at(30));
    assert_eq!(due(&mut gathering, 30), ["huge"]);
}

#[test]
fn what_others_see_again_is_left_to_them() {
    let mut gathering = Gathering::new(&mapping());
    gathering.add(vec![message("old")], "arn", at(0));
    gathering.add(vec![message("new")], "arn", at(1));
    assert_eq!(due(&mut gathering, 60), ["new"]);
}

#[track_caller]
fn assert_stay(answer: &Result<String, InvokeError>, staying: &[&str]) {
    let messages = ["a", "b", "c"].map(message);
    let settled = settle(&messages, true, answer);
    let deleted: Vec<_> = settled.delete.iter().map(|message| message.id.as_str()).collect();
    let expected: Vec<_> = ["a", "b", "c"].into_iter().filter(|id| !staying.contains(id)).collect();
    assert_eq!(deleted, expected, "{answer:?}");
    assert_eq!(settled.problem.is_some(), !staying.is_empty(), "{answer:?}");
}

#[test]
fn an_answer_without_failures_deletes_all() {
    for text in ["", " ", "null", "{}", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#, r#"{"x":1}"#] {
        assert_stay(&Ok(text.to_owned()), &[]);
    }
}

#[test]
fn what_is_reported_stays_and_no_more() {
    assert_stay(&Ok(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#.to_owned()), &["b"]);
    let twice = r#"{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"a"},{"itemIdentifier":"c"}]}"#;
    assert_stay(&Ok(twice.to_owned()), &["a", "c"]);
}

#[test]
fn an_error_or_an_answer_that_makes_no_sense_deletes_nothing() {
    let all = ["a", "b", "c"];
    assert_stay(&Err(InvokeError::Failed("no".to_owned())), &all);
    assert_stay(&Err(InvokeError::Unavailable("nobody".to_owned())), &all);
    for text in [
        "{",
        "[]",
        "7",
        r#""text""#,
        r#"{"batchItemFailures":{}}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
        r#"{"batchItemFailures":[{"identifier":"a"}]}"#,
        r#"{"batchItemFailures":["a"]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"stranger"}]}"#,
    ] {
        assert_stay(&Ok(text.to_owned()), &all);
    }
}

#[test]
fn a_function_that_does_not_report_fails_by_an_error_only() {
    let messages = ["a", "b"].map(message);
    let reports = Ok(r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#.to_owned());
    assert_eq!(settle(&messages, false, &reports).delete.len(), 2);
    assert_eq!(settle(&messages, false, &Err(InvokeError::Failed("no".to_owned()))).delete.len(), 0);
}
