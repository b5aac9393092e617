//! CloudFormation's YAML as JSON, and the few functions in it that matter on one machine.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// Reads a template; `!Ref x` and its kin come out in their long form, `{"Ref": "x"}`.
pub(super) fn read_yaml(text: &str) -> anyhow::Result<Value> {
    let documents = Yaml::load_from_str(text).context("it is not YAML")?;
    to_json(documents.first().context("it is empty")?)
}

fn to_json(node: &Yaml<'_>) -> anyhow::Result<Value> {
    Ok(match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(items) => items.iter().map(to_json).collect::<anyhow::Result<_>>()?,
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let key = match to_json(key)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                object.insert(key, to_json(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tag, inner) => long_form(&tag.suffix, to_json(inner)?),
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => bail!("it holds a value that cannot be read"),
    })
}

fn long_form(tag: &str, inner: Value) -> Value {
    match (tag, inner) {
        ("Ref" | "Condition", inner) => json!({ tag: inner }),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').unwrap_or((&path, ""));
            json!({ "Fn::GetAtt": [resource, attribute] })
        }
        (function, inner) => json!({ format!("Fn::{function}"): inner }),
    }
}

/// What references in a template stand for on this machine.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Values of parameters, by name. Any other parameter has its default.
    pub parameters: BTreeMap<String, String>,
    /// What `!Ref` of a resource gives, by logical id.
    pub resources: BTreeMap<String, String>,
    /// What `!GetAtt` gives, by `resource.attribute`. Any other has a value that is made up.
    pub attributes: BTreeMap<String, String>,
}

/// A template's sections that references are looked up in.
pub(super) struct Resolver<'a> {
    pub(super) document: &'a Value,
    pub(super) scope: &'a Scope,
}

