use ledgerline_kernel::Refusal;

/// Why a product refuses a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProductError {
    /// Created twice.
    #[error("the product exists already")]
    Exists,
    /// Changed before it was created.
    #[error("there is no such product")]
    Missing,
    /// Changed while deleted.
    #[error("the product is deleted; restore it first")]
    Deleted,
    /// Merged into one that is deleted.
    #[error("the product to merge into is deleted")]
    TargetDeleted,
}

impl Refusal for ProductError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "PRODUCT_EXISTS",
            Self::Missing => "PRODUCT_MISSING",
            Self::Deleted => "PRODUCT_DELETED",
            Self::TargetDeleted => "TARGET_DELETED",
        }
    }
}
