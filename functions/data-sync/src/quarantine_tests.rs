//! What is quarantined, for how long, and what heals it.

use super::*;

#[tokio::test]
async fn a_bad_record_is_quarantined_after_three_deliveries_and_holds_up_nobody() {
    for (what, bad) in bad_records() {
        let sink = Sink::default();
        for _ in 0..2 {
            assert_eq!(invoke(&sink, &[good("6", "a"), bad.clone(), good("8", "z")]).await, ["7"], "{what}");
            assert_eq!(sink.quarantine.all(), [], "{what}");
        }
        assert_eq!(invoke(&sink, std::slice::from_ref(&bad)).await, Vec::<String>::new(), "{what}");
        let image = bad["dynamodb"].get("NewImage").unwrap_or(&bad);
        let quarantined = sink.quarantine.all();
        assert_eq!((quarantined.len(), &*quarantined[0].record, &quarantined[0].image), (1, "7", image), "{what}");
        assert_ne!(quarantined[0].error, "", "{what}");
    }
}

#[tokio::test]
async fn what_a_bad_record_was_about_is_kept_if_its_keys_can_be_read() {
    let sink = Sink::default();
    let bad = json!({"eventName": "INSERT", "dynamodb": {
        "SequenceNumber": "7", "Keys": {"pk": {"S": "NOTE#acme"}, "sk": {"S": "a%40b@0000000009"}},
    }});
    for _ in 0..3 {
        invoke(&sink, std::slice::from_ref(&bad)).await;
    }
    let (key, version) = sink.quarantine.all()[0].version.clone().unwrap();
    assert_eq!((key.to_string(), version.number()), ("NOTE#acme#a%40b".to_owned(), 9));
}

#[tokio::test]
async fn a_record_without_a_number_is_quarantined_too() {
    let sink = Sink::default();
    for expected in [vec![""], vec![""], vec![]] {
        assert_eq!(invoke(&sink, &[json!({"eventName": "INSERT"})]).await, expected);
    }
    assert_eq!(sink.quarantine.all().len(), 1);
}

#[tokio::test]
async fn an_entity_that_a_store_refuses_is_quarantined_and_what_it_was_before_is_kept() {
    for trouble in [Trouble::Rejects("b"), Trouble::Panics("b"), Trouble::RejectsVersion("b", 2)] {
        let sink = Sink::with(&[trouble]);
        let records = [good("1", "b"), good("2", "c"), record("3", &image("b", 2))];
        let expected: &[&str] = if matches!(trouble, Trouble::RejectsVersion(..)) { &["3"] } else { &["1", "3"] };
        for _ in 0..2 {
            assert_eq!(invoke(&sink, &records).await, expected);
        }
        assert_eq!(invoke(&sink, &records).await, Vec::<String>::new());
        let held = sink.quarantine.list(&everything()).await.unwrap();
        assert_eq!(held.len(), 1, "the entity, not each of its records");
        assert_eq!((held[0].projection.as_str(), held[0].record.as_str()), ("sink", "NOTE#acme#b"));
        assert_eq!(held[0].version.as_ref().unwrap().1.number(), 2, "the newest that is missing");
        let kept: &[_] = if expected.len() == 1 { &[("b", 1), ("c", 1)] } else { &[("c", 1)] };
        assert_eq!(sink.rows(), rows(kept));
    }
}

#[tokio::test]
async fn a_later_version_that_fits_heals_its_entity_in_its_read_model() {
    let sink = Sink::with(&[Trouble::RejectsVersion("b", 2)]);
    for _ in 0..3 {
        invoke(&sink, &[record("3", &image("b", 2))]).await;
    }
    assert_eq!(sink.quarantine.all().len(), 1);
    invoke(&sink, &[good("1", "b"), good("2", "a")]).await;
    assert_eq!(sink.quarantine.all().len(), 1, "an older version is not what is missing");
    assert_eq!(invoke(&sink, &[record("4", &image("b", 3))]).await, Vec::<String>::new());
    assert_eq!((sink.quarantine.all(), sink.rows()), (vec![], rows(&[("a", 1), ("b", 3)])));
}

