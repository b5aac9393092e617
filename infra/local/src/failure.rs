//! Why a command failed, for programs: with `--json`, the last line says it.

use serde::{Deserialize, Serialize};

/// A failure with a code that stays the same, whatever its message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Tells it from others.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
}

impl Failure {
    /// The data directory holds no ledger.
    pub const NO_LEDGER: &'static str = "NO_LEDGER";
    /// Another process has the data directory.
    pub const IN_USE: &'static str = "IN_USE";
    /// The host is at the same thing already.
    pub const UNDER_WAY: &'static str = "UNDER_WAY";
    /// The ledger has nothing of the tenant that was named.
    pub const NO_SUCH_TENANT: &'static str = "NO_SUCH_TENANT";
    /// There is no dead-letter queue of the name that was given.
    pub const NO_SUCH_QUEUE: &'static str = "NO_SUCH_QUEUE";
    /// It was done, and what it found is not as it should be: the report says what.
    pub const NOT_WELL: &'static str = "NOT_WELL";
    /// The command line makes no sense.
    pub const USAGE: &'static str = "USAGE";
    /// Anything else.
    pub const FAILED: &'static str = "FAILED";

    /// A failure with one of these codes.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }

    /// What an error comes to: the code of the first in its chain that has one.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        let coded = error.chain().find_map(|cause| cause.downcast_ref::<Self>());
        Self::new(coded.map_or(Self::FAILED, |failure| &failure.code), format!("{error:#}"))
    }

    /// The line that a program reads; none where the report is that line already.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        (self.code != Self::NOT_WELL).then(|| serde_json::json!({ "error": self }).to_string())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_failure_is_one_json_object_with_its_code_and_all_of_its_message() {
        let refused: Result<(), _> = Err(Failure::new(Failure::IN_USE, "it is in use"));
        let refused = refused.context("cannot begin").unwrap_err();
        let line: serde_json::Value = serde_json::from_str(&Failure::of(&refused).line().unwrap()).unwrap();
        assert_eq!(line, json!({ "error": { "code": "IN_USE", "message": "cannot begin: it is in use" } }));
        let other = Failure::of(&anyhow!("no idea").context("cannot begin"));
        assert_eq!(other, Failure::new("FAILED", "cannot begin: no idea"));
    }

    #[test]
    fn where_there_is_a_report_that_is_the_last_line() {
        assert_eq!(Failure::new(Failure::NOT_WELL, "not all is well").line(), None);
    }
}
