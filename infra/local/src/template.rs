//! The deployment's template, as far as it runs on one machine.

mod intrinsics;
mod messaging;
mod sources;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize as _;
use serde_json::{Map, Value};

pub use intrinsics::Scope;
use intrinsics::{Resolver, read_yaml};
pub use messaging::{Queue, QueueSubscription, Schedule, Topic};
pub use sources::QueueSourceMapping;

use ledgerline_stores::EventPattern;

use crate::event_source::{Mapping, StartingPosition};
use crate::gateway::Cors;
use crate::notifications::Rule;
use crate::routes::{Route, RoutePattern};

/// The template this binary was built beside; what a working directory without one gets.
const BUILT_IN: &str = include_str!("../../../template.yaml");

/// What `template.yaml` deploys.
#[derive(Debug, Clone)]
pub struct Template {
    /// Where it was read from, for people.
    pub origin: String,
    /// The Lambda functions.
    pub functions: Vec<Function>,
    /// The HTTP API's routes.
    pub routes: Vec<Route>,
    /// The DynamoDB tables.
    pub tables: Vec<Table>,
    /// The S3 buckets.
    pub buckets: Vec<Bucket>,
    /// The SQS queues.
    pub queues: Vec<Queue>,
    /// The SNS topics.
    pub topics: Vec<Topic>,
    /// What queues subscribe to.
    pub subscriptions: Vec<QueueSubscription>,
    /// The event source mappings on DynamoDB streams.
    pub stream_mappings: Vec<StreamMapping>,
    /// The event source mappings on SQS queues.
    pub queue_mappings: Vec<QueueSourceMapping>,
    /// What buckets tell functions of.
    pub notifications: Vec<Rule>,
    /// What is invoked again and again.
    pub schedules: Vec<Schedule>,
    /// What is deployed and does not run here, by logical id and type.
    pub not_local: Vec<String>,
    document: Value,
}

/// A Lambda function.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its name in the template.
    pub logical_id: String,
    /// The binary it is built from, which is also its name for `cargo lambda`.
    pub binary: String,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// Its environment, unresolved.
    environment: Map<String, Value>,
}

/// A DynamoDB table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name in the template.
    pub logical_id: String,
    /// What it is called here: the logical id, prefixed, in lower case.
    pub name: String,
    /// The partition key's and the sort key's attribute.
    pub keys: Vec<String>,
    /// Whether changes are streamed.
    pub stream: bool,
}

/// An S3 bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name in the template.
    pub logical_id: String,
    /// What it is called here: the logical id, prefixed, in lower case.
    pub name: String,
}

/// An event source mapping of a table's stream to a function.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamMapping {
    /// The local name of the table.
    pub table: String,
    /// The function and how it is invoked. The id is made of the names of function and event in the
    /// template.
    pub settings: Mapping,
    /// The logical id of the queue or topic that is told of what was given up.
    pub on_failure: Option<String>,
}

