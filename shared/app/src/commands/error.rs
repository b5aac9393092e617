use ledgerline_kernel::input::{InputError, Problem};
use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{CanonicalError, Corrupt, EntityKey, KeyError, Undecided, Version};

use super::VersionSource;

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
    /// A create with an `If-Match`: there is nothing yet that could be at any version.
    #[error("a create has no version to match: leave If-Match out")]
    NothingToMatch,
    /// No such entity.
    #[error("there is no {0}")]
    NotFound(EntityKey),
    /// A create of an entity that exists, deleted or not.
    #[error("{0} exists already")]
    AlreadyExists(EntityKey),
    /// Another entity has a value that must be unique.
    #[error("another entity has this {field}")]
    Taken {
        /// The field.
        field: String,
        /// Who has it.
        holder: EntityKey,
    },
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
    /// The idempotency key belongs to another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The idempotency key cannot be one.
    #[error("an idempotency key is 1 to 255 visible ASCII characters")]
    KeyInvalid,
    /// A request with the same idempotency key is being answered.
    #[error("a request with this idempotency key is being answered")]
    InFlight,
    /// Two entries of one transaction concern the same entity or unique value.
    #[error("entry {entry} has the same {field}")]
    RepeatedInBatch {
        /// The field that names it, in the later of the two.
        field: String,
        /// The earlier of the two, from 0.
        entry: usize,
    },
    /// A command names the entity that it is addressed to where it must name another.
    #[error("{0} names the entity itself")]
    NamesItself(&'static str),
    /// More than one transaction takes.
    #[error("{operations} writes, {limit} fit into one transaction")]
    TooManyWrites {
        /// How many it takes.
        operations: usize,
        /// How many there can be.
        limit: usize,
    },
    /// The domain said no.
    #[error("{detail}")]
    Refused {
        /// The domain's stable code.
        code: &'static str,
        /// The domain's sentence.
        detail: String,
    },
    /// The state would be larger than a version item can be.
    #[error("{bytes} bytes would have to be stored, {limit} is the limit")]
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

impl CommandError {
    /// The stable code that whoever sent the command is answered with.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Input(InputError::Malformed(_)) => "MALFORMED_BODY",
            Self::Input(InputError::Invalid(_))
            | Self::ContradictoryVersions
            | Self::RepeatedInBatch { .. }
            | Self::NamesItself(_) => "VALIDATION_ERROR",
            Self::PreconditionRequired => "PRECONDITION_REQUIRED",
            Self::NotFound(_) => "NOT_FOUND",
            Self::AlreadyExists(_) | Self::Taken { .. } => "ALREADY_EXISTS",
            Self::NothingToMatch | Self::VersionConflict { .. } => "VERSION_CONFLICT",
            Self::Contended(_) => "CONTENDED",
            Self::KeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::KeyInvalid => "INVALID_PARAMETER",
            Self::InFlight => "IN_FLIGHT",
            Self::Refused { code, .. } => code,
            Self::TooManyWrites { .. } | Self::TooLarge { .. } => "PAYLOAD_TOO_LARGE",
            Self::Store(StoreError::Unavailable { .. }) => "UNAVAILABLE",
            Self::Store(StoreError::Rejected { .. })
            | Self::Corrupt(_)
            | Self::Unstorable(_)
            | Self::VersionsExhausted(_) => "INTERNAL",
        }
    }

    /// The sentence that whoever sent the command is answered with. Holds no internal text, unlike the
    /// error's own.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Input(InputError::Malformed(detail)) => detail,
            Self::Input(InputError::Invalid(_))
            | Self::ContradictoryVersions
            | Self::RepeatedInBatch { .. }
            | Self::NamesItself(_) => "the body has problems",
            Self::NotFound(_) => "there is no such entity",
            Self::AlreadyExists(_) => "there is such an entity already",
            Self::Contended(_) => "too many others are changing this entity at this moment",
            Self::KeyInvalid => "the parameters or headers have problems",
            Self::TooLarge { .. } => "this is larger than can be stored",
            Self::Store(StoreError::Unavailable { .. }) => "try again in a moment",
            Self::Store(StoreError::Rejected { .. })
            | Self::Corrupt(_)
            | Self::Unstorable(_)
            | Self::VersionsExhausted(_) => "something went wrong on our side",
            Self::PreconditionRequired
            | Self::NothingToMatch
            | Self::Taken { .. }
            | Self::VersionConflict { .. }
            | Self::KeyReused
            | Self::InFlight
            | Self::Refused { .. }
            | Self::TooManyWrites { .. } => return self.to_string(),
        }
        .to_owned()
    }

    /// The fields that are to blame, each with what is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |path: &str, code, message| vec![Problem { path: path.to_owned(), code, message }];
        match self {
            Self::Input(InputError::Invalid(problems)) => problems.clone(),
            Self::ContradictoryVersions => {
                problem("version", "CONTRADICTS_IF_MATCH", "must be the version in If-Match".to_owned())
            }
            // Of the same tenant, always: so who has it may be told, and is who can give it up.
            Self::Taken { field, holder } => {
                let sk = &holder.sk;
                problem(field, "TAKEN", format!("must not be another's: {sk} has it until that is changed or deleted"))
            }
            Self::KeyInvalid => problem("Idempotency-Key", "INVALID_PARAMETER", self.to_string()),
            Self::RepeatedInBatch { field, entry } => {
                problem(field, "REPEATED", format!("must not be that of entry {entry} as well"))
            }
            Self::NamesItself(field) => problem(field, "REPEATED", "must name another entity".to_owned()),
            _ => Vec::new(),
        }
    }
}
