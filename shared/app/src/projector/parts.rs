//! Handing things to a store all at once, and finding those that it refuses without stopping the
//! others.

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures::FutureExt;
use ledgerline_kernel::ports::StoreError;

use super::InTime;

/// A store that takes pieces all at once or not at all.
#[async_trait]
pub(super) trait Takes: Sync {
    type Piece: Sync;
    type Answer: Send;

    async fn take(&self, pieces: &[Self::Piece]) -> Result<Self::Answer, StoreError>;
}

/// What became of pieces.
pub(super) struct Parts<'a, P, A> {
    /// The answers to the parts that were taken.
    pub(super) taken: Vec<A>,
    /// The pieces that the store refuses by themselves.
    pub(super) refused: Vec<(&'a P, String)>,
    /// The pieces that were not tried, or that the store was away for.
    pub(super) left: Vec<&'a P>,
    /// What it said when it was away.
    pub(super) unavailable: Option<StoreError>,
}

/// Hands all pieces to the store, and where it refuses them, each half of them by itself: a few bad
/// ones among many cost a few calls more, not one call for each.
pub(super) async fn in_parts<'a, T: Takes>(
    store: &T,
    pieces: &'a [T::Piece],
    in_time: InTime<'_>,
) -> Parts<'a, T::Piece, T::Answer> {
    let mut parts = Parts { taken: Vec::new(), refused: Vec::new(), left: Vec::new(), unavailable: None };
    let mut open = vec![pieces];
    while let Some(part) = open.pop() {
        if part.is_empty() {
            continue;
        }
        if !in_time() {
            parts.left.extend(part);
            continue;
        }
        // What panics over a piece would do so again: it is as good as a refusal.
        let taken = AssertUnwindSafe(store.take(part)).catch_unwind().await;
        let reason = match taken {
            Ok(Ok(answer)) => {
                parts.taken.push(answer);
                continue;
            }
            Ok(Err(error @ StoreError::Unavailable { .. })) => {
                parts.unavailable = Some(error);
                parts.left.extend(part.iter().chain(open.drain(..).rev().flatten()));
                continue;
            }
            Ok(Err(error @ StoreError::Rejected { .. })) => error.to_string(),
            Err(_) => "the read model panicked".to_owned(),
        };
        match part {
            [piece] => parts.refused.push((piece, reason)),
            _ => {
                let (first, second) = part.split_at(part.len() / 2);
                open.extend([second, first]);
            }
        }
    }
    parts
}