#[tokio::test]
async fn a_later_version_that_does_not_fit_either_is_passed_over_without_new_strikes() {
    let mut sink = Sink::with(&[Trouble::Rejects("b")]);
    for _ in 0..3 {
        invoke(&sink, &[record("3", &image("b", 2))]).await;
    }
    assert_eq!(invoke(&sink, &[record("4", &image("b", 3)), good("5", "a")]).await, Vec::<String>::new());
    let held = sink.quarantine.list(&everything()).await.unwrap().remove(0);
    assert_eq!((held.version.unwrap().1.number(), held.attempts), (3, 3));
    sink.troubles.clear();
    invoke(&sink, &[record("3", &image("b", 2))]).await;
    assert_eq!(sink.quarantine.all().len(), 1, "version 3 is still missing");
    invoke(&sink, &[record("4", &image("b", 3))]).await;
    assert_eq!(sink.quarantine.all(), []);
}

#[tokio::test]
async fn strikes_against_a_record_that_went_through_are_forgotten() {
    let mut sink = Sink::with(&[Trouble::Rejects("b")]);
    for _ in 0..4 {
        for _ in 0..2 {
            assert_eq!(invoke(&sink, &[good("3", "b")]).await, ["3"]);
        }
        let troubles = std::mem::take(&mut sink.troubles);
        assert_eq!(invoke(&sink, &[good("3", "b")]).await, Vec::<String>::new());
        sink.troubles = troubles;
    }
    assert_eq!(sink.quarantine.all(), []);
}

#[tokio::test]
async fn an_unreadable_record_is_forgotten_once_a_later_one_of_its_entity_was_read() {
    let sink = Sink::default();
    let mut garbage = record("7", &image("a", 2));
    garbage["dynamodb"]["NewImage"]["hash"] = json!({"S": "none"});
    for _ in 0..3 {
        invoke(&sink, std::slice::from_ref(&garbage)).await;
    }
    let held = sink.quarantine.list(&everything()).await.unwrap().remove(0);
    assert_eq!((held.projection.as_str(), held.record.as_str()), (UNREADABLE, "7"));
    invoke(&sink, &[good("6", "a")]).await;
    assert_eq!(sink.quarantine.all().len(), 1);
    invoke(&sink, &[record("8", &image("a", 3))]).await;
    assert_eq!(sink.quarantine.all(), []);
}

#[tokio::test]
async fn an_unreadable_record_is_passed_over_where_a_later_one_of_its_entity_is_read_beside_it() {
    let sink = Sink::default();
    let mut garbage = record("7", &image("a", 2));
    garbage["dynamodb"]["NewImage"]["hash"] = json!({"S": "none"});
    assert_eq!(invoke(&sink, &[good("6", "a"), garbage.clone()]).await, ["7"]);
    assert_eq!(invoke(&sink, &[good("6", "a"), garbage, record("8", &image("a", 3))]).await, Vec::<String>::new());
    assert_eq!((sink.rows(), sink.quarantine.all()), (rows(&[("a", 3)]), vec![]));
}

/// A quarantine that cannot be reached.
struct Away;

#[async_trait]
impl Quarantine for Away {
    async fn strike(&self, _: &str, _: &Poison) -> Result<Strike, StoreError> {
        Err(away())
    }

    async fn release(&self, _: &[Taken]) -> Result<usize, StoreError> {
        Err(away())
    }

    async fn list(&self, _: &QuarantineQuery) -> Result<Vec<Quarantined>, StoreError> {
        Err(away())
    }
}

fn away() -> StoreError {
    StoreError::Unavailable { store: "quarantine", reason: "it is away".to_owned() }
}

#[tokio::test]
async fn while_the_quarantine_is_away_bad_records_come_again() {
    let sink = Sink::default();
    let projector = Projector::new(Registry::default().with::<Note>().unwrap(), vec![Arc::new(sink.clone())]);
    let deps = Deps::new(projector, Arc::new(Away));
    let event = json!({"Records": [record("1", &json!({})), good("2", "a"), record("3", &json!({}))]});
    for _ in 0..5 {
        let event = RawValue::from_string(event.to_string()).unwrap();
        let response = service(deps.clone()).oneshot(LambdaEvent::new(event, Context::default())).await.unwrap();
        let again: Vec<_> = response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
        assert_eq!(again, ["1", "3"]);
    }
    assert_eq!(sink.rows(), rows(&[("a", 1)]));
}
