//! What operations of a host are at, so that two operators do not do the same thing at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use ledgerline_kernel::Timestamp;

use crate::failure::Failure;

/// What is under way, and since when. Clones share it.
#[derive(Clone, Default)]
pub struct UnderWay(Arc<Mutex<BTreeMap<String, Timestamp>>>);

/// Somebody's turn at something; given up when it is dropped.
pub(super) struct Turn {
    all: UnderWay,
    what: String,
}

impl UnderWay {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins something, unless it is under way.
    ///
    /// # Errors
    /// [`Failure::UNDER_WAY`] says since when.
    pub(super) fn begin(&self, what: String) -> Result<Turn, Failure> {
        let mut all = self.all();
        if let Some(since) = all.get(&what) {
            let message =
                format!("`ledgerline {what}` has been under way since {since}; wait for it, or stop that one");
            return Err(Failure::new(Failure::UNDER_WAY, message));
        }
        all.insert(what.clone(), DateTime::<Utc>::from(SystemTime::now()).into());
        drop(all);
        Ok(Turn { all: self.clone(), what })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.all.all().remove(&self.what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_is_refused_for_as_long_as_it_is_under_way_and_nothing_else() {
        let all = UnderWay::default();
        let turn = all.begin("resync products".to_owned()).unwrap();
        let refused = all.begin("resync products".to_owned()).err().unwrap();
        assert_eq!(refused.code, Failure::UNDER_WAY);
        assert!(refused.message.starts_with("`ledgerline resync products` has been under way since 2"), "{refused}");
        let _other = all.begin("resync products --tenant acme".to_owned()).unwrap();
        drop(turn);
        assert!(all.begin("resync products".to_owned()).is_ok());
    }
}