impl Template {
    /// Reads the template named, else `./template.yaml`, else the one built in.
    ///
    /// # Errors
    /// If the file cannot be read or is not a template.
    pub fn load(named: Option<&Path>) -> anyhow::Result<Self> {
        let here = Path::new("template.yaml");
        match named.or_else(|| here.is_file().then_some(here)) {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the template {}", path.display()))?;
                Self::parse(&text, &path.display().to_string())
            }
            None => Self::parse(BUILT_IN, "the built-in template.yaml"),
        }
    }

    /// Reads a template's text; `origin` is what errors call it.
    ///
    /// # Errors
    /// If it is not YAML, or a function, table or mapping lacks what it cannot do without.
    pub fn parse(text: &str, origin: &str) -> anyhow::Result<Self> {
        let parse = || -> anyhow::Result<Self> {
            let document = read_yaml(text)?;
            let mut template = Self {
                origin: origin.to_owned(),
                functions: Vec::new(),
                routes: Vec::new(),
                tables: Vec::new(),
                buckets: Vec::new(),
                queues: Vec::new(),
                topics: Vec::new(),
                subscriptions: Vec::new(),
                stream_mappings: Vec::new(),
                queue_mappings: Vec::new(),
                notifications: Vec::new(),
                schedules: Vec::new(),
                not_local: Vec::new(),
                document,
            };
            template.read_resources()?;
            Ok(template)
        };
        parse().with_context(|| format!("{origin} is not a template that can run here"))
    }

    /// A function's environment with `scope` filled in.
    ///
    /// # Errors
    /// If a variable refers to something that has no value here.
    pub fn environment(&self, function: &Function, scope: &Scope) -> anyhow::Result<BTreeMap<String, String>> {
        let resolver = Resolver { document: &self.document, scope };
        let mut environment = BTreeMap::new();
        for (name, value) in &function.environment {
            let value = resolver.text(value).with_context(|| format!("{name} of {}", function.logical_id))?;
            environment.insert(name.clone(), value);
        }
        Ok(environment)
    }

    /// The local names of tables and buckets by logical id, for a [`Scope`].
    #[must_use]
    pub fn resource_names(&self) -> BTreeMap<String, String> {
        let tables = self.tables.iter().map(|table| (table.logical_id.clone(), table.name.clone()));
        let buckets = self.buckets.iter().map(|bucket| (bucket.logical_id.clone(), bucket.name.clone()));
        tables.chain(buckets).collect()
    }

    /// The local name of what the functions' variable of this name refers to.
    #[must_use]
    pub fn referred_to_as(&self, variable: &str) -> Option<String> {
        let mut references =
            self.functions.iter().filter_map(|function| function.environment.get(variable)?.get("Ref"));
        self.resource_names().remove(references.next()?.as_str()?)
    }

    /// The function with that logical id.
    #[must_use]
    pub fn function(&self, logical_id: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.logical_id == logical_id)
    }

    fn read_resources(&mut self) -> anyhow::Result<()> {
        let document = self.document.clone();
        let resources = document.get("Resources").and_then(Value::as_object).context("it has no Resources")?;
        for (id, resource) in resources.iter().filter(|(_, resource)| type_of(resource) == "AWS::DynamoDB::Table") {
            self.tables.push(read_table(id, resource).with_context(|| format!("table {id}"))?);
            if resource.pointer("/Properties/TimeToLiveSpecification/Enabled") == Some(&Value::Bool(true)) {
                self.not_local.push(format!("{id} (DynamoDB TTL)"));
            }
        }
        for (id, resource) in resources.iter().filter(|(_, resource)| type_of(resource) == "AWS::SQS::Queue") {
            self.queues.push(messaging::read_queue(id, resource).with_context(|| format!("queue {id}"))?);
        }
        for (id, resource) in resources {
            match type_of(resource) {
                "AWS::Serverless::Function" => {
                    self.read_function(id, resource).with_context(|| format!("function {id}"))?;
                }
                "AWS::S3::Bucket" => {
                    let name = bucket_name(&document, id).with_context(|| format!("bucket {id}"))?;
                    self.buckets.push(Bucket { logical_id: id.clone(), name });
                }
                "AWS::SNS::Topic" => {
                    self.topics.push(messaging::read_topic(id, resource).with_context(|| format!("topic {id}"))?);
                }
                "AWS::SNS::Subscription" => match messaging::read_subscription(resource) {
                    Some(subscription) => self.subscriptions.push(subscription),
                    None => self.not_local.push(format!("{id} (SNS::Subscription)")),
                },
                // Whoever can reach these here may use them.
                "AWS::SQS::QueuePolicy" | "AWS::SNS::TopicPolicy" => {}
                "AWS::DynamoDB::Table" | "AWS::SQS::Queue" | "AWS::Serverless::HttpApi" => {}
                other => self.not_local.push(format!("{id} ({})", other.strip_prefix("AWS::").unwrap_or(other))),
            }
        }
        Ok(())
    }

    fn read_function(&mut self, id: &str, resource: &Value) -> anyhow::Result<()> {
        let property = |name: &str| {
            let own = resource.get("Properties").and_then(|properties| properties.get(name));
            own.or_else(|| self.document.pointer(&format!("/Globals/Function/{name}")))
        };
        let binary = resource.pointer("/Metadata/BuildProperties/Binary").and_then(Value::as_str);
        let function = Function {
            logical_id: id.to_owned(),
            binary: binary.context("it has no Metadata.BuildProperties.Binary")?.to_owned(),
            timeout: Duration::from_secs(property("Timeout").and_then(Value::as_u64).unwrap_or(3)),
            environment: property("Environment")
                .and_then(|environment| environment.get("Variables"))
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
        };
        let events = resource.pointer("/Properties/Events").and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, event) in &events {
            let properties = event.get("Properties").unwrap_or(&Value::Null);
            match type_of(event) {
                "HttpApi" => {
                    let route = self.read_route(&function.binary, properties);
                    self.routes.push(route.with_context(|| format!("event {name}"))?);
                }
                "DynamoDB" => {
                    let mapping = self.read_mapping(&function, name, properties);
                    self.stream_mappings.push(mapping.with_context(|| format!("event {name}"))?);
                }
                "SQS" => {
                    let mapping = sources::read_queue_mapping(&self.queues, &function, name, properties);
                    match mapping.with_context(|| format!("event {name}"))? {
                        Some(mapping) => self.queue_mappings.push(mapping),
                        None => self.not_local.push(format!("{id}.{name} (SQS)")),
                    }
                }
                "S3" => {
                    let rule = sources::read_notification(&self.document, &function, resource, name, properties);
                    match rule.with_context(|| format!("event {name}"))? {
                        Some(rule) => self.notifications.push(rule),
                        None => self.not_local.push(format!("{id}.{name} (S3)")),
                    }
                }
                kind @ ("Schedule" | "ScheduleV2") => {
                    let schedule = messaging::read_schedule(format!("{id}.{name}"), &function.binary, properties);
                    match schedule {
                        Some(schedule) => self.schedules.push(schedule),
                        None => self.not_local.push(format!("{id}.{name} ({kind})")),
                    }
                }
                other => self.not_local.push(format!("{id}.{name} ({other})")),
            }
        }
        self.functions.push(function);
        Ok(())
    }

    fn read_route(&self, function: &str, properties: &Value) -> anyhow::Result<Route> {
        let text = |name: &str| properties.get(name).and_then(Value::as_str);
        let pattern = match (text("Method"), text("Path")) {
            (Some(method), Some(path)) => {
                RoutePattern::parse(method, path).with_context(|| format!("route {method} {path}"))?
            }
            (None, None) => RoutePattern::of_the_rest(),
            _ => bail!("a route has a Method and a Path or, to take the rest, neither"),
        };
        let api = properties.pointer("/ApiId/Ref").and_then(Value::as_str).unwrap_or_default();
        let cors = self.document.pointer(&format!("/Resources/{api}/Properties/CorsConfiguration"));
        let cors = cors.map(Cors::deserialize).transpose().with_context(|| format!("CorsConfiguration of {api}"))?;
        Ok(Route { function: function.to_owned(), pattern, cors: cors.map(Arc::new) })
    }

    fn read_mapping(&self, function: &Function, name: &str, properties: &Value) -> anyhow::Result<StreamMapping> {
        // -1 is Lambda's "no limit", and its default.
        let number = |name: &str| properties.get(name).and_then(Value::as_i64);
        let limit = |name: &str| number(name).and_then(|value| u32::try_from(value).ok());
        let is_set = |name: &str| properties.get(name).and_then(Value::as_bool).unwrap_or(false);
        let table = properties.pointer("/Stream/Fn::GetAtt/0").and_then(Value::as_str);
        let table = table.context("its Stream is not `!GetAtt <table>.StreamArn`")?;
        let table = self.tables.iter().find(|candidate| candidate.logical_id == table && candidate.stream);
        let filters = properties.pointer("/FilterCriteria/Filters").and_then(Value::as_array);
        let filters = filters.map(Vec::as_slice).unwrap_or_default().iter().map(read_filter);
        let filters: Vec<EventPattern> = filters.collect::<anyhow::Result<_>>()?;
        let response_types = properties.get("FunctionResponseTypes").and_then(Value::as_array);
        let on_failure = properties.pointer("/DestinationConfig/OnFailure/Destination/Fn::GetAtt/0");
        let defaults = Mapping::new(format!("{}.{name}", function.logical_id), &function.binary);
        let settings = Mapping {
            start: match properties.get("StartingPosition").and_then(Value::as_str) {
                Some("LATEST") => StartingPosition::Newest,
                _ => StartingPosition::Oldest,
            },
            batch_size: limit("BatchSize").and_then(|size| size.try_into().ok()).unwrap_or(defaults.batch_size),
            window: Duration::from_secs(limit("MaximumBatchingWindowInSeconds").unwrap_or(0).into()),
            maximum_retry_attempts: limit("MaximumRetryAttempts"),
            maximum_record_age: limit("MaximumRecordAgeInSeconds").map(|seconds| Duration::from_secs(seconds.into())),
            bisect: is_set("BisectBatchOnFunctionError"),
            reports_item_failures: response_types
                .is_some_and(|types| types.iter().any(|kind| kind == "ReportBatchItemFailures")),
            parallelization_factor: limit("ParallelizationFactor").and_then(|lanes| lanes.try_into().ok()).unwrap_or(1),
            filters,
            ..defaults
        };
        Ok(StreamMapping {
            table: table.context("its table has no StreamSpecification")?.name.clone(),
            settings,
            on_failure: on_failure.and_then(Value::as_str).map(str::to_owned),
        })
    }
}

