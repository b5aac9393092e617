//! Delta projections take in every version once, whatever is delivered.

use super::troubled::{Step, Trouble, World, history};
use super::*;

use Step::{Deleted, Made, Moved, Priced, Restored};

#[tokio::test]
async fn the_sums_and_extremes_stay_right_under_every_change() {
    let world = World::new();
    let steps = [
        (Made("Ideal", "12.50"), vec![r#""Ideal" 2 2 17.50 5.00 12.50"#]),
        (Priced("3"), vec![r#""Ideal" 2 2 8.00 3 5.00"#]),
        (Moved("Premium"), vec![r#""Ideal" 1 1 5.00 5.00 5.00"#, r#""Premium" 1 1 3 3 3"#]),
        (Deleted, vec![r#""Ideal" 1 1 5.00 5.00 5.00"#]),
        (Restored, vec![r#""Ideal" 1 1 5.00 5.00 5.00"#, r#""Premium" 1 1 3 3 3"#]),
        (Moved("Ideal"), vec![r#""Ideal" 2 2 8.00 3 5.00"#]),
        (Priced("5.0"), vec![r#""Ideal" 2 2 10.00 5.00 5.00"#]),
        (Deleted, vec![r#""Ideal" 1 1 5.00 5.00 5.00"#]),
    ];
    world.projector.apply(&history("other", &[Made("Ideal", "5.00")])).await.unwrap();
    let all: Vec<Step<'_>> = steps.iter().map(|(step, _)| *step).collect();
    for (item, (step, expected)) in history("p", &all).iter().zip(steps) {
        world.projector.apply(std::slice::from_ref(item)).await.unwrap();
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        let sums =
            |lines: Vec<String>| lines.iter().map(|line| line.replace(".00", "").replace(".0", "")).collect::<Vec<_>>();
        assert_eq!(sums(world.summary().await), sums(expected), "after {step:?}");
    }
}

const FIVE: [Step<'_>; 5] = [Made("Ideal", "1"), Priced("2"), Priced("3"), Priced("4"), Priced("5")];

#[tokio::test]
async fn versions_that_were_never_delivered_are_pulled_from_the_ledger_at_once() {
    for delivered in [vec![4], vec![1, 3], vec![3, 4], vec![2], vec![0, 4]] {
        let world = World::new();
        let items = world.written(&[("p", &FIVE)]).remove(0);
        let batch: Vec<VersionItem> = delivered.iter().map(|index| items[*index].clone()).collect();
        world.projector.apply(&batch).await.unwrap();
        let newest = delivered.last().unwrap() + 1;
        assert_eq!(world.summary().await, [format!(r#""Ideal" 1 1 {newest} {newest} {newest}"#)], "{delivered:?}");
    }
}

#[tokio::test]
async fn what_is_delivered_in_full_asks_the_ledger_nothing() {
    let world = World::new();
    let items = world.written(&[("p", &FIVE)]).remove(0);
    world.projector.apply(&items[..2]).await.unwrap();
    world.projector.apply(&items[1..]).await.unwrap();
    assert_eq!(world.ledger.calls(), 0);
}

#[tokio::test]
async fn a_long_gap_is_pulled_over_all_its_pages() {
    let world = World::new();
    let prices: Vec<String> = (2..=350).map(|price| price.to_string()).collect();
    let steps: Vec<Step<'_>> =
        std::iter::once(Made("Ideal", "1")).chain(prices.iter().map(|price| Priced(price))).collect();
    let items = world.written(&[("p", &steps)]).remove(0);
    world.projector.apply(&items[349..]).await.unwrap();
    assert_eq!(world.summary().await, [r#""Ideal" 1 1 350 350 350"#]);
    assert_eq!(world.ledger.calls(), 4, "a hundred versions at a time");
}

#[tokio::test]
async fn every_version_is_taken_in_once_in_whatever_order_and_however_often_it_comes() {
    let mut random = 20_261_120_u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    for _ in 0..300 {
        let world = World::new();
        let histories =
            world.written(&[("a", &FIVE), ("b", &[Made("Ideal", "7"), Deleted, Restored, Moved("Premium")])]);
        let items: Vec<VersionItem> = histories.into_iter().flatten().collect();
        for _ in 0..6 {
            let batch: Vec<VersionItem> = (0..=next(4)).map(|_| items[next(items.len())].clone()).collect();
            world.projector.apply(&batch).await.unwrap();
        }
        world.projector.apply(&[items[4].clone(), items[8].clone()]).await.unwrap();
        assert_eq!(world.summary().await, [r#""Ideal" 1 1 5 5 5"#, r#""Premium" 1 1 7 7 7"#]);
    }
}

#[tokio::test]
async fn projectors_that_race_for_the_same_entities_count_each_version_once() {
    let world = World::new();
    let items: Vec<VersionItem> = world.written(&[("a", &FIVE), ("b", &FIVE)]).into_iter().flatten().collect();
    let batches = items.chunks(3).chain(items.chunks(4)).chain(items.chunks(1));
    let all = futures::future::join_all(batches.map(|batch| world.projector.apply(batch))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(world.summary().await, [r#""Ideal" 2 2 10 5 5"#]);
}

#[tokio::test]
async fn a_fork_is_reported_and_never_taken_in() {
    let world = World::new();
    let items = world.written(&[("p", &FIVE)]).remove(0);
    world.projector.apply(&items[..2]).await.unwrap();
    let before = world.summary().await;
    let mut same_version = items[1].clone();
    same_version.command_id = "somebody else's".to_owned();
    same_version.hash = same_version.computed_hash().unwrap();
    let mut other_past = items[2].clone();
    other_past.prev_hash = same_version.hash.clone();
    other_past.hash = other_past.computed_hash().unwrap();
    for fork in [same_version, other_past] {
        let projection = world.projector.project_into(troubled::DELTA, &[fork]).await;
        assert_eq!(projection.read_models[0].forks, [items[0].key.clone()]);
        assert_eq!(world.summary().await, before);
    }
}

#[tokio::test]
async fn a_version_that_the_ledger_does_not_have_is_refused_and_those_before_it_are_taken_in() {
    let world = World::new();
    let items = history("p", &FIVE);
    for present in [&items[0], &items[1], &items[3], &items[4]] {
        world.ledger.store.insert(present.clone());
    }
    let projection = world.projector.project_into(troubled::DELTA, &items[4..]).await;
    let refused = &projection.read_models[0].refused;
    assert_eq!((refused.len(), refused[0].version.number()), (1, 3), "{refused:?}");
    assert_eq!(world.summary().await, [r#""Ideal" 1 1 2 2 2"#]);
}

#[tokio::test]
async fn an_item_of_the_ledger_that_was_altered_is_refused() {
    let world = World::new();
    let mut items = history("p", &FIVE);
    items[1].state["attributes"]["price"] = "1000".into();
    items.iter().for_each(|item| world.ledger.store.insert(item.clone()));
    let projection = world.projector.project_into(troubled::DELTA, &items[4..]).await;
    assert_eq!(projection.read_models[0].refused[0].version.number(), 2);
    assert_eq!(world.summary().await, [r#""Ideal" 1 1 1 1 1"#]);
}

#[tokio::test]
async fn a_ledger_that_is_away_leaves_those_that_need_it_and_nobody_else() {
    let world = World::new();
    let histories = world.written(&[("gap", &FIVE), ("whole", &FIVE)]);
    world.ledger.set(Trouble { is_away: true, ..Trouble::default() });
    let batch: Vec<VersionItem> = histories[0][4..].iter().chain(&histories[1]).cloned().collect();
    let projection = world.projector.project_into(troubled::DELTA, &batch).await;
    let report = &projection.read_models[0];
    assert_eq!((report.written, &report.left), (1, &vec![histories[0][0].key.clone()]));
    assert!(report.unavailable.is_some());
    world.ledger.set(Trouble::default());
    world.projector.apply(&batch).await.unwrap();
    assert_eq!(world.summary().await, [r#""Ideal" 2 2 10 5 5"#]);
}

#[test]
fn a_domain_whose_versions_expire_may_not_have_delta_projections() {
    let refused = Registry::default().with::<ledgerline_testkit::diary::Diary>();
    assert_eq!(refused.err(), Some(crate::RegistryError::Forgets { resource: "diaries" }));
}