impl Resolver<'_> {
    /// The value with its functions evaluated; `None` for `AWS::NoValue`.
    pub(super) fn resolve(&self, value: &Value) -> anyhow::Result<Option<Value>> {
        match value {
            Value::Object(object) => match (object.len(), object.iter().next()) {
                (1, Some((function, argument))) if function == "Ref" || function.starts_with("Fn::") => {
                    self.call(function, argument).with_context(|| format!("cannot evaluate {value}"))
                }
                _ => {
                    let mut resolved = Map::new();
                    for (key, value) in object {
                        if let Some(value) = self.resolve(value)? {
                            resolved.insert(key.clone(), value);
                        }
                    }
                    Ok(Some(Value::Object(resolved)))
                }
            },
            Value::Array(items) => {
                let items = items.iter().filter_map(|item| self.resolve(item).transpose());
                Ok(Some(Value::Array(items.collect::<anyhow::Result<_>>()?)))
            }
            other => Ok(Some(other.clone())),
        }
    }

    /// As [`resolve`](Self::resolve), as text.
    pub(super) fn text(&self, value: &Value) -> anyhow::Result<String> {
        match self.resolve(value)? {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| self.text(item))
                .collect::<anyhow::Result<Vec<_>>>()
                .map(|items| items.join(",")),
            Some(other) => Ok(other.to_string()),
            None => Ok(String::new()),
        }
    }

    fn call(&self, function: &str, argument: &Value) -> anyhow::Result<Option<Value>> {
        Ok(Some(match (function, argument) {
            ("Ref", Value::String(name)) if name == "AWS::NoValue" => return Ok(None),
            ("Ref", Value::String(name)) => json!(self.reference(name)?),
            ("Fn::GetAtt", Value::Array(path)) => match path.as_slice() {
                [Value::String(resource), Value::String(attribute)] => json!(self.attribute(resource, attribute)?),
                _ => bail!("!GetAtt takes a resource and an attribute"),
            },
            ("Fn::Sub", Value::String(text)) => json!(self.substitute(text, &Map::new())?),
            ("Fn::Sub", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(text), Value::Object(names)] => json!(self.substitute(text, names)?),
                _ => bail!("!Sub takes a text and names"),
            },
            ("Fn::Join", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(separator), list] => match self.resolve(list)? {
                    Some(Value::Array(items)) => {
                        let items: Vec<String> =
                            items.iter().map(|item| self.text(item)).collect::<anyhow::Result<_>>()?;
                        json!(items.join(separator))
                    }
                    Some(other) => other,
                    None => json!(""),
                },
                _ => bail!("!Join takes a separator and a list"),
            },
            ("Fn::If", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(condition), yes, no] => {
                    let condition = self.named_condition(condition)?;
                    return self.resolve(if condition { yes } else { no });
                }
                _ => bail!("!If takes a condition and two values"),
            },
            _ => bail!("{function} is not known to the local host"),
        }))
    }

    fn reference(&self, name: &str) -> anyhow::Result<String> {
        if let Some(value) = self.scope.parameters.get(name).or_else(|| self.scope.resources.get(name)) {
            return Ok(value.clone());
        }
        if let Some(value) = pseudo_parameter(name) {
            return Ok(value.to_owned());
        }
        if let Some(parameter) = self.document.pointer(&format!("/Parameters/{name}")) {
            return self.text(parameter.get("Default").with_context(|| format!("parameter {name} has no value"))?);
        }
        if self.document.pointer(&format!("/Resources/{name}")).is_some() {
            return Ok(name.to_owned());
        }
        bail!("there is no {name} in the template")
    }

    fn attribute(&self, resource: &str, attribute: &str) -> anyhow::Result<String> {
        if let Some(value) = self.scope.attributes.get(&format!("{resource}.{attribute}")) {
            return Ok(value.clone());
        }
        let name = self.reference(resource)?;
        Ok(match attribute {
            "Arn" | "StreamArn" => format!("arn:aws:local:us-east-1:000000000000:{name}"),
            _ => name,
        })
    }

    fn substitute(&self, text: &str, names: &Map<String, Value>) -> anyhow::Result<String> {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').with_context(|| format!("unclosed ${{ in {text:?}"))?;
            result.push_str(before);
            result.push_str(&match (name.strip_prefix('!'), names.get(name), name.split_once('.')) {
                (Some(literal), ..) => format!("${{{literal}}}"),
                (_, Some(value), _) => self.text(value)?,
                (_, _, Some((resource, attribute))) => self.attribute(resource, attribute)?,
                _ => self.reference(name)?,
            });
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }

    fn named_condition(&self, name: &str) -> anyhow::Result<bool> {
        let condition = self.document.pointer(&format!("/Conditions/{name}"));
        self.holds(condition.with_context(|| format!("there is no condition {name}"))?)
    }

    /// Whether a condition holds.
    pub(super) fn holds(&self, condition: &Value) -> anyhow::Result<bool> {
        let (function, argument) = match condition.as_object().and_then(|object| object.iter().next()) {
            Some((function, argument)) => (function.as_str(), argument),
            None => bail!("{condition} is not a condition"),
        };
        let list = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match (function, list) {
            ("Condition", _) => self.named_condition(argument.as_str().unwrap_or_default()),
            ("Fn::Equals", [left, right]) => Ok(self.text(left)? == self.text(right)?),
            ("Fn::Not", [inner]) => Ok(!self.holds(inner)?),
            ("Fn::And", all) => all.iter().try_fold(true, |so_far, inner| Ok(so_far && self.holds(inner)?)),
            ("Fn::Or", any) => any.iter().try_fold(false, |so_far, inner| Ok(so_far || self.holds(inner)?)),
            _ => bail!("{function} is not a condition the local host knows"),
        }
    }
}

fn pseudo_parameter(name: &str) -> Option<&'static str> {
    Some(match name {
        "AWS::Region" => "us-east-1",
        "AWS::AccountId" => "000000000000",
        "AWS::Partition" => "aws",
        "AWS::URLSuffix" => "amazonaws.com",
        "AWS::StackName" => "ledgerline",
        _ => return None,
    })
}
