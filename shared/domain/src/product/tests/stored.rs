use std::path::{Path, PathBuf};

use ledgerline_kernel::{Domain, StoredEvent};

use super::super::{Event, Product};
use super::{created, details_changed, price_changed};

fn golden_files() -> Vec<(PathBuf, StoredEvent)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/stored/product");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap())).collect()
}

/// One of each kind; the compiler asks for a new kind here.
fn one_of_each() -> Vec<Event> {
    let all = vec![
        created(),
        details_changed(|_| {}),
        price_changed("1", "2"),
        Event::ProductDeleted,
        Event::ProductRestored,
        Event::ProductMerged { into: "ring-8".parse().unwrap() },
    ];
    for event in &all {
        match event {
            Event::ProductCreated(_)
            | Event::DetailsChanged { .. }
            | Event::PriceChanged { .. }
            | Event::ProductDeleted
            | Event::ProductRestored
            | Event::ProductMerged { .. } => {}
        }
    }
    all
}

#[test]
fn every_golden_event_is_still_read() {
    for (path, stored) in golden_files() {
        assert!(Product::from_stored(&stored).is_some(), "{}", path.display());
    }
}

#[test]
fn every_event_is_written_in_a_shape_that_has_a_golden_file() {
    for event in one_of_each() {
        let written = Product::to_stored(&event);
        let golden =
            golden_files().into_iter().find(|(_, golden)| (&golden.name, golden.v) == (&written.name, written.v));
        let (path, golden) = golden.unwrap_or_else(|| panic!("no golden file for {} v{}", written.name, written.v));
        let read = Product::from_stored(&golden).unwrap();
        assert_eq!(Product::to_stored(&read), golden, "{} is written back differently", path.display());
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), format!("{}.v{}.json", written.name, written.v));
    }
}

#[test]
fn an_event_of_an_unknown_name_version_or_shape_is_not_read() {
    let known = Product::to_stored(&price_changed("1", "2"));
    let unknown = [
        StoredEvent { name: "PriceGuessed".to_owned(), ..known.clone() },
        StoredEvent { v: 2, ..known.clone() },
        StoredEvent { data: serde_json::json!({"from": 1}), ..known },
    ];
    for stored in unknown {
        assert_eq!(Product::from_stored(&stored), None, "{stored:?}");
    }
}
