//! Query parameters, each given once and each known to somebody; and the key in a path.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use ledgerline_app::ParameterProblem;
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
///
/// What is wrong with them, and with headers that are read beside them, is gathered until
/// [`finish`](Self::finish) reports all of it. Until then, what could not be read counts as left out.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    left: Vec<(String, String)>,
    problems: Vec<ParameterProblem>,
}

impl Parameters {
    /// Reads a query string (`application/x-www-form-urlencoded`).
    pub(crate) fn parse(query: &str) -> Self {
        let mut read = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decoded(name), decoded(value)) {
                (Some(name), _) if read.left.iter().any(|(taken, _)| *taken == name) => {
                    read.report(name, "must be given once");
                }
                (Some(name), Some(value)) => read.left.push((name, value)),
                (known, _) => read.report(known.as_deref().unwrap_or(name), "is not UTF-8 text"),
            }
        }
        read
    }

    /// Takes a parameter as text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let index = self.left.iter().position(|(candidate, _)| candidate == name)?;
        Some(self.left.remove(index).1)
    }

    /// Takes a parameter; `message` says what it must be.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str, message: &'static str) -> Option<T> {
        let read = self.text(name)?.parse().ok();
        if read.is_none() {
            self.report(name, message);
        }
        read
    }

    /// Takes a parameter that is `true` or `false`.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        self.value(name, "must be true or false").unwrap_or(false)
    }

    /// Takes `limit`, the size of a page.
    pub(crate) fn limit(&mut self) -> usize {
        const MESSAGE: &str = "must be a whole number from 1 to 100";
        let limit = self.value("limit", MESSAGE).unwrap_or(20);
        if !(1..=100).contains(&limit) {
            self.report("limit", MESSAGE);
        }
        limit
    }

    /// Takes what nobody took before.
    pub(crate) fn rest(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.left)
    }

    /// What was read elsewhere in the request; none after reporting what is wrong with it.
    pub(crate) fn checked<T>(&mut self, read: Result<T, ParameterProblem>) -> Option<T> {
        read.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// Reports a problem that a single parameter's value could not show.
    pub(crate) fn report(&mut self, name: impl Into<String>, message: impl Into<String>) {
        self.problems.push(ParameterProblem::new(name, message));
    }

    /// Refuses what nobody took; `message` says why.
    pub(crate) fn refuse_rest(&mut self, message: &'static str) {
        for (name, _) in self.rest() {
            self.report(name, message);
        }
    }

    /// All that is wrong, what nobody took included.
    pub(crate) fn finish(mut self) -> Result<(), RequestError> {
        self.refuse_rest("is not a parameter of this route");
        if self.problems.is_empty() { Ok(()) } else { Err(RequestError::Parameters(self.problems)) }
    }
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(Into::into).ok()
}

/// The one parameter of a path, or what stands in its place in a path that has none (`…/bulk`). What cannot
/// be a key is the key of nothing: 404, as for any other entity that does not exist.
#[derive(Debug)]
pub(crate) struct EntityPath(pub(crate) SortKey);

impl<S: Send + Sync> FromRequestParts<S> for EntityPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let impossible = || ApiError::from(RequestError::ImpossibleKey);
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| impossible())?;
        let named = params.iter().next().map(|(_, text)| text);
        let text = named.or_else(|| parts.uri.path().rsplit('/').next());
        text.and_then(|text| text.parse().ok()).map(Self).ok_or_else(impossible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_taken_once() {
        let mut parameters = Parameters::parse("name=a+b%2Bc&flag=true&empty=&bare");
        assert_eq!(parameters.text("name").as_deref(), Some("a b+c"));
        assert_eq!(parameters.text("name"), None);
        assert!(parameters.flag("flag"));
        assert_eq!(parameters.rest(), [("empty".into(), String::new()), ("bare".into(), String::new())]);
        assert!(parameters.finish().is_ok());
    }

    /// The names of the parameters that are refused, in order.
    fn refused(parameters: Parameters) -> Vec<String> {
        match parameters.finish() {
            Err(RequestError::Parameters(problems)) => problems.into_iter().map(|problem| problem.name).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn repeated_unknown_and_undecodable_parameters_are_refused() {
        let refused_in = |query| refused(Parameters::parse(query));
        assert_eq!(refused_in("a=1&a=1"), ["a", "a"], "twice, and unknown");
        assert_eq!(refused_in("a=1&%61=1"), ["a", "a"], "the same name in another spelling");
        assert_eq!(refused_in("a=%FF"), ["a"]);
        assert_eq!(refused_in("%FF=1"), ["%FF"]);
        assert_eq!(refused_in("a=1"), ["a"]);
    }

    #[test]
    fn all_that_is_wrong_is_reported_at_once() {
        let mut parameters = Parameters::parse("b=%FF&a=1&limit=0&total=yes&version=x&c=1");
        parameters.limit();
        parameters.flag("total");
        assert_eq!(parameters.value::<u64>("version", "must be a number"), None);
        let header = Err::<(), _>(ParameterProblem::new("If-Match", "must be one version"));
        assert_eq!(parameters.checked(header), None);
        assert_eq!(refused(parameters), ["b", "limit", "total", "version", "If-Match", "a", "c"]);
    }

    #[test]
    fn a_limit_is_1_to_100_and_20_by_default() {
        let limit = |query| {
            let mut parameters = Parameters::parse(query);
            let limit = parameters.limit();
            parameters.finish().is_ok().then_some(limit)
        };
        assert_eq!([limit(""), limit("limit=1"), limit("limit=100")], [Some(20), Some(1), Some(100)]);
        for query in ["limit=0", "limit=101", "limit=-1", "limit=", "limit=1e1", "limit=99999999999999999999999"] {
            assert_eq!(limit(query), None, "{query}");
        }
    }

    #[test]
    fn flags_are_true_or_false() {
        for query in ["total=1", "total=TRUE", "total="] {
            let mut parameters = Parameters::parse(query);
            parameters.flag("total");
            assert_eq!(refused(parameters), ["total"], "{query}");
        }
    }
}
