//! Query parameters, each given once and each known to somebody; and the key in a path.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use ledgerline_kernel::SortKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::problem::{ApiError, RequestError};

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Writes a text so that it can stand in any part of a URL.
pub(crate) fn percent_encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

/// The decoded query parameters of a request, taken out one by one.
#[derive(Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query string (`application/x-www-form-urlencoded`).
    pub(crate) fn parse(query: &str) -> Result<Self, RequestError> {
        let mut read = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if read.0.iter().any(|(taken, _)| *taken == name) {
                return Err(RequestError::parameter(name, "must be given once"));
            }
            read.0.push((name, value));
        }
        Ok(read)
    }

    /// Takes a parameter as text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(candidate, _)| candidate == name)?;
        Some(self.0.remove(index).1)
    }

    /// Takes a parameter; `message` says what it must be.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str, message: &'static str) -> Result<Option<T>, RequestError> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| RequestError::parameter(name, message)),
        }
    }

    /// Takes a parameter that is `true` or `false`.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, RequestError> {
        Ok(self.value(name, "must be true or false")?.unwrap_or(false))
    }

    /// Takes `limit`, the size of a page.
    pub(crate) fn limit(&mut self) -> Result<usize, RequestError> {
        const MESSAGE: &str = "must be a whole number from 1 to 100";
        let limit = self.value("limit", MESSAGE)?.unwrap_or(20);
        if (1..=100).contains(&limit) { Ok(limit) } else { Err(RequestError::parameter("limit", MESSAGE)) }
    }

    /// What nobody took.
    pub(crate) fn rest(self) -> Vec<(String, String)> {
        self.0
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), RequestError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(RequestError::parameter(name, "is not a parameter of this route")),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default())?)
    }
}

fn decoded(text: &str) -> Result<String, RequestError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| RequestError::parameter(text, "is not UTF-8 text"))
}

/// The `{sk}` of a path, or what stands in its place in a path that has none (`…/bulk`). What cannot be a key is the key of nothing: 404, as for any other entity
/// that does not exist.
#[derive(Debug)]
pub(crate) struct EntityPath(pub(crate) SortKey);

impl<S: Send + Sync> FromRequestParts<S> for EntityPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let impossible = || ApiError::from(RequestError::ImpossibleKey);
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| impossible())?;
        let named = params.iter().find(|(name, _)| *name == "sk").map(|(_, text)| text);
        let text = named.or_else(|| parts.uri.path().rsplit('/').next());
        text.and_then(|text| text.parse().ok()).map(Self).ok_or_else(impossible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_taken_once() {
        let mut parameters = Parameters::parse("name=a+b%2Bc&flag=true&empty=&bare").unwrap();
        assert_eq!(parameters.text("name").as_deref(), Some("a b+c"));
        assert_eq!(parameters.text("name"), None);
        assert!(parameters.flag("flag").unwrap());
        assert_eq!(parameters.rest(), [("empty".into(), String::new()), ("bare".into(), String::new())]);
    }

    #[test]
    fn repeated_unknown_and_undecodable_parameters_are_refused() {
        assert!(Parameters::parse("a=1&a=1").is_err());
        assert!(Parameters::parse("a=1&%61=1").is_err(), "the same name in another spelling");
        assert!(Parameters::parse("a=%FF").is_err());
        assert!(Parameters::parse("a=1").unwrap().finish().is_err());
    }

    #[test]
    fn a_limit_is_1_to_100_and_20_by_default() {
        let limit = |query| Parameters::parse(query).unwrap().limit();
        assert_eq!(limit("").unwrap(), 20);
        assert_eq!(limit("limit=1").unwrap(), 1);
        assert_eq!(limit("limit=100").unwrap(), 100);
        for query in ["limit=0", "limit=101", "limit=-1", "limit=", "limit=1e1", "limit=99999999999999999999999"] {
            assert!(limit(query).is_err(), "{query}");
        }
    }

    #[test]
    fn flags_are_true_or_false() {
        for query in ["total=1", "total=TRUE", "total="] {
            assert!(Parameters::parse(query).unwrap().flag("total").is_err(), "{query}");
        }
    }
}
