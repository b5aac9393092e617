use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::BatchResultErrorEntry;
use ledgerline_kernel::ports::StoreError;

/// What SQS calls this store.
const STORE: &str = "SQS";

/// Error codes by which SQS refuses what a request says. Everything else, such as a queue or a
/// permission that is missing, says nothing of the messages: they are to be sent again.
const REFUSALS: [&str; 6] = [
    "BatchRequestTooLong",
    "InvalidMessageContents",
    "InvalidParameterCombination",
    "InvalidParameterValue",
    "MissingParameter",
    "ValidationError",
];

pub(crate) fn rejected(reason: String) -> StoreError {
    StoreError::Rejected { store: STORE, reason }
}

pub(crate) fn unavailable(reason: String) -> StoreError {
    StoreError::Unavailable { store: STORE, reason }
}

/// What a request failed with.
pub(crate) fn request_error<E>(error: &SdkError<E>) -> StoreError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let Some(code) = error.code() else { return unavailable(DisplayErrorContext(error).to_string()) };
    of_code(code, error.message())
}

/// What one message of a request failed with.
pub(crate) fn entry_error(entry: &BatchResultErrorEntry) -> StoreError {
    of_code(entry.code(), entry.message())
}

fn of_code(code: &str, message: Option<&str>) -> StoreError {
    let reason = format!("{code}: {}", message.unwrap_or_default());
    // The codes of the query protocol have a prefix, which not every answer comes with.
    let name = code.rsplit('.').next().unwrap_or_default();
    let name = name.strip_suffix("Exception").unwrap_or(name);
    if REFUSALS.contains(&name) { rejected(reason) } else { unavailable(reason) }
}
