use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::event_source::{Clock, Invoke, InvokeError};

/// What happens to invocations, each as so large a share of them (0 to 1).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weather {
    /// Fails before the function has done anything.
    pub refused: f64,
    /// Fails after the function has done everything: its answer is lost, and all of it comes again.
    pub unanswered: f64,
    /// The longest that an invocation waits before it begins, by the simulation's clock: invocations of
    /// several shards and lanes overtake each other.
    pub delay: Duration,
}

/// A function in bad weather.
pub struct Surroundings {
    function: Arc<dyn Invoke>,
    weather: Weather,
    clock: Clock,
    random: Mutex<fastrand::Rng>,
    working: watch::Sender<usize>,
}

impl Surroundings {
    pub(super) fn new(function: Arc<dyn Invoke>, weather: Weather, seed: u64, clock: Clock) -> Self {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Self { function, weather, clock, random, working: watch::Sender::new(0) }
    }

    /// Waits until the function does nothing.
    pub(super) async fn idle(&self) {
        // An error would mean that the sender is gone, which is here.
        let _ = self.working.subscribe().wait_for(|working| *working == 0).await;
    }
}

/// Counts an invocation for as long as it works, however it ends.
struct Working<'a>(&'a watch::Sender<usize>);

impl<'a> Working<'a> {
    fn begin(working: &'a watch::Sender<usize>) -> Self {
        working.send_modify(|working| *working += 1);
        Self(working)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|working| *working -= 1);
    }
}

#[async_trait]
impl Invoke for Surroundings {
    async fn invoke(&self, function: &str, event: String) -> Result<String, InvokeError> {
        let (luck, delay) = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            (random.f64(), self.weather.delay.mul_f64(random.f64()))
        };
        self.clock.sleep(delay).await;
        if luck < self.weather.refused {
            return Err(InvokeError::Failed("refused by the weather".to_owned()));
        }
        let answer = {
            let _working = Working::begin(&self.working);
            self.function.invoke(function, event).await
        };
        if luck < self.weather.refused + self.weather.unanswered {
            return Err(InvokeError::Failed("the weather took the answer".to_owned()));
        }
        answer
    }
}
