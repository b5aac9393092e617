use ledgerline_testkit::note::Note;

use super::*;
use crate::Registry;

fn read(request: ListRequest) -> Result<ListQuery, Vec<(String, String)>> {
    let registry = Registry::default().with::<Note>().unwrap();
    let domain = registry.domains().next().unwrap();
    let read = request.into_query(domain.as_ref(), "acme".parse().unwrap());
    read.map_err(|problems| problems.into_iter().map(|problem| (problem.name, problem.message)).collect())
}

fn search(text: &str) -> Result<Vec<String>, String> {
    let request = ListRequest { q: Some(text.to_owned()), ..ListRequest::default() };
    read(request).map(|query| query.words).map_err(|mut problems| problems.remove(0).1)
}

fn shipped(resource: &str) -> std::sync::Arc<dyn DynDomain> {
    Registry::shipped().unwrap().by_resource(resource).unwrap().clone()
}

#[test]
fn every_parameter_that_the_domain_does_not_have_is_named() {
    let filters = [("colour", "red"), ("name", "x"), ("body\u{0}", "x"), ("code", "a\0b"), ("stars.gt", "many")];
    let filters = filters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let sort = "size,name,-name,weight".to_owned();
    let request = ListRequest { filters, q: Some("?".to_owned()), sort, ..ListRequest::default() };
    let names: Vec<_> = read(request).unwrap_err().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["colour", "body\u{0}", "code", "stars.gt", "q", "sort", "sort", "sort"]);
}

#[test]
fn sorting_by_a_field_twice_is_refused() {
    assert!(read(ListRequest { sort: "name,-name".to_owned(), ..ListRequest::default() }).is_err());
}

#[test]
fn a_comma_without_a_field_beside_it_is_refused() {
    for sort in [",", "price,", ",price", "price,,name", "-"] {
        let problems = read(ListRequest { sort: sort.to_owned(), ..ListRequest::default() }).unwrap_err();
        assert!(problems.contains(&("sort".to_owned(), "cannot sort by \"\"".to_owned())), "{sort}: {problems:?}");
    }
    assert!(read(ListRequest::default()).is_ok());
}

#[test]
fn of_a_long_field_to_sort_by_only_the_beginning_is_repeated() {
    let problems = read(ListRequest { sort: "x".repeat(1_000), ..ListRequest::default() }).unwrap_err();
    assert_eq!(problems, [("sort".to_owned(), format!("cannot sort by \"{}…\"", "x".repeat(64)))]);
}

#[test]
fn a_numeric_filter_is_a_decimal_in_plain_notation() {
    let products = shipped("products");
    let filter = read_filter(products.as_ref(), "price.gte", "1e2").unwrap();
    assert_eq!((filter.comparison, filter.value.as_str()), (Comparison::GreaterOrEqual, "100"));
    assert!(read_filter(products.as_ref(), "price.gte", "cheap").is_err());
    assert!(read_filter(products.as_ref(), "specification", "{}").is_err());
}

#[test]
fn what_has_no_index_is_compared_for_equality_only_and_not_sorted_by() {
    let products = shipped("products");
    assert!(read_filter(products.as_ref(), "description", "x").is_ok());
    assert_eq!(read_filter(products.as_ref(), "description.gte", "x"), Err("takes no range".to_owned()));
    assert!(read_sort(products.as_ref(), "description").is_err());
    assert!(read_sort(products.as_ref(), "category,-price,-updatedAt").is_ok());
}

#[test]
fn a_search_is_for_words_whatever_else_its_text_holds() {
    assert_eq!(search("Solitaire RING, 0.23ct").unwrap(), ["0", "23ct", "ring", "solitaire"]);
    assert_eq!(search("a' & !b:*\\ | <-> \"c\0d").unwrap(), ["a", "b", "c", "d"]);
}

#[test]
fn a_word_that_begins_another_is_not_looked_for_twice() {
    assert_eq!(search("r ring rings 7 70").unwrap(), ["70", "rings"]);
}

#[test]
fn a_search_for_nothing_or_for_too_much_is_refused() {
    for text in ["", " ", "!&|", "💎", "\0", "'; DROP TABLE product; --".split(' ').next().unwrap()] {
        assert_eq!(search(text), Err("must hold a letter or a digit".to_owned()), "{text:?}");
    }
    assert_eq!(search(&"x".repeat(500)).unwrap().len(), 1, "nine equal words of 60, one that begins them");
    assert!(search(&"x".repeat(501)).is_err());
    assert!(search(&"x ".repeat(10_000)).is_err());
    let words = |count: u32| (10..10 + count).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(search(&words(20)).unwrap().len(), 20);
    assert!(search(&words(21)).is_err());
}
