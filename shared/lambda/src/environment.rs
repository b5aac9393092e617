use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ledgerline_app::Environment;
use ledgerline_kernel::Timestamp;
use ulid::Ulid;

/// The machine's clock, ULIDs, and waiting for real.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

/// The upper bound of the first wait, in microseconds; it doubles with every attempt.
const FIRST_BOUND_MICROS: u64 = 20_000;

/// The upper bound that no wait exceeds, in microseconds.
const LAST_BOUND_MICROS: u64 = 1_000_000;

#[async_trait]
impl Environment for SystemEnvironment {
    fn now(&self) -> Timestamp {
        DateTime::<Utc>::from(SystemTime::now()).into()
    }

    fn new_id(&self) -> String {
        Ulid::generate().to_string()
    }

    async fn back_off(&self, attempt: u32) {
        tokio::time::sleep(jittered(attempt, Ulid::generate().random())).await;
    }
}

/// Any time up to the attempt's bound ("full jitter"), as `random` has it.
fn jittered(attempt: u32, random: u128) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let bound = (FIRST_BOUND_MICROS << doublings).min(LAST_BOUND_MICROS);
    Duration::from_micros(u64::try_from(random % u128::from(bound)).unwrap_or(bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_below_a_bound_that_doubles_up_to_a_second() {
        assert_eq!(jittered(1, 19_999), Duration::from_micros(19_999));
        assert_eq!(jittered(1, 20_000), Duration::ZERO);
        assert_eq!(jittered(2, 39_999), Duration::from_micros(39_999));
        assert!((0..=u32::MAX).step_by(1 << 28).all(|attempt| jittered(attempt, u128::MAX) < Duration::from_secs(1)));
    }

    #[test]
    fn ids_are_ulids_and_never_the_same() {
        let (a, b) = (SystemEnvironment.new_id(), SystemEnvironment.new_id());
        assert_eq!(a.len(), 26);
        assert_ne!(a, b);
    }
}
