use std::collections::HashMap;

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use ledgerline_kernel::ports::StoreError;
use serde_dynamo::Error as ItemError;

/// Error codes by which DynamoDB says "not now", in a 4xx. The SDK has retried most of these
/// already.
const TRANSIENT: [&str; 9] = [
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ThrottlingException",
    // An earlier attempt of the same request is still at it.
    "TransactionInProgressException",
    // The item is part of a transaction under way, or of a write in another region.
    "TransactionConflictException",
    "ReplicatedWriteConflictException",
];

/// Tells what may succeed later from what never will.
pub(crate) fn store_error<E>(store: &'static str, error: &SdkError<E>) -> StoreError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let unavailable = match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
        // A success that makes no sense was broken on its way.
        SdkError::ServiceError(answer) if !answer.raw().status().is_client_error() => true,
        SdkError::ServiceError(answer) => answer.err().code().is_some_and(|code| TRANSIENT.contains(&code)),
        _ => false,
    };
    let reason = match (error.code(), error.message()) {
        (Some(code), message) => format!("{code}: {}", message.unwrap_or_default()),
        (None, _) => DisplayErrorContext(error).to_string(),
    };
    if unavailable { StoreError::Unavailable { store, reason } } else { StoreError::Rejected { store, reason } }
}

/// The item that a condition failed on (`None` if DynamoDB did not return it), or the error that it
/// was instead.
pub(crate) fn condition_failed(
    store: &'static str,
    error: SdkError<PutItemError>,
) -> Result<Option<HashMap<String, AttributeValue>>, StoreError> {
    match error {
        SdkError::ServiceError(answer) if answer.err().is_conditional_check_failed_exception() => {
            match answer.into_err() {
                PutItemError::ConditionalCheckFailedException(failed) => Ok(failed.item),
                _ => Ok(None),
            }
        }
        error => Err(store_error(store, &error)),
    }
}

/// An item that cannot be written as, or read from, what DynamoDB stores.
pub(crate) fn item_error(store: &'static str, error: &ItemError) -> StoreError {
    StoreError::Rejected { store, reason: error.to_string() }
}
