use aws_sdk_sns::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sns::types::BatchResultErrorEntry;
use ledgerline_kernel::ports::StoreError;

/// What SNS calls this store.
const STORE: &str = "SNS";

/// Error codes by which SNS refuses what a request says. Everything else, such as a topic or a
/// permission that is missing, says nothing of the messages: they are to be sent again.
const REFUSALS: [&str; 6] = [
    "BatchRequestTooLong",
    "InvalidParameter",
    "InvalidParameterValue",
    "ParameterValueInvalid",
    "ValidationError",
    "ValidationException",
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
    // The codes of the query protocol come with and without this suffix.
    let name = code.strip_suffix("Exception").unwrap_or(code);
    if REFUSALS.contains(&name) || REFUSALS.contains(&code) { rejected(reason) } else { unavailable(reason) }
}
