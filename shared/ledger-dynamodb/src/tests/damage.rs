//! Rows that somebody has damaged are told of, and keep nobody from the others.

use ledgerline_kernel::ports::{IndexPage, KeyPage, KeyQuery, KeyRange, LedgerIndex as _, ReadModelAudit as _};
use ledgerline_kernel::{EntityKey, VersionItem};

use super::*;

async fn put(client: &Client, row: &[(&str, &str)]) {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), AttributeValue::S((*value).to_owned()));
    client.put_item().table_name(TABLE).set_item(Some(row.iter().map(text).collect())).send().await.unwrap();
}

async fn remove(client: &Client, sk: &str, attribute: &str) {
    let update = client.update_item().table_name(TABLE).key("pk", AttributeValue::S("NOTE#acme".to_owned()));
    let update = update.key("sk", AttributeValue::S(sk.to_owned())).update_expression("REMOVE #gone");
    update.expression_attribute_names("#gone", attribute).send().await.unwrap();
}

#[tokio::test]
async fn an_index_tells_of_every_row_that_ought_to_be_a_version_and_is_none() {
    let (_dynamo, client, _) = table().await;
    let ledger = DynamoLedger::new(client.clone(), TABLE);
    let [good] = version_items(&note_key("good"), 1).try_into().unwrap();
    append(&ledger, &good).await.unwrap();
    for sk in ["hashless", "timeless", "kindless"] {
        append(&ledger, &version_items(&note_key(sk), 1)[0]).await.unwrap();
    }
    for (sk, attribute) in [("hashless", "hash"), ("timeless", "updatedAt"), ("kindless", "kind")] {
        remove(&client, &format!("{sk}@0000000001"), attribute).await;
    }
    put(&client, &[("pk", "NOTE#acme"), ("sk", "n@1"), ("kind", "version")]).await;
    put(&client, &[("pk", "NOTE#acme"), ("sk", "hidden@0000000001"), ("kind", "idempotency")]).await;
    put(&client, &[("pk", "UNIQUE#acme#NOTE#code#x"), ("sk", "claim"), ("kind", "claim")]).await;
    put(&client, &[("pk", "IDEMPOTENCY#acme#k"), ("sk", "idempotency"), ("kind", "idempotency")]).await;
    for (pk, sk) in [("IMPORT#acme", "01K"), ("IMPORT#acme#01K", "0000000000.0000000000")] {
        put(&client, &[("pk", pk), ("sk", sk), ("kind", "import")]).await;
    }
    let of_the_partition =
        ["hashless@0000000001", "hidden@0000000001", "kindless@0000000001", "n@1", "timeless@0000000001"];
    for partition in [None, Some(&good.key.partition)] {
        let IndexPage { versions, mut unreadable, next } = ledger.versions(partition, None).await.unwrap();
        assert_eq!((versions.len(), next), (1, None));
        unreadable.sort();
        let told: Vec<_> = unreadable.iter().map(|row| row.split(':').next().unwrap()).collect();
        assert_eq!(told, of_the_partition.map(|sk| format!("NOTE#acme#{sk}")), "{unreadable:?}");
    }
    put(&client, &[("pk", "nonsense"), ("sk", "a@0000000001"), ("kind", "version")]).await;
    let all = ledger.versions(None, None).await.unwrap();
    assert!(all.unreadable.iter().any(|row| row.starts_with("nonsense#a@0000000001: ")), "{:?}", all.unreadable);
}

/// Notes with these keys, projected into a data table.
async fn listed(sks: &[&str]) -> (LocalDynamo, Client, DynamoDataTable, Vec<VersionItem>) {
    let (dynamo, client, _) = table().await;
    let data = DynamoDataTable::new(client.clone(), TABLE);
    let items: Vec<_> = sks.iter().flat_map(|sk| version_items(&note_key(sk), 2)).collect();
    let newest: Vec<_> = items.into_iter().filter(|item| item.version.number() == 2).collect();
    data.apply(erase::<Note>().unwrap().as_ref(), &newest.iter().collect::<Vec<_>>()).await.unwrap();
    (dynamo, client, data, newest)
}

fn query(limit: usize, after: Option<String>, include_deleted: bool) -> KeyQuery {
    let (partition, keys) = (note_key("a").partition, KeyRange::Between(None, None));
    KeyQuery { partition, keys, after, limit, include_deleted }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_out_of_a_list_and_counted_once() {
    let (_dynamo, client, data, _) = listed(&["a", "b", "c", "d", "e", "f", "g"]).await;
    for (sk, attribute) in [("b", "name"), ("d", "isDeleted"), ("e", "attributes"), ("g", "version")] {
        remove(&client, sk, attribute).await;
    }
    for (limit, include_deleted) in [(1, false), (2, false), (2, true), (3, false), (100, false)] {
        let (mut sks, mut unreadable, mut after) = (Vec::new(), 0, None);
        loop {
            let page = data.range(&query(limit, after, include_deleted)).await.unwrap();
            assert!(page.entities.len() <= limit);
            sks.extend(page.entities.into_iter().map(|entity| entity.key.sk.as_str().to_owned()));
            unreadable += page.unreadable;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((sks.join(""), unreadable), ("acf".to_owned(), 4), "{limit} at a time");
    }
    let keys = KeyRange::Between(None, Some("d".parse().unwrap()));
    let KeyPage { entities, unreadable, .. } = data.range(&KeyQuery { keys, ..query(9, None, false) }).await.unwrap();
    assert_eq!((entities.len(), unreadable), (2, 1), "the end of a range is not in it");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_counts_as_another_one_and_is_put_right() {
    let (_dynamo, client, data, items) = listed(&["a", "b", "c"]).await;
    let (domain, tenant) = (erase::<Note>().unwrap(), note_key("a").partition.tenant);
    let proven = data.digest(domain.as_ref(), &tenant).await.unwrap();
    remove(&client, "b", "updatedBy").await;
    remove(&client, "c", "version").await;
    let keys: Vec<EntityKey> = items.iter().map(|item| item.key.clone()).collect();
    let held = data.held(domain.as_ref(), &keys).await.unwrap();
    assert_eq!(held.get(&keys[0]), Some(&(items[0].version, items[0].hash.clone())));
    assert!(held.get(&keys[1]).is_some_and(|(version, hash)| *version == items[1].version && *hash != items[1].hash));
    assert_eq!(held.get(&keys[2]), None, "it says nothing of a version");
    assert_ne!(data.digest(domain.as_ref(), &tenant).await.unwrap().sum, proven.sum);

    assert_eq!(data.replace(domain.as_ref(), &items[1], items[1].version).await, Ok(true));
    let applied = data.apply(domain.as_ref(), &[&items[2]]).await.unwrap();
    assert_eq!(applied.written, 1, "a row without a version is in nobody's way");
    assert_eq!(data.digest(domain.as_ref(), &tenant).await, Ok(proven));
    assert_eq!(data.range(&query(9, None, false)).await.unwrap().entities.len(), 3);
}
