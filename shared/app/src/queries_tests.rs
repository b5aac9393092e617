use ledgerline_testkit::note::Note;
use ledgerline_testkit::{MemoryEntities, MemoryLedger, note_key, version_items};

use super::*;
use crate::{Projector, Registry};

struct World {
    ledger: MemoryLedger,
    rows: MemoryEntities,
    queries: Queries,
    registry: Registry,
}

fn world() -> World {
    let (ledger, rows) = (MemoryLedger::default(), MemoryEntities::default());
    let queries = Queries::new(Arc::new(ledger.clone()), Arc::new(rows.clone()), Arc::new(rows.clone()));
    World { ledger, rows, queries, registry: Registry::default().with::<Note>().unwrap() }
}

impl World {
    /// `stored` versions in the ledger, the first `projected` of them in the read model.
    async fn note(&self, stored: u64, projected: usize) -> Vec<VersionItem> {
        let items = version_items(&note_key("a"), stored);
        for item in &items {
            self.ledger.insert(item.clone());
        }
        let projector = Projector::new(self.registry.clone(), vec![Arc::new(self.rows.clone())]);
        projector.apply(&items[..projected]).await.unwrap();
        items
    }

    fn domain(&self) -> &dyn DynDomain {
        self.registry.domains().next().unwrap().as_ref()
    }

    async fn get(&self, tenant: &str, strong: bool, min: Option<u64>) -> Result<u64, QueryError> {
        let min = min.map(|number| Version::new(number).unwrap());
        let got = self.queries.get(self.domain(), tenant.parse().unwrap(), "a".parse().unwrap(), strong, min).await;
        got.map(|entity| entity.version.number())
    }

    async fn list(&self, filters: &[(&str, &str)], sort: &str) -> Result<Listed, QueryError> {
        let filters = filters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = ListRequest { filters, sort: sort.to_owned(), limit: 10, ..ListRequest::default() };
        self.queries.list(self.domain(), "acme".parse().unwrap(), request).await
    }
}

#[tokio::test]
async fn a_read_by_key_answers_from_the_read_model_unless_asked_for_more() {
    let world = world();
    world.note(3, 2).await;
    assert_eq!(world.get("acme", false, None).await, Ok(2));
    assert_eq!(world.get("acme", false, Some(2)).await, Ok(2));
    assert_eq!(world.get("acme", false, Some(3)).await, Ok(3), "behind: the ledger is asked");
    assert_eq!(world.get("acme", true, None).await, Ok(3));
}

#[tokio::test]
async fn what_is_not_projected_yet_is_found_all_the_same() {
    let world = world();
    world.note(1, 0).await;
    assert_eq!(world.get("acme", false, None).await, Ok(1));
}

#[tokio::test]
async fn another_tenants_entity_is_not_found() {
    let world = world();
    world.note(1, 1).await;
    for strong in [true, false] {
        assert!(matches!(world.get("other", strong, None).await, Err(QueryError::NotFound(_))));
    }
}

#[tokio::test]
async fn a_version_of_the_past_is_read_from_the_ledger() {
    let world = world();
    let items = world.note(3, 3).await;
    let at = |number| {
        let version = Version::new(number).unwrap();
        world.queries.at_version(world.domain(), "acme".parse().unwrap(), "a".parse().unwrap(), version)
    };
    assert_eq!(at(2).await, Ok(Entity::from(&items[1])));
    assert!(matches!(at(4).await, Err(QueryError::NotFound(_))));
}

#[tokio::test]
async fn a_history_is_paged_newest_first_and_ends() {
    let world = world();
    world.note(5, 5).await;
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let tenant = "acme".parse().unwrap();
        let page = world.queries.history(world.domain(), tenant, "a".parse().unwrap(), before, 2).await.unwrap();
        seen.extend(page.0.iter().map(|item| item.version.number()));
        match page.1 {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_history_of_nothing_is_not_found() {
    let world = world();
    let history = world.queries.history(world.domain(), "acme".parse().unwrap(), "a".parse().unwrap(), None, 2).await;
    assert!(matches!(history, Err(QueryError::NotFound(_))));
}

#[tokio::test]
async fn every_parameter_that_the_domain_does_not_have_is_named() {
    let world = world();
    let listed = world.list(&[("colour", "red"), ("name", "x"), ("body\u{0}", "x"), ("code", "a\0b")], "size").await;
    let Err(QueryError::Parameters(problems)) = listed else { panic!("{listed:?}") };
    let names: Vec<_> = problems.iter().map(|problem| problem.name.as_str()).collect();
    assert_eq!(names, ["colour", "body\u{0}", "code", "sort"]);
}

#[tokio::test]
async fn sorting_by_a_field_twice_is_refused() {
    let world = world();
    assert!(matches!(world.list(&[], "name,-name").await, Err(QueryError::Parameters(_))));
}

#[test]
fn a_numeric_filter_is_a_decimal_in_plain_notation() {
    let registry = Registry::shipped().unwrap();
    let products = registry.by_resource("products").unwrap();
    let filter = read_filter(products.as_ref(), "price.gte", "1e2").unwrap();
    assert_eq!((filter.comparison, filter.value.as_str()), (Comparison::GreaterOrEqual, "100"));
    assert!(read_filter(products.as_ref(), "price.gte", "cheap").is_err());
    assert!(read_filter(products.as_ref(), "specification", "{}").is_err());
}
