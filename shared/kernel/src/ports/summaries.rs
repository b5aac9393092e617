use async_trait::async_trait;

use super::StoreError;
use crate::{SummarySpec, TenantCode};

/// One row of a summary. Numbers are exact, in plain notation, and may have more digits than a
/// [`Decimal`](crate::Decimal).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// One value for each key column of the summary's table.
    pub key: Vec<String>,
    /// One value for each of its sums.
    pub sums: Vec<String>,
    /// The least and the greatest value of the summary's histogram in this row; none where it has
    /// none.
    pub extremes: Option<(String, String)>,
}

/// Reads summaries.
#[async_trait]
pub trait SummaryRead: Send + Sync {
    /// Up to `limit` rows of `tenant`, in the order of their keys, beginning after the key `after`.
    async fn summary(
        &self,
        spec: &SummarySpec,
        tenant: &TenantCode,
        after: Option<&[String]>,
        limit: usize,
    ) -> Result<Vec<SummaryRow>, StoreError>;
}
