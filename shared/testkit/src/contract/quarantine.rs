//! The contract of [`Quarantine`].
#![expect(clippy::unwrap_used, reason = "a store that fails fails the test")]

use ledgerline_kernel::ports::{Poison, Quarantine, QuarantineQuery, STRIKES, Strike, Taken};
use ledgerline_kernel::{EntityKey, Version};
use serde_json::{Value, json};

use super::ledger::of_tenant;
use crate::note_key;

/// The third strike quarantines: in one projection, and one thing.
pub async fn the_third_strike_quarantines_one_thing_in_one_projection(quarantine: &impl Quarantine) {
    let poison = of_entity(&note_key("n"), 7);
    for expected in [Strike::Again, Strike::Again, Strike::Quarantined, Strike::Quarantined] {
        assert_eq!(quarantine.strike("one", &poison).await, Ok(expected));
    }
    assert_eq!(quarantine.strike("other", &poison).await, Ok(Strike::Again));
    assert_eq!(quarantine.strike("one", &of_entity(&note_key("m"), 7)).await, Ok(Strike::Again));
    assert_eq!(listed(quarantine, &everything()).await, ["one NOTE#acme#n@7"]);
}

/// What is quarantined says what is missing by now and why, and is not counted any further.
pub async fn what_is_quarantined_keeps_the_newest_version_and_the_latest_error(quarantine: &impl Quarantine) {
    let key = note_key("n");
    for version in [7, 7, 9, 8] {
        let error = format!("it does not fit at {version}");
        quarantine.strike("one", &Poison { error, ..of_entity(&key, version) }).await.unwrap();
    }
    let held = quarantine.list(&everything()).await.unwrap().pop().unwrap();
    assert_eq!(held.version, Some((key, "9".parse().unwrap())));
    assert_eq!((held.error.as_str(), held.attempts), ("it does not fit at 8", STRIKES));
}

/// An entity that was taken after all is released from its own projection, if nothing is missing any
/// more.
pub async fn what_was_taken_after_all_is_released(quarantine: &impl Quarantine) {
    let (key, other) = (note_key("n"), note_key("m"));
    for (projection, key) in [("one", &key), ("two", &key), ("one", &other)] {
        quarantine_now(quarantine, projection, &of_entity(key, 7)).await;
    }
    assert_eq!(quarantine.release(&[]).await, Ok(0));
    assert_eq!(quarantine.release(&[taken("one", &key, 6), taken("three", &key, 9)]).await, Ok(0));
    assert_eq!(listed(quarantine, &everything()).await.len(), 3);
    assert_eq!(quarantine.release(&[taken("one", &key, 7), taken("two", &other, 9)]).await, Ok(1));
    assert_eq!(listed(quarantine, &everything()).await, ["one NOTE#acme#m@7", "two NOTE#acme#n@7"]);
    assert_eq!(quarantine.release(&[taken("two", &key, 12), taken("one", &other, 12)]).await, Ok(2));
    assert_eq!(listed(quarantine, &everything()).await, Vec::<String>::new());
}

/// Strikes of what went through are forgotten; the next failure is a first one again.
pub async fn strikes_against_what_went_through_are_forgotten(quarantine: &impl Quarantine) {
    let key = note_key("n");
    for _ in 0..3 {
        quarantine.strike("one", &of_entity(&key, 7)).await.unwrap();
        assert_eq!(quarantine.strike("one", &of_entity(&key, 7)).await, Ok(Strike::Again));
        assert_eq!(quarantine.release(&[taken("one", &key, 7)]).await, Ok(0), "it was not quarantined");
    }
}

/// A list is read page by page, of all, of a tenant, of an entity.
pub async fn a_list_is_read_page_by_page_and_only_what_was_asked_for(quarantine: &impl Quarantine) {
    let keys = [of_tenant("acme", "n"), of_tenant("acme", "N"), of_tenant("acme-2", "n")];
    for (key, projection) in keys.iter().flat_map(|key| [(key, "one"), (key, "two")]) {
        quarantine_now(quarantine, projection, &of_entity(key, 7)).await;
    }
    let nameless = Poison { record: "49000".to_owned(), version: None, ..of_entity(&note_key("n"), 1) };
    quarantine_now(quarantine, "one", &nameless).await;
    let (mut all, mut query) = (Vec::new(), QuarantineQuery { limit: 2, ..everything() });
    loop {
        let page = quarantine.list(&query).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        query.after = Some((last.projection.clone(), last.record.clone()));
        all.extend(page.into_iter().map(|held| format!("{} {}", held.projection, held.record)));
    }
    let ids = ["49000", "NOTE#acme#N", "NOTE#acme#n", "NOTE#acme-2#n"];
    let mut expected: Vec<String> = ids.iter().map(|id| format!("one {id}")).collect();
    expected.extend(ids.iter().skip(1).map(|id| format!("two {id}")));
    expected.sort();
    assert_eq!(all, expected);
    let tenant = QuarantineQuery { tenant: Some("acme-2".parse().unwrap()), ..everything() };
    assert_eq!(listed(quarantine, &tenant).await, ["one NOTE#acme-2#n@7", "two NOTE#acme-2#n@7"]);
    let entity = QuarantineQuery { entity: keys.get(1).cloned(), ..everything() };
    assert_eq!(listed(quarantine, &entity).await, ["one NOTE#acme#N@7", "two NOTE#acme#N@7"]);
    let others = QuarantineQuery { tenant: Some("acme-2".parse().unwrap()), ..entity };
    assert_eq!(listed(quarantine, &others).await, Vec::<String>::new());
}

/// A record that cannot be kept with its image is kept without.
pub async fn a_record_with_a_nul_in_it_is_quarantined_all_the_same(quarantine: &impl Quarantine) {
    let image = json!({"name": {"S": "a\u{0}b"}});
    let poison = Poison { error: "a NUL: \u{0}".to_owned(), image, version: None, record: "7".to_owned() };
    quarantine_now(quarantine, "one", &poison).await;
    assert_eq!(quarantine.list(&everything()).await.unwrap().len(), 1);
}

fn of_entity(key: &EntityKey, version: u64) -> Poison {
    Poison {
        record: key.to_string(),
        version: Some((key.clone(), Version::new(version).unwrap())),
        error: "it does not fit".to_owned(),
        image: Value::Null,
    }
}

fn taken(projection: &str, key: &EntityKey, version: u64) -> Taken {
    Taken { projection: projection.to_owned(), key: key.clone(), version: Version::new(version).unwrap() }
}

fn everything() -> QuarantineQuery {
    QuarantineQuery { tenant: None, entity: None, after: None, limit: 100 }
}

async fn quarantine_now(quarantine: &impl Quarantine, projection: &str, poison: &Poison) {
    for expected in [Strike::Again, Strike::Again, Strike::Quarantined] {
        assert_eq!(quarantine.strike(projection, poison).await, Ok(expected));
    }
}

async fn listed(quarantine: &impl Quarantine, query: &QuarantineQuery) -> Vec<String> {
    let held = quarantine.list(query).await.unwrap();
    held.into_iter()
        .map(|held| match held.version {
            Some((key, version)) => format!("{} {key}@{version}", held.projection),
            None => format!("{} {}", held.projection, held.record),
        })
        .collect()
}