fn type_of(value: &Value) -> &str {
    value.get("Type").and_then(Value::as_str).unwrap_or("untyped")
}

fn local_name(logical_id: &str) -> String {
    format!("ledgerline-{}", logical_id.to_lowercase())
}

/// A bucket's name: its own where it has one, as a function that must not refer to it spells it too.
fn bucket_name(document: &Value, id: &str) -> anyhow::Result<String> {
    let Some(name) = document.pointer(&format!("/Resources/{id}/Properties/BucketName")) else {
        return Ok(local_name(id));
    };
    let named = Resolver { document, scope: &Scope::default() }.resolve(name)?;
    named.as_ref().and_then(Value::as_str).map(str::to_owned).context("its BucketName is no text")
}

fn read_table(id: &str, resource: &Value) -> anyhow::Result<Table> {
    let schema = resource.pointer("/Properties/KeySchema").and_then(Value::as_array).context("it has no KeySchema")?;
    let keys = schema.iter().filter_map(|key| key.get("AttributeName")?.as_str().map(str::to_owned));
    Ok(Table {
        logical_id: id.to_owned(),
        name: local_name(id),
        keys: keys.collect(),
        stream: resource.pointer("/Properties/StreamSpecification").is_some(),
    })
}

fn read_filter(filter: &Value) -> anyhow::Result<EventPattern> {
    let pattern = filter.get("Pattern").and_then(Value::as_str).context("a filter has no Pattern")?;
    let pattern = serde_json::from_str(pattern).with_context(|| format!("the filter pattern {pattern} is not JSON"))?;
    Ok(EventPattern::parse(&pattern)?)
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
