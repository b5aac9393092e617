//! Several at once, in an order that a seed decides.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Numbers that a seed decides (xorshift).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// From 0 to below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end
    }
}

pub(super) type Task<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Runs all of them to their ends, each time one that the dice choose by one step.
pub(super) fn interleaved<T>(dice: &mut Dice, tasks: Vec<Task<'_, T>>) -> Vec<T> {
    let mut context = Context::from_waker(Waker::noop());
    let mut left: Vec<_> = tasks.into_iter().enumerate().collect();
    let mut done = Vec::new();
    while !left.is_empty() {
        let chosen = dice.below(left.len());
        if let Poll::Ready(outcome) = left[chosen].1.as_mut().poll(&mut context) {
            done.push((left.swap_remove(chosen).0, outcome));
        }
    }
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Runs one to its end, also within something that does not wait.
pub(super) fn alone<T>(work: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(outcome) = work.as_mut().poll(&mut context) {
            return outcome;
        }
    }
}
