use ledgerline_kernel::VersionItem;
use serde_dynamo::{AttributeValue, Item};

/// Why a stream image is not a version item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Another kind of item, which lives in the ledger table beside the versions. Not for read
    /// models, and nothing wrong with it.
    #[error("an item of kind {0:?}, not a version")]
    OtherKind(String),
    /// Not an item of this ledger, or a damaged one.
    #[error("not a version item: {0}")]
    Unreadable(String),
}

/// Reads the `NewImage` of a record of the ledger's stream (raw DynamoDB JSON deserialises to
/// [`Item`]).
///
/// # Errors
/// [`ImageError`].
pub fn version_item(image: Item) -> Result<VersionItem, ImageError> {
    match image.get("kind") {
        Some(AttributeValue::S(kind)) if kind == "version" => {}
        Some(AttributeValue::S(kind)) => return Err(ImageError::OtherKind(kind.clone())),
        _ => return Err(ImageError::Unreadable("it has no kind".to_owned())),
    }
    serde_dynamo::from_item(image).map_err(|error| ImageError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use ledgerline_testkit::{note_key, version_items};
    use serde_json::{Value, json};

    use super::*;

    fn image() -> (VersionItem, Value) {
        let [item] = version_items(&note_key("a@b"), 1).try_into().unwrap();
        let image: Item = serde_dynamo::to_item(&item).unwrap();
        (item, serde_json::to_value(image).unwrap())
    }

    fn read(image: &Value) -> Result<VersionItem, ImageError> {
        version_item(serde_json::from_str(&image.to_string()).unwrap())
    }

    #[test]
    fn a_new_image_in_dynamodb_json_reads_as_the_version_item_it_was() {
        let (item, image) = image();
        assert_eq!(image["sk"], json!({"S": "a%40b@0000000001"}));
        assert_eq!(image["version"], json!({"N": "1"}));
        assert_eq!(read(&image), Ok(item));
    }

    #[test]
    fn an_item_of_another_kind_is_named_as_such() {
        let (_, mut image) = image();
        image["kind"] = json!({"S": "claim"});
        assert_eq!(read(&image), Err(ImageError::OtherKind("claim".to_owned())));
    }

    #[test]
    fn a_damaged_version_is_unreadable() {
        for name in ["kind", "hash", "state", "version", "events"] {
            let (_, mut image) = image();
            image.as_object_mut().unwrap().remove(name);
            assert!(matches!(read(&image), Err(ImageError::Unreadable(_))), "without {name}");
        }
        let (_, mut image) = image();
        image["version"] = json!({"N": "2"});
        assert!(matches!(read(&image), Err(ImageError::Unreadable(_))), "a version that is not its key's");
    }
}
