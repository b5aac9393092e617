use serde_json::json;

use super::*;

fn stamp(second: u32, by: &str) -> Stamp {
    let at = format!("2026-11-20T08:00:{second:02}Z").parse().unwrap();
    Stamp { at, by: by.to_owned(), ip: "192.0.2.7".to_owned() }
}

fn draft(second: u32, by: &str) -> Draft {
    Draft {
        code: "R-7".into(),
        name: "Ring".into(),
        is_deleted: false,
        events: vec![StoredEvent { name: "Created".into(), v: 1, data: json!({"price": "12.50"}) }],
        state: json!({"code": "R-7", "attributes": {"price": "12.50"}}),
        command_id: "c1".into(),
        request_id: "r1".into(),
        source: "command-api".into(),
        traceparent: None,
        stamp: stamp(second, by),
    }
}

fn key() -> EntityKey {
    "PRODUCT#acme#R-7".parse().unwrap()
}

fn first() -> VersionItem {
    VersionItem::chain(key(), Version::FIRST, None, draft(1, "ann")).unwrap()
}

#[test]
fn the_first_version_chains_to_genesis_and_is_created_by_its_author() {
    let item = first();
    assert_eq!(item.prev_hash, Hash::genesis());
    assert_eq!(item.created, item.updated);
    assert_eq!(item.computed_hash().unwrap(), item.hash);
}

#[test]
fn a_later_version_chains_to_the_one_before_and_keeps_its_creator() {
    let one = first();
    let two = VersionItem::chain(key(), Version::new(2).unwrap(), Some(&one), draft(2, "bob")).unwrap();
    assert_eq!(two.prev_hash, one.hash);
    assert_eq!((two.created.by.as_str(), two.updated.by.as_str()), ("ann", "bob"));
}

#[test]
fn every_field_but_hash_and_ttl_is_covered_by_the_hash() {
    let item = first();
    let alterations: [fn(&mut VersionItem); 19] = [
        |item| item.key.sk = "R-8".parse().unwrap(),
        |item| item.key.partition.tenant = "other".parse().unwrap(),
        |item| item.key.partition.entity_type = "CHAT".parse().unwrap(),
        |item| item.version = Version::new(2).unwrap(),
        |item| item.code = "R-8".into(),
        |item| item.name = "Band".into(),
        |item| item.is_deleted = true,
        |item| item.events[0].name = "Dreamt".into(),
        |item| item.events[0].v = 2,
        |item| item.events[0].data = json!({}),
        |item| item.state = json!({}),
        |item| item.command_id = "c2".into(),
        |item| item.request_id = "r2".into(),
        |item| item.source = "import".into(),
        |item| item.traceparent = Some("00-1".into()),
        |item| item.created.by = "bob".into(),
        |item| item.updated.ip = "192.0.2.8".into(),
        |item| item.updated = stamp(2, "ann"),
        |item| item.prev_hash = Hash::of("another"),
    ];
    for (number, alter) in alterations.into_iter().enumerate() {
        let mut altered = item.clone();
        alter(&mut altered);
        assert_ne!(altered, item, "alteration {number} alters");
        assert_ne!(altered.computed_hash().unwrap(), item.hash, "alteration {number} shows");
    }
    let fields = serde_json::to_value(&item).unwrap().as_object().unwrap().len();
    assert_eq!(fields, 23, "a new field needs its alteration here");
    assert_eq!(VersionItem { ttl: Some(1), ..item.clone() }.computed_hash().unwrap(), item.hash);
}

#[test]
fn the_stored_form_is_the_documented_one_and_reads_back() {
    let item = first();
    let stored = serde_json::to_value(&item).unwrap();
    let expected = json!({
        "pk": "PRODUCT#acme", "sk": "R-7@0000000001", "kind": "version", "id": "PRODUCT#acme#R-7",
        "type": "PRODUCT", "tenantCode": "acme", "code": "R-7", "name": "Ring", "version": 1, "isDeleted": false,
        "events": [{"type": "Created", "v": 1, "data": {"price": "12.50"}}],
        "state": {"code": "R-7", "attributes": {"price": "12.50"}},
        "commandId": "c1", "requestId": "r1", "source": "command-api",
        "createdAt": "2026-11-20T08:00:01.000000Z", "createdBy": "ann", "createdIp": "192.0.2.7",
        "updatedAt": "2026-11-20T08:00:01.000000Z", "updatedBy": "ann", "updatedIp": "192.0.2.7",
        "prevHash": "0".repeat(64), "hash": item.hash.as_str(),
    });
    assert_eq!(stored, expected);
    assert_eq!(serde_json::from_value::<VersionItem>(stored).unwrap(), item);
}

#[test]
fn an_item_whose_key_and_fields_disagree_is_refused() {
    let stored = serde_json::to_value(first()).unwrap();
    let lies = [
        ("version", json!(2)),
        ("tenantCode", json!("other")),
        ("type", json!("CHAT")),
        ("kind", json!("claim")),
        ("id", json!("PRODUCT#acme#R-8")),
    ];
    for (name, lie) in lies {
        let mut altered = stored.clone();
        altered[name] = lie;
        assert!(serde_json::from_value::<VersionItem>(altered).is_err(), "{name}");
    }
}

#[test]
fn a_state_with_a_float_is_refused_before_it_is_stored() {
    let draft = Draft { state: json!({"attributes": {"price": 12.5}}), ..draft(1, "ann") };
    assert_eq!(VersionItem::chain(key(), Version::FIRST, None, draft), Err(CanonicalError::NotAWholeNumber));
}
