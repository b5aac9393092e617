use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// The largest item that DynamoDB stores: 400 KB, names and values together.
///
/// "DynamoDB item sizes and formats" and "Constraints in Amazon DynamoDB" in the Amazon DynamoDB
/// Developer Guide.
pub(crate) const LIMIT: usize = 400 * 1024;

/// The most that one transaction writes: 4 MB, all items together.
pub(crate) const TRANSACTION_LIMIT: usize = 4 * 1024 * 1024;

/// The longest partition key: 2048 bytes.
pub(crate) const KEY_LIMIT: usize = 2048;

/// An item's size in bytes as DynamoDB counts it, by "DynamoDB item sizes and formats": the UTF-8
/// bytes of each name and value, one byte for a boolean or null, and for a list or a map 3 bytes and
/// one for each element. Numbers are only approximated there ("about one byte for two digits, plus
/// one"); here they are rounded up, so that what passes here passes there.
pub(crate) fn item_size(item: &HashMap<String, AttributeValue>) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number_size(number),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + value_size(value)).sum::<usize>(),
        AttributeValue::M(map) => 3 + map.len() + item_size(map),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::Ns(numbers) => numbers.iter().map(|number| number_size(number)).sum(),
        AttributeValue::Bs(all) => all.iter().map(|bytes| bytes.as_ref().len()).sum(),
        // `Bool`, `Null`, and types that do not exist yet, which nothing here writes.
        _ => 1,
    }
}

fn number_size(number: &str) -> usize {
    number.len().div_ceil(2) + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_texts_and_containers_count_as_documented() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let map = HashMap::from([("é".to_owned(), text("12"))]);
        let item = HashMap::from([
            ("pk".to_owned(), text("é€")),                                                  // 2 + 5
            ("b".to_owned(), AttributeValue::Bool(true)),                                   // 1 + 1
            ("n".to_owned(), AttributeValue::Null(true)),                                   // 1 + 1
            ("l".to_owned(), AttributeValue::L(vec![text("abc"), AttributeValue::M(map)])), // 1 + 3 + (1+3) + (1+3+1+2+2)
        ]);
        assert_eq!(item_size(&item), 7 + 2 + 2 + (1 + 3 + 4 + 9));
    }

    #[test]
    fn a_number_never_counts_less_than_dynamodb_may_count() {
        // One byte for two digits and one more, one for a sign: at most 21 for 38 digits.
        assert!(number_size(&"9".repeat(38)) >= 20);
        assert!(number_size("-1") >= 3);
        assert!(number_size("0") >= 1);
    }
}
