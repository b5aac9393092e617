use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use ledgerline_app::{LargeStates, Projector};
use ledgerline_kernel::VersionItem;
use ledgerline_kernel::ports::StoreError;

/// Why a record gives no version item.
pub(crate) enum Unread {
    /// Not now: what it refers to is in a store that is away.
    Later(String),
    /// Not ever, and what is wrong with it.
    Bad(String),
}

/// A stored item with all of its state, checked.
pub(crate) async fn whole(
    projector: &Projector,
    large_states: &LargeStates,
    item: VersionItem,
) -> Result<VersionItem, Unread> {
    let place = format!("{}@{}", item.key, item.version);
    let read = AssertUnwindSafe(async {
        let item = large_states.whole(item).await.map_err(|error| match error {
            StoreError::Unavailable { .. } => Unread::Later(error.to_string()),
            StoreError::Rejected { .. } => Unread::Bad(format!("{place}: {error}")),
        })?;
        projector.verify(&item).map_err(|bad| Unread::Bad(bad.to_string()))?;
        Ok(item)
    });
    read.catch_unwind().await.unwrap_or_else(|_| Err(Unread::Bad("reading it panicked".to_owned())))
}
