use std::sync::Arc;

use ledgerline_kernel::input::InputError;
use ledgerline_kernel::ports::{AppendError, LedgerAppend, LedgerRead, StoreError};
use ledgerline_kernel::{
    Action, CanonicalError, Corrupt, Decision, DecisionContext, Draft, DynDomain, EntityKey, KeyError, Prepared,
    SortKey, Stamp, TenantCode, Undecided, Version, VersionItem,
};

use crate::Environment;

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
#[derive(Debug)]
pub struct CommandRequest<'a> {
    /// Of which domain.
    pub domain: &'a dyn DynDomain,
    /// What is asked.
    pub action: Action<'a>,
    /// Of which entity; none for a create, which names it in the body or has one generated.
    pub sk: Option<SortKey>,
    /// The `If-Match` header.
    pub if_match: Option<IfMatch>,
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
    /// The entity's newest version.
    pub item: VersionItem,
    /// Whether this command wrote it. `false`: there was nothing to do.
    pub changed: bool,
}

/// Why a command was not accepted. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The body could not be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The header and the body expect different versions.
    #[error("the If-Match header and the body's version differ")]
    ContradictoryVersions,
    /// An update without an expected version.
    #[error("send If-Match with the version you have seen, or * for whatever is newest")]
    PreconditionRequired,
    /// No such entity.
    #[error("there is no {0}")]
    NotFound(EntityKey),
    /// A create of an entity that exists, deleted or not.
    #[error("{0} exists already")]
    AlreadyExists(EntityKey),
    /// The entity is at another version than expected.
    #[error("the entity is at version {current}, not {expected}")]
    VersionConflict {
        /// What the caller expected.
        expected: Version,
        /// What there is.
        current: Version,
        /// Where the caller said so.
        given_in: VersionSource,
    },
    /// Others kept writing; the command was decided again several times and lost each time.
    #[error("too many others are changing {0} at this moment")]
    Contended(EntityKey),
    /// The domain said no.
    #[error("{detail}")]
    Refused {
        /// The domain's stable code.
        code: &'static str,
        /// The domain's sentence.
        detail: String,
    },
    /// The state would be larger than a version item can be.
    #[error("the entity would have {bytes} bytes, {limit} is the limit")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger holds something that this code cannot read.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// A domain produced what cannot be stored: a bug of the domain.
    #[error("the domain produced a state that cannot be stored: {0}")]
    Unstorable(#[from] CanonicalError),
    /// The entity has used up its ten digits of versions.
    #[error("the entity has no version left")]
    VersionsExhausted(KeyError),
}

impl From<Undecided> for CommandError {
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::Refused { code, detail } => Self::Refused { code, detail },
            Undecided::Corrupt(corrupt) => Self::Corrupt(corrupt),
        }
    }
}

/// The ledger as the write path uses it.
pub trait Ledger: LedgerRead + LedgerAppend {}
impl<T: LedgerRead + LedgerAppend> Ledger for T {}

/// The write path: load, check, decide, append.
#[derive(Clone)]
pub struct Commands {
    ledger: Arc<dyn Ledger>,
    environment: Arc<dyn Environment>,
}

/// How often a command without an expected version is decided, the first time included.
const ATTEMPTS: u32 = 6;

impl Commands {
    /// A write path onto this ledger.
    pub fn new(ledger: Arc<dyn Ledger>, environment: Arc<dyn Environment>) -> Self {
        Self { ledger, environment }
    }

    /// Executes one command.
    ///
    /// A create is one conditional write and no read; an accepted update one read and one
    /// conditional write, whatever the entity's age.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was written then.
    pub async fn execute(&self, request: CommandRequest<'_>) -> Result<Accepted, CommandError> {
        let prepared = request.domain.prepare(request.action, request.body)?;
        let command = Command {
            prepared: &prepared,
            id: self.environment.new_id(),
            now: self.environment.now(),
            request: &request,
        };
        match &request.sk {
            None => self.create(&command).await,
            Some(sk) => self.update(&command, sk).await,
        }
    }

    async fn create(&self, command: &Command<'_>) -> Result<Accepted, CommandError> {
        let sk = match &command.prepared.sk {
            Some(sk) => sk.clone(),
            // A ULID is 26 letters and digits: always a valid sort key.
            None => self.environment.new_id().parse().map_err(CommandError::VersionsExhausted)?,
        };
        let key = command.key(sk);
        let decision = command.decide(None)?;
        let item = command.chain(key.clone(), Version::FIRST, None, decision)?;
        match self.append(item).await? {
            Appended::Ours(item) => Ok(Accepted { item: *item, changed: true }),
            Appended::Lost(_) => Err(CommandError::AlreadyExists(key)),
        }
    }

