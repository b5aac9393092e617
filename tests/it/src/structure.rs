//! What must stay true of the repository's shape, whoever changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;

/// Which crates of this workspace a crate may link, beside third-party ones.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kernel", &[]),
    ("domain", &["kernel"]),
    ("app", &["domain", "import-file", "kernel"]),
    ("ledger-dynamodb", &["kernel"]),
    ("views-postgres", &["kernel"]),
    ("web", &["app", "kernel"]),
    ("blobs-s3", &["kernel"]),
    ("bus-sns", &["kernel"]),
    ("import-file", &["kernel"]),
    ("queue-sqs", &["kernel"]),
    ("lambda", &["app", "blobs-s3", "kernel", "ledger-dynamodb", "views-postgres", "web"]),
    ("testkit", &["kernel"]),
    ("command-api", &["app", "blobs-s3", "kernel", "lambda", "ledger-dynamodb", "views-postgres", "web"]),
    ("query-api", FUNCTION_MAY_LINK),
    ("data-sync", FUNCTION_MAY_LINK),
    ("reconcile", FUNCTION_MAY_LINK),
    ("event-relay", &["app", "bus-sns", "kernel", "lambda"]),
    ("import-splitter", &["app", "blobs-s3", "import-file", "kernel", "lambda", "ledger-dynamodb", "queue-sqs"]),
    ("import-worker", &["app", "import-file", "kernel", "lambda", "ledger-dynamodb", "views-postgres"]),
    ("stores", &[]),
];

const FUNCTION_MAY_LINK: &[&str] = &["app", "kernel", "lambda", "ledger-dynamodb", "views-postgres", "web"];

/// What neither `kernel` nor `domain` may link, directly or through others.
const IMPURE: &[&str] = &["tokio", "axum", "hyper", "sqlx", "lambda_http", "lambda_runtime", "reqwest"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What `cargo metadata` says. Read as plain JSON: the crate made for it turns on a feature of
/// `serde_json` that would have everything built twice, once for `cargo run` and once for the tests.
struct Metadata(Value);

impl Metadata {
    fn read() -> Self {
        let rustc = Command::new("rustc").arg("-vV").output().unwrap();
        let host = String::from_utf8(rustc.stdout).unwrap();
        let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        // Of this platform: what others would need was not downloaded, and there may be no network.
        let command = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(command.status.success(), "{}", String::from_utf8_lossy(&command.stderr));
        Self(serde_json::from_slice(&command.stdout).unwrap())
    }

    fn workspace_packages(&self) -> Vec<Package<'_>> {
        let members = self.0["workspace_members"].as_array().unwrap();
        self.packages().filter(|package| members.contains(&package.0["id"])).collect()
    }

    fn packages(&self) -> impl Iterator<Item = Package<'_>> {
        self.0["packages"].as_array().unwrap().iter().map(Package)
    }

    /// The ids of all that a package links, directly or through others.
    fn reached_from(&self, id: &Value) -> BTreeSet<String> {
        let nodes = self.0["resolve"]["nodes"].as_array().unwrap();
        let nodes: BTreeMap<_, _> = nodes.iter().map(|node| (node["id"].as_str().unwrap(), node)).collect();
        let mut reached = BTreeSet::new();
        let mut left = vec![id.as_str().unwrap()];
        while let Some(id) = left.pop() {
            for dependency in nodes[id]["deps"].as_array().unwrap() {
                // The kind of an ordinary dependency is null; others are "dev" and "build".
                let normal = dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
                let package = dependency["pkg"].as_str().unwrap();
                if normal && reached.insert(package.to_owned()) {
                    left.push(package);
                }
            }
        }
        reached
    }
}

struct Package<'a>(&'a Value);

impl Package<'_> {
    fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    fn short_name(&self) -> &str {
        self.name().strip_prefix("ledgerline-").unwrap_or(self.name())
    }

    fn folder(&self) -> &Path {
        Path::new(self.0["manifest_path"].as_str().unwrap()).parent().unwrap()
    }

    /// The crates of this workspace that it links itself, by their short names.
    fn links(&self) -> BTreeSet<&str> {
        let all = self.0["dependencies"].as_array().unwrap().iter();
        let normal = all.filter(|dependency| dependency["kind"].is_null());
        normal.filter_map(|dependency| dependency["name"].as_str().unwrap().strip_prefix("ledgerline-")).collect()
    }

    fn binaries(&self) -> Vec<&str> {
        let targets = self.0["targets"].as_array().unwrap().iter();
        let binaries = targets.filter(|target| target["kind"][0] == "bin");
        binaries.map(|target| target["name"].as_str().unwrap()).collect()
    }
}

#[test]
fn dependencies_point_inwards_only() {
    let metadata = Metadata::read();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for package in metadata.workspace_packages() {
        let Some(may_link) = allowed.get(package.short_name()) else { continue };
        seen.insert(package.short_name().to_owned());
        for link in package.links() {
            assert!(may_link.contains(&link), "{} must not link {link}", package.short_name());
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
    let metadata = Metadata::read();
    let names: BTreeMap<_, _> =
        metadata.packages().map(|package| (package.0["id"].as_str().unwrap(), package.name().to_owned())).collect();
    for package in metadata.workspace_packages() {
        if !matches!(package.short_name(), "kernel" | "domain") {
            continue;
        }
        for id in metadata.reached_from(&package.0["id"]) {
            let linked = &names[id.as_str()];
            let impure = IMPURE.contains(&linked.as_str()) || linked.starts_with("aws-");
            assert!(!impure, "{} reaches {linked}", package.name());
        }
    }
}

#[test]
fn a_crate_is_named_as_its_folder_and_a_functions_binary_too() {
    for package in Metadata::read().workspace_packages() {
        let folder = package.folder().file_name().unwrap().to_str().unwrap();
        assert_eq!(package.short_name(), folder);
        assert!(package.folder().join("README.md").exists(), "{folder} has no README.md");
        if package.folder().parent().unwrap().ends_with("functions") {
            assert_eq!(package.binaries(), [folder]);
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
fn what_the_templates_metrics_count_is_what_functions_log() {
    let template = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    let patterns = template.lines().filter_map(|line| line.trim().strip_prefix("FilterPattern: "));
    let phrases: Vec<&str> = patterns.map(|pattern| pattern.split('"').nth(1).unwrap()).collect();
    assert!(phrases.len() >= 4, "{phrases:?}");
    let mut sources = String::new();
    for folder in ["shared", "functions"] {
        read_sources(&root().join(folder), &mut sources);
    }
    let unheard: Vec<_> = phrases.iter().filter(|phrase| !sources.contains(**phrase)).collect();
    assert!(unheard.is_empty(), "{unheard:?}");
}

#[test]
fn a_functions_main_is_at_most_25_lines() {
    for name in folders(&root().join("functions")) {
        let main = std::fs::read_to_string(root().join("functions").join(&name).join("src/main.rs")).unwrap();
        assert!(main.lines().count() <= 25, "functions/{name}/src/main.rs has {} lines", main.lines().count());
    }
}

#[test]
fn the_tests_that_the_table_of_mistakes_names_are_there() {
    let table = std::fs::read_to_string(root().join("tests/it/README.md")).unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').nth(1));
    let named: BTreeSet<&str> = cells.flat_map(|tests| tests.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 30, "{named:?}");
    let mut sources = String::new();
    for folder in ["shared", "functions", "infra", "tests"] {
        read_sources(&root().join(folder), &mut sources);
    }
    let missing: Vec<_> = named.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn read_sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            read_sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

fn folders(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}
