use std::fs::{File, TryLockError};
use std::thread::sleep;
use std::time::Duration;

/// How often a file is tried that somebody holds, and the time in between: a fifth of a second in all.
const ATTEMPTS: u32 = 10;
const BETWEEN: Duration = Duration::from_millis(20);

/// Locks a file for this process alone.
///
/// A child that another thread is just starting has a part in every lock until it has become its own
/// program. So a file that was let go a moment ago may still seem to be held, and is tried again.
///
/// # Errors
/// As [`File::try_lock`]. A file that is held is waited for, up to a fifth of a second.
pub fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 1..ATTEMPTS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => sleep(BETWEEN),
            locked => return locked,
        }
    }
    file.try_lock()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_lock_that_is_just_being_let_go_is_had_and_one_that_is_held_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::create(dir.path().join("lock")).unwrap();
        let (held, wanted) = (open(), open());
        lock(&held).unwrap();
        assert!(matches!(lock(&wanted), Err(TryLockError::WouldBlock)));
        let (ready, go) = mpsc::channel();
        let letting_go = std::thread::spawn(move || {
            go.recv().unwrap();
            drop(held);
        });
        ready.send(()).unwrap();
        lock(&wanted).unwrap();
        letting_go.join().unwrap();
    }
}