    async fn update(&self, command: &Command<'_>, sk: &SortKey) -> Result<Accepted, CommandError> {
        let expected = command.expected_version()?;
        let key = command.key(sk.clone());
        for attempt in 1..=ATTEMPTS {
            let Some(newest) = self.ledger.newest(&key).await? else {
                return Err(CommandError::NotFound(key));
            };
            if let Some((expected, given_in)) = expected
                && expected != newest.version
            {
                return Err(CommandError::VersionConflict { expected, current: newest.version, given_in });
            }
            let decision = command.decide(Some(&newest))?;
            if decision.events.is_empty() {
                return Ok(Accepted { item: newest, changed: false });
            }
            let version = newest.version.next().map_err(CommandError::VersionsExhausted)?;
            let item = command.chain(key.clone(), version, Some(&newest), decision)?;
            match (self.append(item).await?, expected) {
                (Appended::Ours(item), _) => return Ok(Accepted { item: *item, changed: true }),
                (Appended::Lost(winner), Some((expected, given_in))) => {
                    return Err(CommandError::VersionConflict { expected, current: winner, given_in });
                }
                (Appended::Lost(_), None) if attempt < ATTEMPTS => self.environment.back_off(attempt).await,
                (Appended::Lost(_), None) => {}
            }
        }
        Err(CommandError::Contended(key))
    }

    async fn append(&self, item: VersionItem) -> Result<Appended, CommandError> {
        match self.ledger.append(&item).await {
            Ok(()) => Ok(Appended::Ours(Box::new(item))),
            // An earlier attempt of ours got through and its answer was lost.
            Err(AppendError::Occupied(stored)) if stored.command_id == item.command_id => Ok(Appended::Ours(stored)),
            Err(AppendError::Occupied(stored)) => Ok(Appended::Lost(stored.version)),
            Err(AppendError::TooLarge { bytes, limit }) => Err(CommandError::TooLarge { bytes, limit }),
            Err(AppendError::Store(error)) => Err(error.into()),
        }
    }
}

enum Appended {
    Ours(Box<VersionItem>),
    Lost(Version),
}

/// A command on its way: read, named and dated once, decided as often as it takes.
struct Command<'a> {
    request: &'a CommandRequest<'a>,
    prepared: &'a Prepared,
    id: String,
    now: ledgerline_kernel::Timestamp,
}

impl Command<'_> {
    fn key(&self, sk: SortKey) -> EntityKey {
        EntityKey::new(self.request.domain.entity_type().clone(), self.request.caller.tenant.clone(), sk)
    }

    fn expected_version(&self) -> Result<Option<(Version, VersionSource)>, CommandError> {
        match (self.request.if_match, self.prepared.version) {
            (None, None) => Err(CommandError::PreconditionRequired),
            (Some(IfMatch::Version(header)), Some(body)) if header != body => Err(CommandError::ContradictoryVersions),
            (Some(IfMatch::Version(header)), _) => Ok(Some((header, VersionSource::Header))),
            (_, Some(body)) => Ok(Some((body, VersionSource::Body))),
            (Some(IfMatch::Any), None) => Ok(None),
        }
    }

    fn decide(&self, newest: Option<&VersionItem>) -> Result<Decision, Undecided> {
        let caller = &self.request.caller;
        let context = DecisionContext { now: self.now, tenant: caller.tenant.clone(), user: caller.user.clone() };
        self.prepared.command.decide(newest, &context)
    }

    fn chain(
        &self,
        key: EntityKey,
        version: Version,
        previous: Option<&VersionItem>,
        decision: Decision,
    ) -> Result<VersionItem, CanonicalError> {
        let Caller { user, ip, .. } = &self.request.caller;
        let origin = &self.request.origin;
        let draft = Draft {
            code: decision.code,
            name: decision.name,
            is_deleted: decision.is_deleted,
            events: decision.events,
            state: decision.state,
            command_id: self.id.clone(),
            request_id: origin.request_id.clone(),
            source: origin.source.clone(),
            traceparent: origin.traceparent.clone(),
            stamp: Stamp { at: self.now, by: user.clone(), ip: ip.clone() },
        };
        VersionItem::chain(key, version, previous, draft)
    }
}

#[cfg(test)]
#[path = "commands_tests.rs"]
mod tests;
