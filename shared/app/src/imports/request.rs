//! What a request for an import says.

use ledgerline_import_file::Mapping;
use ledgerline_kernel::input::{Fields, FromJson, InputError, Patch, Problem, Rejection};
use ledgerline_kernel::{ImportFormat, ImportMode};
use serde_json::Value;
use serde_json::value::RawValue;

/// A request for an import.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportRequest {
    /// Into which resource, such as `products`.
    pub resource: String,
    /// How its file is written.
    pub format: ImportFormat,
    /// What becomes of rows whose entity exists; `upsert` unless it says otherwise.
    pub mode: ImportMode,
    /// Which columns go into which fields; null for those of the same names.
    pub mapping: Value,
    /// Where the rows come from.
    pub source: ImportSource,
}

/// Where an import's rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportSource {
    /// The caller uploads them.
    Upload,
    /// An object that is there already, by its key.
    Object(String),
    /// The request itself, each an object of JSON on one line.
    Rows(Vec<String>),
}

impl ImportRequest {
    /// Reads the body of a request: `{resource, format?, mode?, mapping?, source}`, where `source` is
    /// `{"upload": true}`, `{"s3": {"key": …}}` or `{"rows": […]}`.
    ///
    /// # Errors
    /// [`InputError`] with everything that is wrong with it.
    pub fn read(body: &str) -> Result<Self, InputError> {
        let mut fields = Fields::of_body(body)?;
        let resource = fields.required("resource");
        let format = fields.optional("format").map(|Format(format)| format);
        let mode = fields.optional("mode").map_or(ImportMode::Upsert, |Mode(mode)| mode);
        let mapping = fields.optional("mapping").map_or(Ok(Value::Null), |Mapped(mapping)| mapping);
        let source = source(&mut fields);
        let is_lines = !matches!(format, Some(ImportFormat::Csv));
        if matches!(source, Some(ImportSource::Rows(_))) && !is_lines {
            fields.report("format", Rejection::new("OUT_OF_RANGE", "must be jsonl where the rows are in the request"));
        }
        if matches!(source, Some(ImportSource::Upload | ImportSource::Object(_))) && format.is_none() {
            fields.report("format", Rejection::new("REQUIRED", "must be given"));
        }
        let mut problems = fields.finish();
        problems.extend(mapping.as_ref().err().cloned().unwrap_or_default());
        match (resource, mapping, source) {
            (Some(resource), Ok(mapping), Some(source)) if problems.is_empty() => {
                Ok(Self { resource, format: format.unwrap_or(ImportFormat::Jsonl), mode, mapping, source })
            }
            _ => Err(InputError::Invalid(problems)),
        }
    }
}

/// Exactly one of the three.
fn source(fields: &mut Fields<'_>) -> Option<ImportSource> {
    let read = fields.object("source", |fields| {
        let upload = fields.optional("upload").filter(|upload| *upload).map(|_| ImportSource::Upload);
        let object = match fields.object("s3", |fields| fields.required("key")) {
            Patch::Set(key) => key.map(ImportSource::Object),
            Patch::Keep | Patch::Remove => None,
        };
        let rows = fields.optional("rows").map(|Lines(rows)| ImportSource::Rows(rows));
        let mut given: Vec<_> = [upload, object, rows].into_iter().flatten().collect();
        (given.len() == 1).then(|| given.pop()).flatten()
    });
    match read {
        Patch::Set(Some(source)) => return Some(source),
        Patch::Set(None) => {
            fields.report("source", Rejection::new("OUT_OF_RANGE", "must be one of upload, s3 and rows"));
        }
        Patch::Keep | Patch::Remove => fields.report("source", Rejection::new("REQUIRED", "must be given")),
    }
    None
}

struct Format(ImportFormat);

impl FromJson for Format {
    fn from_json(raw: &str) -> Result<Self, Rejection> {
        serde_json::from_str(raw).map(Self).map_err(|_| Rejection::new("OUT_OF_RANGE", "must be csv or jsonl"))
    }
}

struct Mode(ImportMode);

impl FromJson for Mode {
    fn from_json(raw: &str) -> Result<Self, Rejection> {
        serde_json::from_str(raw).map(Self).map_err(|_| Rejection::new("OUT_OF_RANGE", "must be create or upsert"))
    }
}

/// A mapping, or what is wrong with its fields.
struct Mapped(Result<Value, Vec<Problem>>);

impl FromJson for Mapped {
    fn from_json(raw: &str) -> Result<Self, Rejection> {
        let mapping: Mapping = serde_json::from_str(raw)
            .map_err(|error| Rejection::new("INVALID_MAPPING", format!("is no mapping: {error}")))?;
        let mut problems = mapping.check(&[]);
        for problem in &mut problems {
            problem.path = format!("mapping.fields.{}", problem.path).trim_end_matches('.').to_owned();
        }
        let mapping = serde_json::to_value(mapping).unwrap_or_default();
        Ok(Self(if problems.is_empty() { Ok(mapping) } else { Err(problems) }))
    }
}

struct Lines(Vec<String>);

impl FromJson for Lines {
    fn from_json(raw: &str) -> Result<Self, Rejection> {
        let wrong = || Rejection::new("WRONG_TYPE", "must be a list of at least one object");
        let rows: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| wrong())?;
        if rows.is_empty() || !rows.iter().all(|row| row.get().starts_with('{')) {
            return Err(wrong());
        }
        // Within JSON a line can only end between two tokens.
        Ok(Self(rows.iter().map(|row| row.get().replace(['\n', '\r'], " ")).collect()))
    }
}
