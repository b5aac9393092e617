//! The JSON inside a token, read strictly: a name that occurs twice, or a value of another type
//! than it should have, makes the whole token unacceptable.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Why a claim is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongType;

/// A part of a token: a JSON object without duplicate names.
#[derive(Debug)]
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    /// Decodes one base64url part of a token.
    pub(crate) fn decode(part: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice(&json).ok()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, WrongType> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(WrongType),
        }
    }

    /// A moment in seconds since 1970, perhaps with a fraction (RFC 7519's `NumericDate`).
    pub(crate) fn moment(&self, name: &str) -> Result<Option<f64>, WrongType> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => number.as_f64().ok_or(WrongType).map(Some),
            Some(_) => Err(WrongType),
        }
    }

    /// One text or an array of texts.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, WrongType> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(vec![text])),
            Some(Value::Array(values)) => {
                values.iter().map(|value| value.as_str().ok_or(WrongType)).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(WrongType),
        }
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueNames).map(Self)
    }
}

struct UniqueNames;

impl<'de> Visitor<'de> for UniqueNames {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut claims = Map::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("a name occurs twice"));
            }
        }
        Ok(claims)
    }
}
