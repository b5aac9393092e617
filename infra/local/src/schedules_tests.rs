use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use serde_json::Value;

use super::*;

#[derive(Default)]
struct Function {
    events: Mutex<Vec<String>>,
    fails: AtomicBool,
}

#[async_trait]
impl Invoke for Function {
    async fn invoke(&self, function: &str, event: String) -> Result<String, InvokeError> {
        assert_eq!(function, "reconcile");
        self.events.lock().unwrap().push(event);
        match self.fails.load(Ordering::SeqCst) {
            true => Err(InvokeError::Failed("on purpose".to_owned())),
            false => Ok("7".to_owned()),
        }
    }
}

fn schedule(input: Option<&str>) -> Schedule {
    Schedule {
        id: "Reconcile.Tick".to_owned(),
        function: "reconcile".to_owned(),
        every: Duration::from_secs(60),
        input: input.map(str::to_owned),
    }
}

fn clock() -> Clock {
    Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

async fn turns() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_function_is_invoked_after_every_interval_and_not_before() {
    let (function, clock) = (Arc::new(Function::default()), clock());
    let schedules = Schedules::start(&[schedule(None)], &(Arc::clone(&function) as Arc<dyn Invoke>), &clock);
    turns().await;
    let mut invoked = Vec::new();
    for seconds in [59, 1, 60, 30, 30] {
        clock.advance(Duration::from_secs(seconds));
        turns().await;
        invoked.push(function.events.lock().unwrap().len());
    }
    assert_eq!(invoked, [0, 1, 2, 2, 3]);
    let event: Value = serde_json::from_str(&function.events.lock().unwrap()[0]).unwrap();
    assert_eq!((&event["source"], &event["time"]), (&json!("aws.scheduler"), &json!("2027-01-15T08:01:00Z")));
    schedules.stop().await;
}

#[tokio::test]
async fn it_can_be_invoked_now_with_its_input_and_says_what_came_of_it() {
    let (function, clock) = (Arc::new(Function::default()), clock());
    let functions = Arc::clone(&function) as Arc<dyn Invoke>;
    let schedules = Schedules::start(&[schedule(Some(r#"{"tenant":"acme"}"#))], &functions, &clock);
    assert_eq!(schedules.reader().run_now(Some("other")).await, []);
    let [ran] = schedules.reader().run_now(Some("reconcile")).await.try_into().unwrap();
    assert_eq!((ran.runs, ran.last_answer.as_deref(), ran.last_error), (1, Some("7"), None));
    assert_eq!(*function.events.lock().unwrap(), [r#"{"tenant":"acme"}"#]);
    function.fails.store(true, Ordering::SeqCst);
    schedules.reader().run_now(None).await;
    let [status] = schedules.reader().read().try_into().unwrap();
    assert_eq!((status.runs, status.last_answer, status.last_run_at), (2, None, Some(clock.now())));
    assert!(status.last_error.unwrap().contains("on purpose"));
    schedules.stop().await;
}
