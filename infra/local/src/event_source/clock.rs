use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

/// The time that mappings and schedules go by: the machine's, or one that a test moves. Clones are the
/// same clock.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<Mutex<Manual>>>);

struct Manual {
    now: DateTime<Utc>,
    /// Who sleeps until when; the number keeps those of one moment apart, and in order.
    sleepers: BTreeMap<(DateTime<Utc>, u64), oneshot::Sender<()>>,
    next: u64,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn real() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is advanced.
    #[must_use]
    pub fn manual(now: DateTime<Utc>) -> Self {
        Self(Some(Arc::new(Mutex::new(Manual { now, sleepers: BTreeMap::new(), next: 0 }))))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.0.as_ref().map_or_else(Utc::now, |manual| lock(manual).now)
    }

    /// Waits for so long by this clock.
    pub async fn sleep(&self, time: Duration) {
        let Some(manual) = &self.0 else { return tokio::time::sleep(time).await };
        if time.is_zero() {
            return;
        }
        let (woken, sleep) = oneshot::channel();
        let place = {
            let mut manual = lock(manual);
            let place = (manual.now + time, manual.next);
            manual.next += 1;
            manual.sleepers.insert(place, woken);
            place
        };
        let _bed = Bed { manual, place };
        // An error would mean that the clock is gone, which this very future holds.
        let _ = sleep.await;
    }

    /// Moves a manual clock on, and wakes who has slept long enough, the earliest first.
    pub fn advance(&self, time: Duration) {
        if let Some(manual) = &self.0 {
            let mut manual = lock(manual);
            let now = manual.now + time;
            manual.reach(now);
        }
    }

    /// Moves a manual clock to when the next sleeper wakes; `false` if nobody sleeps.
    #[must_use]
    pub fn advance_to_next(&self) -> bool {
        let Some(manual) = &self.0 else { return false };
        let mut manual = lock(manual);
        let next = manual.sleepers.keys().next().map(|(moment, _)| *moment);
        next.inspect(|moment| manual.reach(*moment)).is_some()
    }
}

impl Manual {
    fn reach(&mut self, now: DateTime<Utc>) {
        self.now = now.max(self.now);
        while let Some(sleeper) = self.sleepers.first_entry().filter(|sleeper| sleeper.key().0 <= now) {
            // Who was to be woken may have left.
            let _ = sleeper.remove().send(());
        }
    }
}

/// Somebody's place among the sleepers, given up when they leave early.
struct Bed<'a> {
    manual: &'a Mutex<Manual>,
    place: (DateTime<Utc>, u64),
}

impl Drop for Bed<'_> {
    fn drop(&mut self) {
        lock(self.manual).sleepers.remove(&self.place);
    }
}

/// A test that panicked while it held the lock fails by itself; others need not follow.
fn lock(manual: &Mutex<Manual>) -> MutexGuard<'_, Manual> {
    manual.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(manual)" } else { "Clock(real)" })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_manual_clock_wakes_those_who_slept_long_enough_and_no_others() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let mut short = Box::pin(clock.sleep(Duration::from_secs(1)));
        let mut long = Box::pin(clock.sleep(Duration::from_secs(60)));
        assert!(short.as_mut().now_or_never().is_none() && long.as_mut().now_or_never().is_none());
        clock.advance(Duration::from_secs(59));
        assert!(short.as_mut().now_or_never().is_some() && long.as_mut().now_or_never().is_none());
        assert!(clock.advance_to_next());
        assert!(long.now_or_never().is_some());
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH + Duration::from_secs(60));
    }

    #[test]
    fn who_leaves_early_is_waited_for_no_more() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let mut sleep = Box::pin(clock.sleep(Duration::from_secs(1)));
        assert!(sleep.as_mut().now_or_never().is_none());
        drop(sleep);
        assert!(!clock.advance_to_next());
    }
}
