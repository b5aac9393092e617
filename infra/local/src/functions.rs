//! The functions, in this process: each takes the JSON text that Lambda would hand it and gives
//! the JSON text that Lambda would get back.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Display;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lambda_runtime::{Context, LambdaEvent};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::{Service, ServiceExt as _};

use crate::event_source::{Invoke, InvokeError};

type Answer = Pin<Box<dyn Future<Output = Result<String, InvokeError>> + Send>>;
type Handler = Box<dyn Fn(String) -> Answer + Send + Sync>;

/// Functions by the names of their binaries. Invocations of one run at once, as Lambda runs several
/// instances of it.
#[derive(Default)]
pub struct InProcess {
    functions: HashMap<String, (Duration, Handler)>,
}

impl InProcess {
    /// Adds a function: a service over its event. `timeout` is the longest that one invocation may
    /// take.
    pub fn add<E, S>(&mut self, binary: &str, timeout: Duration, service: S)
    where
        E: DeserializeOwned + Send + 'static,
        S: Service<LambdaEvent<E>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Response: Serialize + Send + 'static,
        S::Error: Display + Send + 'static,
    {
        // Cloning a service is `Send` but need not be `Sync`.
        let service = Mutex::new(service);
        let handler = move |event: String| -> Answer {
            let service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Box::pin(call(service, event, timeout))
        };
        self.functions.insert(binary.to_owned(), (timeout, Box::new(handler)));
    }
}

async fn call<E, S>(service: S, event: String, timeout: Duration) -> Result<String, InvokeError>
where
    E: DeserializeOwned,
    S: Service<LambdaEvent<E>>,
    S::Response: Serialize,
    S::Error: Display,
{
    let payload = serde_json::from_str(&event).map_err(|error| failed(format!("it cannot read the event: {error}")))?;
    let mut context = Context::default();
    context.request_id = ulid::Ulid::generate().to_string();
    let deadline = (SystemTime::now() + timeout).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    context.deadline = deadline.as_millis().try_into().unwrap_or(u64::MAX);
    let answer = service.oneshot(LambdaEvent::new(payload, context)).await.map_err(failed)?;
    serde_json::to_string(&answer).map_err(failed)
}

#[async_trait]
impl Invoke for InProcess {
    async fn invoke(&self, function: &str, event: String) -> Result<String, InvokeError> {
        let Some((timeout, handler)) = self.functions.get(function) else {
            return Err(failed(format!("there is no function {function} in this host")));
        };
        // A task of its own, as an instance of its own on Lambda: its panic ends nothing else, and
        // it goes on after a timeout, because a database connection dropped in mid-transaction is
        // not safe to use again.
        let invocation = tokio::spawn(handler(event));
        match tokio::time::timeout(*timeout, invocation).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(ended)) if ended.is_panic() => {
                Err(failed(format!("it panicked: {}", panic_text(&*ended.into_panic()))))
            }
            Ok(Err(ended)) => Err(failed(ended)),
            Err(_) => Err(failed(format!("it timed out after {} s", timeout.as_secs()))),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("with no message")
}

fn failed(reason: impl Display) -> InvokeError {
    InvokeError::Failed(reason.to_string())
}

#[cfg(test)]
#[path = "functions_tests.rs"]
mod tests;
