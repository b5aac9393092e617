use chrono::{DateTime, SecondsFormat, Utc};
use ledgerline_stores::CreatedObject;
use serde_json::{Value, json};
use ulid::Ulid;
use url::form_urlencoded::byte_serialize;

use crate::event_source::LOCAL_REGION;

/// Who does everything here.
const PRINCIPAL: &str = "LOCAL";

/// What S3 tells of a new object; see "Event message structure" in its user guide. Of two events of one key,
/// the later has the greater `sequencer`.
pub(super) fn event_of(rule: &str, object: &CreatedObject, sequencer: u64, now: DateTime<Utc>) -> Value {
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": LOCAL_REGION,
        "eventTime": now.to_rfc3339_opts(SecondsFormat::Millis, true),
        "eventName": object.event,
        "userIdentity": { "principalId": PRINCIPAL },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "responseElements": { "x-amz-request-id": Ulid::generate().to_string(), "x-amz-id-2": "local" },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": rule,
            "bucket": {
                "name": object.bucket,
                "ownerIdentity": { "principalId": PRINCIPAL },
                "arn": format!("arn:aws:s3:::{}", object.bucket),
            },
            "object": {
                "key": encoded(&object.key),
                "size": object.size,
                "eTag": object.etag,
                "sequencer": format!("{sequencer:016X}"),
            },
        },
    }]})
}

/// A key as forms encode it, with its slashes.
fn encoded(key: &str) -> String {
    let parts: Vec<String> = key.split('/').map(|part| byte_serialize(part.as_bytes()).collect()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_as_s3_sends_it() {
        let object = CreatedObject {
            event: "ObjectCreated:Put",
            bucket: "ledgerline-files".to_owned(),
            key: "imports/acme/é 1+2.csv".to_owned(),
            size: 1024,
            etag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        };
        let now = DateTime::from_timestamp_millis(1_800_000_000_123).unwrap();
        let event = event_of("Splitter.Uploaded", &object, 0xAB, now);
        let record = &event["Records"][0];
        assert_eq!(record["eventTime"], "2027-01-15T08:00:00.123Z");
        assert_eq!(record["s3"]["bucket"]["arn"], "arn:aws:s3:::ledgerline-files");
        let expected = json!({
            "key": "imports/acme/%C3%A9+1%2B2.csv",
            "size": 1024,
            "eTag": "d41d8cd98f00b204e9800998ecf8427e",
            "sequencer": "00000000000000AB",
        });
        assert_eq!(record["s3"]["object"], expected);
        assert_eq!((&record["eventName"], &record["eventSource"]), (&json!("ObjectCreated:Put"), &json!("aws:s3")));
    }
}
