//! `Prefer: wait=N` (RFC 7240): the answer comes when the read models show what it says, or what it
//! has to show.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use ledgerline_app::{Accepted, Projector};
use ledgerline_kernel::VersionItem;
use tracing::Instrument;

const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Nobody is kept waiting for longer, in seconds.
const LONGEST_WAIT: u64 = 5;

/// For how long a list waits for what it has to show, where its caller does not say, in seconds.
const USUAL_PATIENCE: u64 = 1;

/// For how long a list is to wait for what it has to show: not at all with `wait=0`.
pub(crate) fn patience(headers: &HeaderMap) -> Duration {
    Duration::from_secs(preferred_seconds(headers).unwrap_or(USUAL_PATIENCE))
}

/// The first `wait` among the preferences. What makes no sense is no preference.
fn preferred_seconds(headers: &HeaderMap) -> Option<u64> {
    let lines = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = lines.flat_map(|line| unquoted_split(line, ',')).filter_map(|preference| {
        let (name, value) = unquoted_split(preference, ';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then_some(value.trim())
    });
    let value = preferences.next()?;
    let digits = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Only a number that is too long does not parse.
    Some(digits.parse().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT))
}

/// For how long a caller would rather wait, in seconds: 1 to [`LONGEST_WAIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait(u64);

impl Wait {
    /// What a command's caller prefers, if it is to wait at all.
    pub(crate) fn preferred(headers: &HeaderMap) -> Option<Self> {
        preferred_seconds(headers).filter(|seconds| *seconds > 0).map(Self)
    }

    /// Brings the read models to what was accepted, and waits for it. Once they show it, there is a
    /// `Preference-Applied` to answer with. If that fails or takes longer, there is none: the
    /// command is accepted all the same, and the ledger's stream will see to it.
    pub(crate) async fn for_projection<'a>(
        self,
        projector: &Projector,
        accepted: impl Iterator<Item = &'a Accepted>,
    ) -> Option<HeaderValue> {
        let items: Vec<VersionItem> =
            accepted.flat_map(|accepted| std::iter::once(&accepted.item).chain(&accepted.others)).cloned().collect();
        if items.is_empty() {
            return None;
        }
        let projector = projector.clone();
        let projection = async move {
            match projector.apply(&items).await {
                Ok(report) => report.forks.is_empty(),
                Err(error) => {
                    tracing::warn!("a command's projection was left to the stream: {error}");
                    false
                }
            }
        };
        // A task of its own, so that it ends by itself: neither our deadline nor a caller who hangs
        // up may drop a transaction in the middle.
        let task = tokio::spawn(projection.in_current_span());
        match tokio::time::timeout(Duration::from_secs(self.0), task).await {
            Ok(Ok(true)) => HeaderValue::from_str(&format!("wait={}", self.0)).ok(),
            Ok(Ok(false)) => None,
            Ok(Err(panic)) => {
                tracing::error!("a command's projection was left to the stream: {panic}");
                None
            }
            Err(_) => {
                tracing::info!("a command's projection took longer than its caller would wait");
                None
            }
        }
    }
}

/// The parts between separators that are in no quoted string.
fn unquoted_split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let was_escaped = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            _ => {}
        }
        !quoted && c == separator
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(lines: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, HeaderValue::from_str(line).unwrap());
        }
        Wait::preferred(&headers).map(|wait| wait.0)
    }

    #[test]
    fn the_first_wait_counts_wherever_it_is_among_the_preferences() {
        for lines in [
            &["wait=3"][..],
            &["WAIT = 3"],
            &["wait=\"3\""],
            &["return=minimal; a=\"x, wait=1\", wait=3; b"],
            &["handling=lenient,,", ", wait=3"],
            &["wait=3, wait=4", "wait=5"],
            &["a=\"\\\", wait=1\", wait=3"],
        ] {
            assert_eq!(preferred(lines), Some(3), "{lines:?}");
        }
    }

    #[test]
    fn a_list_waits_for_a_second_or_as_its_caller_prefers() {
        for (line, seconds) in [("", 1), ("wait=x", 1), ("wait=0", 0), ("wait=3", 3), ("wait=60", 5)] {
            let headers = HeaderMap::from_iter([(PREFER, HeaderValue::from_static(line))]);
            assert_eq!(patience(&headers), Duration::from_secs(seconds), "{line}");
        }
    }

    #[test]
    fn nobody_waits_longer_than_5_seconds() {
        assert_eq!(preferred(&["wait=6"]), Some(5));
        assert_eq!(preferred(&["wait=99999999999999999999999999"]), Some(5));
    }

    #[test]
    fn what_makes_no_sense_is_no_preference() {
        for line in
            ["", "wait", "wait=", "wait=0", "wait=-1", "wait=1.5", "wait=+1", "wait=x", "wait=x, wait=3", "a;wait=3"]
        {
            assert_eq!(preferred(&[line]), None, "{line}");
        }
    }
}
