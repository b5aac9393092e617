//! A mapping out of a file: JSON or YAML, whatever the file is called.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use ledgerline_import_file::{Mapping, Source};
use ledgerline_kernel::input::Problem;
use saphyr::{LoadableYamlNode as _, MarkedYaml, Marker, Scalar, YamlData};
use serde_json::{Map, Value};

/// A mapping, and where its fields stand.
#[derive(Debug)]
pub(super) struct MappingFile {
    pub(super) mapping: Mapping,
    name: String,
    places: BTreeMap<String, String>,
}

impl MappingFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with the mapping, whatever it is applied to, with its place in the file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mapping = parse(text).map_err(|problem| anyhow!("{name} is no mapping: {problem}"))?;
        let file = Self { mapping, name, places: places(text) };
        match file.mapping.check(&[]).as_slice() {
            [] => Ok(file),
            problems => Err(file.complaint("makes no sense", problems)),
        }
    }

    /// An error that says what is wrong with which fields.
    pub(super) fn complaint(&self, what: &str, problems: &[Problem]) -> anyhow::Error {
        let mut text = format!("{} {what}", self.name);
        for Problem { path, message, .. } in problems {
            let place = self.places.get(path).map(String::as_str).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {path} {message}{place}");
        }
        anyhow!(text)
    }
}

/// JSON is read as JSON: what is YAML, too, has no half characters (`\ud83d\udc8d`) and keeps fewer digits.
fn parse(text: &str) -> Result<Mapping, String> {
    match serde_json::from_str(text) {
        Ok(mapping) => Ok(mapping),
        Err(error) if error.is_data() => Err(error.to_string()),
        Err(_) => parse_yaml(text),
    }
}

fn parse_yaml(text: &str) -> Result<Mapping, String> {
    let documents =
        MarkedYaml::load_from_str(text).map_err(|error| format!("{}{}", error.info(), place(error.marker())))?;
    let [root] = documents.as_slice() else { return Err(format!("it has {} documents", documents.len())) };
    let json = Reading(text).json(root)?;
    serde_json::from_value(json).map_err(|error| {
        // Of a value in memory nobody knows where it stood: each field is looked at by itself.
        let wrong = fields(root).into_iter().filter_map(|(name, node)| {
            let source = Reading(text).json(node).ok()?;
            let error = serde_json::from_value::<Source>(source).err()?;
            Some(format!("\n  {name}: {error}{}", place(&node.span.start)))
        });
        let wrong: String = wrong.collect();
        if wrong.is_empty() { format!("{error}{}", place(&root.span.start)) } else { wrong }
    })
}

fn place(marker: &Marker) -> String {
    format!(" at line {} column {}", marker.line(), marker.col() + 1)
}

/// Where each field stands, as far as the text is YAML; most JSON is.
fn places(text: &str) -> BTreeMap<String, String> {
    let documents = MarkedYaml::load_from_str(text).unwrap_or_default();
    let fields = documents.first().map(fields).unwrap_or_default();
    fields.into_iter().map(|(name, node)| (name.to_owned(), place(&node.span.start))).collect()
}

/// The entries of `fields`.
fn fields<'a, 'i>(root: &'a MarkedYaml<'i>) -> Vec<(&'a str, &'a MarkedYaml<'i>)> {
    let entries = |node: &'a MarkedYaml<'i>| -> Vec<(&'a str, &'a MarkedYaml<'i>)> {
        let YamlData::Mapping(entries) = &node.data else { return Vec::new() };
        entries.iter().filter_map(|(name, value)| Some((name.data.as_str()?, value))).collect()
    };
    entries(root).into_iter().filter(|(name, _)| *name == "fields").flat_map(|(_, node)| entries(node)).collect()
}

/// YAML, to be read as JSON without a value becoming another one on the way.
struct Reading<'a>(&'a str);

impl Reading<'_> {
    fn json(&self, node: &MarkedYaml<'_>) -> Result<Value, String> {
        let start = &node.span.start;
        Ok(match &node.data {
            YamlData::Value(Scalar::Null) => Value::Null,
            YamlData::Value(Scalar::Boolean(value)) => (*value).into(),
            YamlData::Value(Scalar::String(value)) => value.as_ref().into(),
            YamlData::Value(Scalar::Integer(_) | Scalar::FloatingPoint(_)) => {
                // As it is written: YAML reads 007 as seven, and `.inf` as a number.
                let written = self.written(node);
                let number = serde_json::from_str::<serde_json::Number>(&written);
                number
                    .map_err(|_| format!("{written} is to be in quotes, or it is another number{}", place(start)))?
                    .into()
            }
            YamlData::Sequence(items) => items.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?,
            YamlData::Mapping(entries) => {
                let mut object = Map::new();
                for (name, value) in entries {
                    let text = name.data.as_str();
                    let text = text.ok_or_else(|| {
                        format!("a name is to be in quotes, as it is no text{}", place(&name.span.start))
                    })?;
                    object.insert(text.to_owned(), self.json(value)?);
                }
                Value::Object(object)
            }
            YamlData::Tagged(..) | YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
                return Err(format!("a value cannot be read; tags are not{}", place(start)));
            }
        })
    }

    fn written(&self, node: &MarkedYaml<'_>) -> String {
        let (start, end) = (node.span.start.index(), node.span.end.index());
        self.0.chars().skip(start).take(end.saturating_sub(start)).collect::<String>().trim().to_owned()
    }
}

#[cfg(test)]
#[path = "mapping_file_tests.rs"]
mod tests;
