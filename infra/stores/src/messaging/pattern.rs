use serde_json::Value;

/// A pattern in the language that event source mappings, EventBridge and SNS filter policies share: an
/// object of fields, each with a list of what it may be, or an object for what is in it.
///
/// Understood are texts, numbers, booleans and `null` as they are, and `prefix`, `suffix`,
/// `anything-but` and `exists`.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPattern(Vec<(String, Node)>);

/// A pattern that is not one, or not one that is understood here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this filter does not run locally: {0}")]
pub struct UnsupportedPattern(String);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Any(Vec<Rule>),
    Within(EventPattern),
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Equal(Value),
    Prefix(String),
    Suffix(String),
    AnythingBut(Vec<Value>),
    Exists(bool),
}

impl EventPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`UnsupportedPattern`].
    pub fn parse(pattern: &Value) -> Result<Self, UnsupportedPattern> {
        let unsupported = || UnsupportedPattern(pattern.to_string());
        let fields = pattern.as_object().ok_or_else(unsupported)?.iter().map(|(name, node)| {
            let node = match node {
                _ if name.starts_with('$') => return Err(unsupported()),
                Value::Array(rules) => {
                    Node::Any(rules.iter().map(Rule::parse).collect::<Option<_>>().ok_or_else(unsupported)?)
                }
                inner => Node::Within(Self::parse(inner)?),
            };
            Ok((name.clone(), node))
        });
        Ok(Self(fields.collect::<Result<_, _>>()?))
    }

    /// Whether all fields of the pattern are as it says.
    #[must_use]
    pub fn matches(&self, event: &Value) -> bool {
        self.0.iter().all(|(name, node)| match (node, event.get(name)) {
            (Node::Within(pattern), field) => pattern.matches(field.unwrap_or(&Value::Null)),
            (Node::Any(rules), field) => rules.iter().any(|rule| rule.matches(field)),
        })
    }
}

impl Rule {
    fn parse(rule: &Value) -> Option<Self> {
        let Value::Object(operator) = rule else {
            return (!rule.is_array()).then(|| Self::Equal(rule.clone()));
        };
        let (name, value) = operator.iter().next().filter(|_| operator.len() == 1)?;
        Some(match (name.as_str(), value) {
            ("prefix", Value::String(text)) => Self::Prefix(text.clone()),
            ("suffix", Value::String(text)) => Self::Suffix(text.clone()),
            ("exists", Value::Bool(exists)) => Self::Exists(*exists),
            ("anything-but", Value::Array(values)) if !values.iter().any(Value::is_object) => {
                Self::AnythingBut(values.clone())
            }
            ("anything-but", value @ (Value::String(_) | Value::Number(_))) => Self::AnythingBut(vec![value.clone()]),
            _ => return None,
        })
    }

    fn matches(&self, field: Option<&Value>) -> bool {
        match (self, field) {
            // Of a field with several values, one is enough.
            (Self::Exists(wanted), field) => *wanted == field.is_some_and(|field| !field.is_object()),
            (_, Some(Value::Array(values))) => values.iter().any(|value| self.matches(Some(value))),
            (Self::Equal(wanted), Some(value)) => wanted == value,
            (Self::Prefix(start), Some(Value::String(text))) => text.starts_with(start),
            (Self::Suffix(end), Some(Value::String(text))) => text.ends_with(end),
            (Self::AnythingBut(values), Some(value)) => !values.contains(value),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn assert_matches(pattern: &Value, event: &Value, expected: bool) {
        assert_eq!(EventPattern::parse(pattern).unwrap().matches(event), expected, "{pattern} of {event}");
    }

    #[test]
    fn every_field_must_be_one_of_what_its_list_says() {
        let pattern = json!({"event": ["A", "B"], "tenant": ["acme"]});
        assert_matches(&pattern, &json!({"event": "B", "tenant": "acme", "more": 1}), true);
        assert_matches(&pattern, &json!({"event": "C", "tenant": "acme"}), false);
        assert_matches(&pattern, &json!({"event": "A"}), false);
        assert_matches(&json!({}), &json!({"event": "A"}), true);
        assert_matches(&json!({"n": [1, null, true]}), &json!({"n": 1}), true);
        assert_matches(&json!({"n": [1]}), &json!({"n": "1"}), false);
        assert_matches(&json!({"list": ["b"]}), &json!({"list": ["a", "b"]}), true);
    }

    #[test]
    fn what_is_deeper_is_found_there() {
        let pattern = json!({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": ["version"]}}}});
        let event = |kind: &str| json!({"eventName": "INSERT", "dynamodb": {"NewImage": {"kind": {"S": kind}}}});
        assert_matches(&pattern, &event("version"), true);
        assert_matches(&pattern, &event("claim"), false);
        assert_matches(&pattern, &json!({"eventName": "INSERT"}), false);
    }

    #[test]
    fn operators_do_what_their_names_say() {
        for (rule, text, expected) in [
            (json!({"prefix": "Price"}), "PriceChanged", true),
            (json!({"prefix": "Price"}), "ProductPriced", false),
            (json!({"suffix": "Changed"}), "PriceChanged", true),
            (json!({"anything-but": ["A", "B"]}), "C", true),
            (json!({"anything-but": "A"}), "A", false),
            (json!({"exists": true}), "", true),
            (json!({"exists": false}), "", false),
        ] {
            assert_matches(&json!({"f": [rule]}), &json!({"f": text}), expected);
        }
        assert_matches(&json!({"f": [{"exists": false}]}), &json!({}), true);
        assert_matches(&json!({"f": [{"anything-but": ["A"]}]}), &json!({}), false);
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_not_ignored() {
        for pattern in [
            json!([]),
            json!({"f": "text"}),
            json!({"f": [["list"]]}),
            json!({"f": [{"numeric": ["<", 1]}]}),
            json!({"f": [{"prefix": "a", "suffix": "b"}]}),
            json!({"$or": [{"f": ["a"]}]}),
        ] {
            assert!(EventPattern::parse(&pattern).is_err(), "{pattern}");
        }
    }
}
