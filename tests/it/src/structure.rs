//! What must stay true of the repository's shape, whoever changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use saphyr::{LoadableYamlNode, Yaml};

/// Which crates of this workspace a crate may link, beside third-party ones.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kernel", &[]),
    ("domain", &["kernel"]),
    ("app", &["domain", "kernel"]),
    ("ledger-dynamodb", &["kernel"]),
    ("views-postgres", &["kernel"]),
    ("web", &["app", "kernel"]),
    ("lambda", &["app", "kernel", "ledger-dynamodb", "views-postgres", "web"]),
    ("testkit", &["kernel"]),
    ("command-api", FUNCTION_MAY_LINK),
    ("query-api", FUNCTION_MAY_LINK),
    ("data-sync", FUNCTION_MAY_LINK),
    ("stores", &[]),
];

const FUNCTION_MAY_LINK: &[&str] = &["app", "kernel", "lambda", "ledger-dynamodb", "views-postgres", "web"];

/// What neither `kernel` nor `domain` may link, directly or through others.
const IMPURE: &[&str] = &["tokio", "axum", "hyper", "sqlx", "lambda_http", "lambda_runtime", "reqwest"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).other_options(["--locked".into(), "--offline".into()]).exec().unwrap()
}

fn short_name(package: &Package) -> String {
    package.name.strip_prefix("ledgerline-").unwrap_or(&package.name).to_owned()
}

fn links(package: &Package) -> BTreeSet<String> {
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
    normal.map(|dependency| dependency.name.clone()).collect()
}

#[test]
fn dependencies_point_inwards_only() {
    let metadata = metadata();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for package in metadata.workspace_packages() {
        let name = short_name(package);
        let Some(may_link) = allowed.get(name.as_str()) else { continue };
        seen.insert(name.clone());
        let ours = links(package).into_iter().filter_map(|link| link.strip_prefix("ledgerline-").map(str::to_owned));
        for link in ours {
            assert!(may_link.contains(&link.as_str()), "{name} must not link {link}");
        }
    }
    let expected: BTreeSet<_> = allowed.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(seen, expected, "every crate with a rule exists");
}

#[test]
fn every_library_and_function_has_a_dependency_rule() {
    let ruled: BTreeSet<_> = ALLOWED.iter().map(|(name, _)| *name).collect();
    for folder in ["shared", "functions"] {
        for name in folders(&root().join(folder)) {
            assert!(ruled.contains(name.as_str()), "{folder}/{name} has no rule in ALLOWED");
        }
    }
}

#[test]
fn kernel_and_domain_link_no_runtime_no_http_no_sql_and_no_aws() {
    let metadata = metadata();
    let nodes: BTreeMap<_, _> = metadata.resolve.as_ref().unwrap().nodes.iter().map(|node| (&node.id, node)).collect();
    for package in metadata.workspace_packages() {
        if !matches!(short_name(package).as_str(), "kernel" | "domain") {
            continue;
        }
        let mut reached = BTreeSet::new();
        let mut left = vec![&package.id];
        while let Some(id) = left.pop() {
            for dependency in &nodes[id].deps {
                let normal = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
                if normal && reached.insert(&dependency.pkg) {
                    left.push(&dependency.pkg);
                }
            }
        }
        for id in reached {
            let linked = &metadata[id].name;
            let impure = IMPURE.contains(&linked.as_str()) || linked.starts_with("aws-");
            assert!(!impure, "{} reaches {linked}", package.name);
        }
    }
}

#[test]
fn a_crate_is_named_as_its_folder_and_a_functions_binary_too() {
    for package in metadata().workspace_packages() {
        let folder = package.manifest_path.parent().unwrap().file_name().unwrap();
        assert_eq!(short_name(package), folder);
        assert!(package.manifest_path.with_file_name("README.md").exists(), "{folder} has no README.md");
        if package.manifest_path.as_str().contains("/functions/") {
            let binaries: Vec<_> =
                package.targets.iter().filter(|target| target.is_bin()).map(|target| target.name.as_str()).collect();
            assert_eq!(binaries, [folder]);
        }
    }
}

#[test]
fn the_functions_that_exist_are_the_functions_that_are_deployed() {
    let text = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    let documents = Yaml::load_from_str(&text).unwrap();
    let resources = documents[0]["Resources"].as_mapping().unwrap();
    let deployed: BTreeSet<String> = resources
        .values()
        .filter(|resource| resource["Type"].as_str() == Some("AWS::Serverless::Function"))
        .map(|function| function["Metadata"]["BuildProperties"]["Binary"].as_str().unwrap().to_owned())
        .collect();
    let existing: BTreeSet<String> = folders(&root().join("functions")).into_iter().collect();
    assert_eq!(deployed, existing);
}

#[test]
fn a_functions_main_is_at_most_25_lines() {
    for name in folders(&root().join("functions")) {
        let main = std::fs::read_to_string(root().join("functions").join(&name).join("src/main.rs")).unwrap();
        assert!(main.lines().count() <= 25, "functions/{name}/src/main.rs has {} lines", main.lines().count());
    }
}

fn folders(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}
