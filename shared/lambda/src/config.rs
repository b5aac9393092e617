use std::fmt;
use std::sync::Arc;

/// Why a function does not start.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// A variable that has no default.
    #[error("the environment variable {0} is not set")]
    Missing(String),
    /// A variable with a value that makes no sense. The value is not repeated: it may be a secret.
    #[error("the environment variable {name} {reason}")]
    Invalid {
        /// Its name.
        name: String,
        /// What is wrong with it, completing "The variable …".
        reason: String,
    },
    /// What is built into the function does not fit together.
    #[error("{0}")]
    Broken(String),
}

impl fmt::Debug for StartupError {
    /// The sentence: a `main` that fails prints its error this way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StartupError {
    /// A variable with a value that makes no sense.
    pub fn invalid(name: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::Invalid { name: name.into(), reason: reason.to_string() }
    }
}

/// Environment variables, or what stands in for them where several functions share a process.
#[derive(Clone)]
pub struct Config(Arc<Lookup>);

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Config {
    /// Looks variables up with `lookup`. An empty value counts as none.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// The variables of this process.
    #[must_use]
    pub fn from_env() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// The variable's value, if it has one.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The variable's value.
    ///
    /// # Errors
    /// [`StartupError::Missing`] names the variable.
    pub fn required(&self, name: &str) -> Result<String, StartupError> {
        self.optional(name).ok_or_else(|| StartupError::Missing(name.to_owned()))
    }
}

impl fmt::Debug for Config {
    /// Says nothing of the values: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_empty_variable_is_named() {
        let config = Config::new(|name| (name == "EMPTY").then(String::new));
        for name in ["EMPTY", "LEDGER_TABLE"] {
            let error = config.required(name).unwrap_err();
            assert_eq!(error.to_string(), format!("the environment variable {name} is not set"));
        }
    }
}
