use ledgerline_kernel::input::InputError;
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
