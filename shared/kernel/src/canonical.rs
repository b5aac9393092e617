use serde_json::Value;

/// Why a value has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A number with a fraction or an exponent. Stores spell such numbers each in their own way, so
    /// a hash over one would not survive a round trip; decimals are kept as strings.
    #[error("a stored number is a whole number; decimals are stored as strings")]
    NotAWholeNumber,
}

/// Writes `value` in the one spelling that hashes are taken over: no blanks, object keys in byte
/// order, strings escaped as `serde_json` does (the minimal escapes of RFC 8259 §7).
///
/// This is the subset of RFC 8785 (JSON Canonicalization Scheme) that stored values use.
///
/// # Errors
/// [`CanonicalError::NotAWholeNumber`] for a number that is not an integer.
pub fn canonical_json(value: &Value) -> Result<String, CanonicalError> {
    let mut text = String::with_capacity(1024);
    write(value, &mut text)?;
    Ok(text)
}

pub(crate) fn write(value: &Value, text: &mut String) -> Result<(), CanonicalError> {
    match value {
        Value::Number(number) if number.is_f64() => return Err(CanonicalError::NotAWholeNumber),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text)?;
            }
            text.push(']');
        }
        Value::Object(fields) => {
            // Sorted here rather than trusted to the map: a dependency can turn on
            // `serde_json/preserve_order` for the whole build.
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, field)) in fields.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_string(name, text);
                text.push(':');
                write(field, text)?;
            }
            text.push('}');
        }
        Value::String(string) => push_string(string, text),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_)) => text.push_str(&scalar.to_string()),
    }
    Ok(())
}

pub(crate) fn push_string(string: &str, text: &mut String) {
    // Every byte is looked at, which goes many at a time; stopping at the first would go one by one.
    let plain = string.bytes().fold(true, |plain, b| plain & (b >= 0x20) & (b != b'"') & (b != b'\\'));
    if plain {
        text.push('"');
        text.push_str(string);
        text.push('"');
    } else {
        text.push_str(&Value::from(string).to_string());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_and_blanks_left_out() {
        let value = json!({"b": [1, true, null], "a": {"z": "é\n\"", "y": -2}});
        assert_eq!(canonical_json(&value).unwrap(), r#"{"a":{"y":-2,"z":"é\n\""},"b":[1,true,null]}"#);
    }

    #[test]
    fn a_number_with_a_fraction_is_refused() {
        assert_eq!(canonical_json(&json!([1.5])), Err(CanonicalError::NotAWholeNumber));
    }
}
