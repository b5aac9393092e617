//! What S3 tells of: "Event message structure" in the Amazon S3 User Guide.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The event is not one of S3.
#[derive(Debug, thiserror::Error)]
#[error("not an event of S3: {0}")]
pub(crate) struct BadEvent(#[from] serde_json::Error);

/// The keys of the objects that an event tells of. They are encoded as in a form: `+` is a space.
///
/// # Errors
/// [`BadEvent`] if it is no JSON object, or its records make no sense. The event with which S3 tests a new
/// notification has none.
pub(crate) fn keys(event: &RawValue) -> Result<Vec<String>, BadEvent> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "Records", default)]
        records: Vec<Record>,
    }
    #[derive(Deserialize)]
    struct Record {
        s3: Option<Told>,
    }
    #[derive(Deserialize)]
    struct Told {
        object: Object,
    }
    #[derive(Deserialize)]
    struct Object {
        key: String,
    }
    let event: Event = serde_json::from_str(event.get())?;
    let keys = event.records.into_iter().filter_map(|record| record.s3).map(|told| decoded(&told.object.key));
    Ok(keys.collect())
}

fn decoded(key: &str) -> String {
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_an_event_are_decoded_and_records_of_nothing_are_passed_over() {
        let event = r#"{"Records": [{"s3": {"object": {"key": "imports/a%26b/my+file%2B"}}}, {"eventName": "x"}]}"#;
        let raw = RawValue::from_string(event.to_owned()).unwrap();
        assert_eq!(keys(&raw).unwrap(), ["imports/a&b/my file+"]);
        let test = RawValue::from_string(r#"{"Service": "Amazon S3", "Event": "s3:TestEvent"}"#.to_owned()).unwrap();
        assert_eq!(keys(&test).unwrap(), [""; 0]);
        assert!(keys(&RawValue::from_string("[1]".to_owned()).unwrap()).is_err());
    }
}
