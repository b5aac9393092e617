//! Reading a request's body, its content type, its conditions and its `Idempotency-Key`.

use axum::body::Body;
use axum::extract::Request;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ledgerline_app::{IfMatch, LARGE_STATE_LIMIT, ParameterProblem};
use ledgerline_kernel::DynDomain;

use crate::problem::RequestError;

/// The largest body that is read, in bytes, unless the domain has large states.
pub(crate) const LIMIT_BYTES: usize = 1024 * 1024;

/// The largest body that is read of a request to this domain, in bytes.
pub(crate) fn limit_of(domain: &dyn DynDomain) -> usize {
    if domain.has_large_states() { LARGE_STATE_LIMIT } else { LIMIT_BYTES }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Which media types a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepts {
    Json,
    /// JSON, also under the name that RFC 7396 gives to a merge patch.
    MergePatch,
}

/// The body as text, of `limit` bytes at most; empty where there is none.
pub(crate) async fn read(request: Request, accepts: Accepts, limit: usize) -> Result<String, RequestError> {
    let (parts, body) = request.into_parts();
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > limit as u64) {
        return Err(RequestError::BodyTooLarge { limit });
    }
    let bytes = collect(body, limit).await?;
    if bytes.is_empty() {
        return Ok(String::new());
    }
    if !is_acceptable(&parts.headers, accepts) {
        return Err(RequestError::UnsupportedMediaType);
    }
    String::from_utf8(bytes).map_err(|_| RequestError::UnreadableBody)
}

/// Reads to the end or to the limit, whatever `Content-Length` claims.
async fn collect(body: Body, limit: usize) -> Result<Vec<u8>, RequestError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(RequestError::BodyTooLarge { limit }),
        Err(_) => Err(RequestError::UnreadableBody),
    }
}

fn is_acceptable(headers: &HeaderMap, accepts: Accepts) -> bool {
    let Ok(Some(content_type)) = single(headers, &CONTENT_TYPE) else { return false };
    let plain = single(headers, &CONTENT_ENCODING)
        .is_ok_and(|encoding| encoding.is_none_or(|name| name.eq_ignore_ascii_case("identity")));
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let known = essence.eq_ignore_ascii_case("application/json")
        || (accepts == Accepts::MergePatch && essence.eq_ignore_ascii_case("application/merge-patch+json"));
    let is_utf8 = |parameter: &str| {
        parameter.split_once('=').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    };
    plain && known && parts.all(is_utf8)
}

/// The header's value; none where it is absent.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(|text| Some(text.trim())).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// Reads `If-Match`: one strong entity tag that holds a version, or `*`.
///
/// Entity tags here are versions, so a weak tag, a list or any other tag cannot be meant.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, ParameterProblem> {
    let refused = || ParameterProblem::new("If-Match", "must be one version in quotes, such as \"3\", or *");
    match single(headers, &IF_MATCH).map_err(|()| refused())? {
        None => Ok(None),
        Some("*") => Ok(Some(IfMatch::Any)),
        Some(tag) => {
            let version = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            version
                .and_then(|text| text.parse().ok())
                .map(|version| Some(IfMatch::Version(version)))
                .ok_or_else(refused)
        }
    }
}

/// Refuses `If-Match` on a batch, which is of no one entity.
pub(crate) fn no_if_match(headers: &HeaderMap) -> Result<(), ParameterProblem> {
    let refused = || ParameterProblem::new("If-Match", "is not for a batch: give its entries versions");
    if headers.contains_key(IF_MATCH) { Err(refused()) } else { Ok(()) }
}

/// Checks `If-None-Match`: `*` says what a create does anyway. No other command keeps any, and one that
/// is not kept must not pass for one that held.
pub(crate) fn if_none_match(headers: &HeaderMap, creates: bool) -> Result<(), ParameterProblem> {
    match single(headers, &IF_NONE_MATCH) {
        Ok(None) => Ok(()),
        Ok(Some("*")) if creates => Ok(()),
        _ => Err(ParameterProblem::new("If-None-Match", "is for reads and, as *, for a create")),
    }
}

/// The longest idempotency key, in characters.
pub(crate) const LONGEST_IDEMPOTENCY_KEY: usize = 255;

/// Reads `Idempotency-Key`: one text of visible ASCII.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ParameterProblem> {
    let refused = || ParameterProblem::new("Idempotency-Key", "must be given once, 1 to 255 visible ASCII characters");
    let key = single(headers, &IDEMPOTENCY_KEY).map_err(|()| refused())?;
    let is_one = |key: &str| (1..=LONGEST_IDEMPOTENCY_KEY).contains(&key.len()) && !key.contains(char::is_control);
    if key.is_none_or(is_one) { Ok(key.map(str::to_owned)) } else { Err(refused()) }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
