use ledgerline_kernel::ports::Poison;
use ledgerline_kernel::{EntityKey, Hash, Version, VersionedKey};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The record at `index` of the event, for the quarantine. Read once more, from the event itself,
/// because few batches have a bad record and none keeps what it was made from.
pub(crate) fn poison_of(event: &RawValue, index: usize, number: Option<&str>, error: &str) -> Poison {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "Records", borrow)]
        records: Vec<&'a RawValue>,
    }
    let records = serde_json::from_str::<Event<'_>>(event.get()).map(|event| event.records).unwrap_or_default();
    let raw = records.get(index).map_or("null", |record| record.get());
    let record: Value = serde_json::from_str(raw).unwrap_or(Value::Null);
    Poison {
        // Without a number, what it says has to tell it from others.
        record: number.map_or_else(|| format!("sha256:{}", Hash::of(raw)), str::to_owned),
        version: version_of(&record),
        error: error.to_owned(),
        image: record.pointer("/dynamodb/NewImage").unwrap_or(&record).clone(),
    }
}

fn version_of(record: &Value) -> Option<(EntityKey, Version)> {
    let key = |name: &str| {
        ["Keys", "NewImage"].iter().find_map(|place| record.pointer(&format!("/dynamodb/{place}/{name}/S"))?.as_str())
    };
    let VersionedKey { sk, version } = key("sk")?.parse().ok()?;
    Some((EntityKey { partition: key("pk")?.parse().ok()?, sk }, version))
}
