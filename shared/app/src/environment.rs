use async_trait::async_trait;
use ledgerline_kernel::Timestamp;

/// What use cases need that is neither a store nor a rule: the time, unique names, patience.
///
/// One implementation runs in production; tests bring one that repeats itself exactly.
#[async_trait]
pub trait Environment: Send + Sync {
    /// The time now. Stamps records; never orders them.
    fn now(&self) -> Timestamp;

    /// A name that was never used before: a ULID. Never orders events.
    fn new_id(&self) -> String;

    /// Waits before the `attempt`-th retry (from 1): a random time up to a bound that doubles with
    /// each attempt ("full jitter").
    async fn back_off(&self, attempt: u32);
}

#[cfg(test)]
pub(crate) mod still {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// One moment, ids counted from 1.
    #[derive(Default)]
    pub(crate) struct Still(AtomicU32);

    #[async_trait]
    impl Environment for Still {
        fn now(&self) -> Timestamp {
            "2026-11-20T08:00:00Z".parse().unwrap()
        }

        fn new_id(&self) -> String {
            format!("id-{}", self.0.fetch_add(1, Ordering::Relaxed) + 1)
        }

        async fn back_off(&self, _: u32) {}
    }
}
