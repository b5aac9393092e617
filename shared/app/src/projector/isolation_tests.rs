//! What one read model, or one entity, cannot take or is away for holds up no other.

use super::troubled::{DELTA, Step, Trouble, World};
use super::*;

use Step::{Made, Priced};

const TWO: [Step<'_>; 2] = [Made("Ideal", "1"), Priced("2")];

fn two_of(sks: &[&str]) -> Vec<(String, u64)> {
    sks.iter().map(|sk| ((*sk).to_owned(), 2)).collect()
}

#[tokio::test]
async fn an_entity_that_one_read_model_refuses_reaches_the_others() {
    let world = World::new();
    let items: Vec<VersionItem> =
        world.written(&[("a", &TWO), ("b", &TWO), ("c", &TWO)]).into_iter().flatten().collect();
    world.table.set(Trouble::refusing(&["b"]));
    let projection = world.projector.project(&items, &|| true).await;
    assert_eq!(world.versions(&world.table), two_of(&["a", "c"]));
    assert_eq!(world.versions(&world.views), two_of(&["a", "b", "c"]));
    assert_eq!(world.summary().await, [r#""Ideal" 3 3 6 2 2"#]);
    let refused: Vec<_> =
        projection.read_models.iter().map(|report| (report.read_model, report.refused.len())).collect();
    assert_eq!(refused, [("table", 1), ("views", 0), (DELTA, 0)]);
    assert!(matches!(projection.complete(), Err(StoreError::Rejected { store: "table", .. })));
}

#[tokio::test]
async fn what_a_delta_projection_refuses_or_panics_over_stops_neither_states_nor_others() {
    for trouble in [Trouble::refusing(&["b"]), Trouble { panics: ["b"].into(), ..Trouble::default() }] {
        let world = World::new();
        let items: Vec<VersionItem> =
            world.written(&[("a", &TWO), ("b", &TWO), ("c", &TWO)]).into_iter().flatten().collect();
        world.deltas.set(trouble);
        let projection = world.projector.project(&items, &|| true).await;
        assert_eq!(world.versions(&world.table), two_of(&["a", "b", "c"]));
        assert_eq!(world.summary().await, [r#""Ideal" 2 2 4 2 2"#]);
        let report = projection.read_models.last().unwrap();
        assert_eq!((report.read_model, report.written, report.refused.len()), (DELTA, 2, 1));
    }
}

#[tokio::test]
async fn a_read_model_that_is_away_leaves_its_entities_and_the_others_go_on() {
    let world = World::new();
    let items: Vec<VersionItem> = world.written(&[("a", &TWO), ("b", &TWO)]).into_iter().flatten().collect();
    world.table.set(Trouble { is_away: true, ..Trouble::default() });
    let projection = world.projector.project(&items, &|| true).await;
    assert_eq!(projection.read_models[0].left.len(), 2);
    assert_eq!(world.versions(&world.views), two_of(&["a", "b"]));
    assert!(matches!(projection.complete(), Err(StoreError::Unavailable { .. })));
}

#[tokio::test]
async fn one_bad_entity_among_many_costs_a_few_calls_and_not_one_for_each() {
    let world = World::new();
    let sks: Vec<String> = (0..128).map(|number| format!("p{number:03}")).collect();
    let histories: Vec<(&str, &[Step<'_>])> = sks.iter().map(|sk| (sk.as_str(), &TWO[..])).collect();
    let items: Vec<VersionItem> = world.written(&histories).into_iter().flatten().collect();
    world.table.set(Trouble::refusing(&["p077"]));
    world.projector.project(&items, &|| true).await;
    assert_eq!(world.versions(&world.table).len(), 127);
    assert!(world.table.calls() <= 20, "halved, not one by one");
}

#[tokio::test]
async fn nothing_is_begun_once_time_is_up() {
    let world = World::new();
    let items: Vec<VersionItem> = world.written(&[("a", &TWO), ("b", &TWO)]).into_iter().flatten().collect();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let once = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
    let projection = world.projector.project(&items, &once).await;
    assert_eq!((world.table.calls(), world.views.calls(), world.deltas.calls()), (1, 0, 0));
    let left: Vec<usize> = projection.read_models.iter().map(|report| report.left.len()).collect();
    assert_eq!(left, [0, 2, 2]);
    assert!(matches!(projection.complete(), Err(StoreError::Unavailable { .. })));
}

#[tokio::test]
async fn one_read_model_can_be_projected_into_alone() {
    let world = World::new();
    let items: Vec<VersionItem> = world.written(&[("a", &TWO)]).into_iter().flatten().collect();
    assert_eq!(world.projector.read_models(), ["table", "views", DELTA]);
    world.projector.project_into("views", &items).await.complete().unwrap();
    assert_eq!((world.table.calls(), world.views.calls(), world.deltas.calls()), (0, 1, 0));
}
