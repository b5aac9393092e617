//! The write path: take in, load, check, decide, commit.

mod error;
mod idempotency;
mod parts;
pub(crate) mod rows;
mod unit;

use std::collections::BTreeMap;
use std::slice::from_ref;
use std::sync::Arc;

use futures::StreamExt as _;
use ledgerline_kernel::input::{InputError, Problem};
use ledgerline_kernel::ports::{LedgerRead, LedgerWrite};
use ledgerline_kernel::{Action, DynDomain, EntityKey, SortKey, TenantCode, Version, VersionItem};

pub use error::CommandError;

use crate::Environment;
pub(crate) use idempotency::Idempotency;
use unit::Unit;

/// Who asks, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// For which tenant.
    pub tenant: TenantCode,
    /// The verified subject.
    pub user: String,
    /// The IP address, empty where there is none.
    pub ip: String,
}

/// How the command came in; kept with the version it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestOrigin {
    /// The id of the request.
    pub request_id: String,
    /// The entry point, such as `command-api`.
    pub source: String,
    /// The W3C trace context.
    pub traceparent: Option<String>,
}

/// The version that the caller expects, from the `If-Match` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: whatever is newest.
    Any,
    /// Exactly this one.
    Version(Version),
}

/// Where an expected version was given; decides how a conflict is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionSource {
    /// The `If-Match` header.
    Header,
    /// The body's `version`.
    Body,
}

/// One command, as it came in.
#[derive(Debug, Clone)]
pub struct CommandRequest<'a> {
    /// Of which domain.
    pub domain: &'a dyn DynDomain,
    /// What is asked.
    pub action: Action<'a>,
    /// Of which entity; none for a create, which names it in the body or has one generated.
    pub sk: Option<SortKey>,
    /// The `If-Match` header.
    pub if_match: Option<IfMatch>,
    /// The `Idempotency-Key` header.
    pub idempotency_key: Option<String>,
    /// The body, JSON text; may be empty.
    pub body: &'a str,
    /// Who asks.
    pub caller: Caller,
    /// How it came in.
    pub origin: RequestOrigin,
}

/// A command that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The entity's version that the command led to, or found.
    pub item: VersionItem,
    /// Whether this command wrote it. `false`: there was nothing to do.
    pub changed: bool,
    /// Whether this is the first answer again, to a repeated request.
    pub replayed: bool,
    /// New versions of other entities that the command involved; of a repeated one, their newest.
    pub others: Vec<VersionItem>,
}

/// Why a batch was not accepted as a whole: which of its entries failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("entry {index}: {error}")]
pub struct FailedEntry {
    /// The entry, from 0.
    pub index: usize,
    /// What is wrong with it.
    #[source]
    pub error: CommandError,
}

/// The ledger as the write path uses it.
pub trait Ledger: LedgerRead + LedgerWrite {}
impl<T: LedgerRead + LedgerWrite> Ledger for T {}

/// The write path: the only code that writes to the ledger.
#[derive(Clone)]
pub struct Commands {
    ledger: Arc<dyn Ledger>,
    environment: Arc<dyn Environment>,
}

/// How many entries of a batch are worked on at once, and how many reads.
const IN_FLIGHT: usize = 16;

impl Commands {
    /// A write path onto this ledger.
    pub fn new(ledger: Arc<dyn Ledger>, environment: Arc<dyn Environment>) -> Self {
        Self { ledger, environment }
    }

    /// Executes one command.
    ///
    /// A create is one conditional write and no read; an accepted update one read and one
    /// conditional write, whatever the entity's age. With an idempotency key, the first answer is
    /// given again for as long as it is remembered.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was written then.
    pub async fn execute(&self, request: CommandRequest<'_>) -> Result<Accepted, CommandError> {
        let idempotency = Idempotency::of(&request)?;
        let unit = Unit::take_in(from_ref(&request), idempotency.as_ref(), self.environment.as_ref())
            .map_err(|failed| failed.error)?;
        self.execute_alone(&unit).await
    }

    /// Executes several commands, each by itself; the answers are in the order of the requests.
    /// Those about the same entity are executed in that order too, each after the one before it.
    pub async fn execute_each(&self, requests: &[CommandRequest<'_>]) -> Vec<Result<Accepted, CommandError>> {
        let idempotency: Vec<_> = requests.iter().map(Idempotency::of).collect();
        let mut answers = BTreeMap::new();
        let mut lanes: BTreeMap<Option<EntityKey>, Vec<(usize, Unit<'_>)>> = BTreeMap::new();
        for (index, (request, idempotency)) in requests.iter().zip(&idempotency).enumerate() {
            let unit = match idempotency {
                Ok(idempotency) => Unit::take_in(from_ref(request), idempotency.as_ref(), self.environment.as_ref()),
                Err(_) => Err(FailedEntry { index: 0, error: CommandError::KeyInvalid }),
            };
            match unit {
                Ok(unit) => lanes.entry(unit.addressed().cloned()).or_default().push((index, unit)),
                Err(failed) => drop(answers.insert(index, Err(failed.error))),
            }
        }
        // Collected first: a stream over the closure itself would make a future that is not `Send`.
        let lanes: Vec<_> = lanes.into_values().map(|lane| self.execute_in_turn(lane)).collect();
        let executed: Vec<_> = futures::stream::iter(lanes).buffered(IN_FLIGHT).collect().await;
        answers.extend(executed.into_iter().flatten());
        answers.into_values().collect()
    }

    async fn execute_in_turn(&self, lane: Vec<(usize, Unit<'_>)>) -> Vec<(usize, Result<Accepted, CommandError>)> {
        let mut answers = Vec::with_capacity(lane.len());
        for (index, unit) in lane {
            answers.push((index, self.execute_alone(&unit).await));
        }
        answers
    }

    async fn execute_alone(&self, unit: &Unit<'_>) -> Result<Accepted, CommandError> {
        let outcome = self.execute_unit(unit).await.map_err(|failed| failed.error);
        outcome.and_then(|accepted| accepted.into_iter().next().ok_or_else(empty))
    }

    /// Executes several commands in one transaction: all or nothing. The idempotency key is that of
    /// the first.
    ///
    /// # Errors
    /// [`FailedEntry`] names the entry that stands in the way; nothing was written then.
    pub async fn execute_together(&self, requests: &[CommandRequest<'_>]) -> Result<Vec<Accepted>, FailedEntry> {
        let idempotency = Idempotency::of_batch(requests).map_err(|error| FailedEntry { index: 0, error })?;
        let unit = Unit::take_in(requests, idempotency.as_ref(), self.environment.as_ref())?;
        self.execute_unit(&unit).await
    }
}

fn empty() -> CommandError {
    let message = "must hold at least one entry".to_owned();
    InputError::Invalid(vec![Problem { path: String::new(), code: "REQUIRED", message }]).into()
}

#[cfg(test)]
mod tests;
