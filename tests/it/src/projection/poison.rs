//! One bad record in a hundred.

use std::collections::BTreeSet;

use ledgerline_app::{Redriven, UNREADABLE};
use ledgerline_kernel::VersionItem;
use ledgerline_kernel::ports::{Quarantine as _, QuarantineQuery};
use serde_json::{Value, json};

use super::products::record;
use super::{Stage, announce, histories, scale, seed};

const DELTA: &str = "product-category-totals";

#[tokio::test(flavor = "multi_thread")]
async fn of_many_records_exactly_the_bad_ones_are_quarantined_and_a_redrive_heals_them() {
    let (stage, _database) = Stage::new().await;
    let products = scale(5_000);
    let chains = histories("acme", products, 2, seed());
    let mut random = fastrand::Rng::with_seed(seed());
    let mut numbers: Vec<usize> = (0..products).collect();
    random.shuffle(&mut numbers);
    // A hundredth of the records: unreadable for all, refused by the table of states, refused by the sums.
    let bad = products / 50;
    let sk = |number: &usize| format!("PRODUCT#acme#p{number:04}");
    let unreadable: BTreeSet<usize> = numbers[..bad / 2].iter().copied().collect();
    let states: BTreeSet<String> = numbers[bad / 2..bad * 3 / 4].iter().map(sk).collect();
    let sums: BTreeSet<String> = numbers[bad * 3 / 4..bad].iter().map(sk).collect();
    let list = |ids: &BTreeSet<String>| ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    let refuse = format!(
        "ALTER TABLE product ADD CONSTRAINT poison CHECK (id NOT IN ({}));
         ALTER TABLE projection_position ADD CONSTRAINT poison CHECK (entity_id NOT IN ({}))",
        list(&states),
        list(&sums)
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(refuse)).execute(stage.views.pool()).await.unwrap();

    let mut records: Vec<Value> = Vec::new();
    for (product, chain) in chains.iter().enumerate() {
        stage.write(chain);
        for item in chain {
            let mut record = record(records.len() + 1_000_000, item);
            if unreadable.contains(&product) {
                record["dynamodb"]["NewImage"]["hash"] = json!({"S": "garbled"});
            }
            records.push(record);
        }
    }
    let mut deliveries = 0;
    for batch in records.chunks(200) {
        let mut open = batch;
        // As Lambda does: again from the first that was asked for.
        loop {
            deliveries += 1;
            let again = stage.invoke(json!({"Records": open}).to_string()).await;
            let first = again.iter().map(|number| number.parse::<u64>().unwrap()).min();
            let Some(first) = first else { break };
            let first = first.to_string();
            let is_first = |record: &Value| record["dynamodb"]["SequenceNumber"] == *first;
            open = &open[open.iter().position(is_first).unwrap()..];
            assert!(deliveries < 100 * records.len() / 200, "the shard stands still");
        }
    }

    let query = QuarantineQuery { tenant: None, entity: None, after: None, limit: 100_000 };
    let held = stage.views.list(&query).await.unwrap();
    let held_in = |projection: &str| -> BTreeSet<String> {
        let held = held.iter().filter(|held| held.projection == projection);
        held.map(|held| held.version.as_ref().unwrap().0.to_string()).collect()
    };
    assert_eq!(held_in(UNREADABLE), unreadable.iter().map(sk).collect());
    assert_eq!((held_in("postgres"), held_in(DELTA)), (states.clone(), sums));
    assert_eq!(held.len(), unreadable.len() * 2 + bad - bad / 2, "each unreadable record, each refused entity");

    let is_bad = |item: &VersionItem| {
        let id = item.key.to_string();
        states.contains(&id) || unreadable.iter().any(|number| sk(number) == id)
    };
    let all: Vec<VersionItem> = chains.into_iter().flatten().collect();
    let current = super::states(&stage.views, &"acme".parse().unwrap()).await.len();
    assert_eq!(
        current,
        all.iter().filter(|item| item.version.number() == 2 && !is_bad(item)).count(),
        "the rest is current"
    );

    let again = stage.redrive().redrive(None, None).await.unwrap();
    assert_eq!((again.healed, again.refused), (unreadable.len() * 2, bad - bad / 2), "what is refused still is");
    let mend = "ALTER TABLE product DROP CONSTRAINT poison; ALTER TABLE projection_position DROP CONSTRAINT poison";
    sqlx::raw_sql(mend).execute(stage.views.pool()).await.unwrap();
    let healed = stage.redrive().redrive(None, None).await.unwrap();
    assert_eq!(healed, Redriven { healed: bad - bad / 2, ..Redriven::default() });
    assert_eq!(stage.views.list(&query).await, Ok(vec![]));
    stage.assert_is_the_fold_of("acme", &all).await;
    announce(
        "poison",
        &format!(
            "{} records, {} bad, exactly these quarantined, {deliveries} deliveries, all healed",
            all.len(),
            held.len()
        ),
    );
}
