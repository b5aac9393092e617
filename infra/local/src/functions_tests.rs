use lambda_runtime::service_fn;
use serde_json::Value;

use super::*;

async fn answer(event: LambdaEvent<Value>) -> Result<Value, String> {
    match event.payload["do"].as_str() {
        Some("panic") => panic!("on purpose"),
        Some("fail") => Err("no".to_owned()),
        Some("hang") => std::future::pending().await,
        _ => Ok(event.payload),
    }
}

fn functions(timeout: Duration) -> InProcess {
    let mut functions = InProcess::default();
    functions.add("echo", timeout, service_fn(answer));
    functions
}

#[tokio::test]
async fn a_function_answers_in_json() {
    let answer = functions(Duration::from_secs(60)).invoke("echo", r#"{"a":1}"#.to_owned()).await;
    assert_eq!(answer.unwrap(), r#"{"a":1}"#);
}

#[tokio::test]
async fn failures_panics_unreadable_events_and_unknown_names_are_errors() {
    let functions = functions(Duration::from_secs(60));
    for (name, event, reason) in [
        ("echo", r#"{"do":"fail"}"#, "no"),
        ("echo", r#"{"do":"panic"}"#, "on purpose"),
        ("echo", "{", "cannot read the event"),
        ("other", "{}", "no function other"),
    ] {
        let error = functions.invoke(name, event.to_owned()).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn an_invocation_ends_with_its_timeout() {
    let error = functions(Duration::from_millis(1)).invoke("echo", r#"{"do":"hang"}"#.to_owned()).await.unwrap_err();
    assert!(error.to_string().contains("timed out"), "{error}");
}
