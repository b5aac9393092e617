use std::time::Duration;

use ledgerline_kernel::ports::StoreError;

const STORE: &str = "postgres";

/// What went wrong, before it is decided whether to try again.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no connection, or it cannot be given its role: nothing was asked of the database yet.
    Connection(sqlx::Error),
    /// The database said no, or nothing.
    Database(sqlx::Error),
    /// It was asked for something that makes no sense, or holds something that makes none.
    Nonsense(String),
    /// It did not answer for so long.
    Late(Duration),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Failure {
    /// Whether the connection was to blame: it was dead when it was taken from the pool (a frozen
    /// Lambda), or the server went away. Another connection may work at once.
    pub(crate) fn is_a_dead_connection(&self) -> bool {
        match self {
            Self::Connection(sqlx::Error::Io(_)) | Self::Database(sqlx::Error::Io(_)) => true,
            Self::Connection(error) | Self::Database(error) => {
                sql_state(error).is_some_and(|code| in_classes(&code, &["08", "57P"]))
            }
            Self::Nonsense(_) | Self::Late(_) => false,
        }
    }

    /// Whether a table or its schema was not there: after a rebuild has ended, those it worked in are
    /// not. Another transaction learns of that.
    pub(crate) fn is_a_table_that_is_gone(&self) -> bool {
        match self {
            Self::Connection(error) | Self::Database(error) => {
                sql_state(error).is_some_and(|code| code == "42P01" || code == "3F000")
            }
            Self::Nonsense(_) | Self::Late(_) => false,
        }
    }

    /// Whether a lock was held by others for too long.
    pub(crate) fn is_a_lock_held_by_others(&self) -> bool {
        match self {
            Self::Connection(error) | Self::Database(error) => {
                sql_state(error).is_some_and(|code| code == "55P03" || code == "40P01")
            }
            Self::Nonsense(_) | Self::Late(_) => false,
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Nonsense(reason) => Self::Rejected { store: STORE, reason },
            Failure::Late(limit) => Self::Unavailable { store: STORE, reason: format!("no answer within {limit:?}") },
            Failure::Database(error) if is_about_the_data(&error) => {
                Self::Rejected { store: STORE, reason: error.to_string() }
            }
            Failure::Connection(error) | Failure::Database(error) => {
                Self::Unavailable { store: STORE, reason: error.to_string() }
            }
        }
    }
}

/// Data that Postgres will never take: malformed (22), against a constraint (23), too large (54).
/// Everything else can pass without anybody touching the data: a lost connection, a deadlock, a
/// migration that has not run yet, a password that was rotated. Calling that a refusal would get
/// good records quarantined.
fn is_about_the_data(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => sql_state(error).is_some_and(|code| in_classes(&code, &["22", "23", "54"])),
        sqlx::Error::Encode(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::TypeNotFound { .. } => true,
        _ => false,
    }
}

fn sql_state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}

fn in_classes(code: &str, classes: &[&str]) -> bool {
    classes.iter().any(|class| code.starts_with(class))
}
