//! What the log says of requests that fail.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use super::world::{Answer, World};

/// The lines that a filter lets through.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a request answers, and what is logged meanwhile at that filter.
async fn logged(filter: &str, request: impl Future<Output = Answer>) -> (Answer, Vec<Value>) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_env_filter(EnvFilter::new(filter));
    let guard = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
    let answer = request.await;
    drop(guard);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    (answer, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[tokio::test]
async fn a_fault_of_ours_is_one_line_with_the_requests_id_even_where_spans_are_filtered_out() {
    let world = World::new().without_lists();
    for filter in ["warn", "info"] {
        let (answer, lines) = logged(filter, world.get("/api/v1/products")).await;
        answer.expect(503, "UNAVAILABLE");
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line["level"], json!("ERROR"));
        assert_eq!(line["fields"]["request.id"], json!("request-1"));
        assert_eq!(line["fields"]["problem.code"], json!("UNAVAILABLE"));
        assert!(line["fields"]["message"].as_str().unwrap().contains("nobody there"), "{line}");
    }
}

#[tokio::test]
async fn a_version_that_is_not_there_yet_is_no_fault_of_ours() {
    let world = World::new();
    world.create("p", "1").await;
    let (answer, lines) = logged("warn", world.get("/api/v1/products/p?minVersion=999")).await;
    answer.expect(503, "NOT_YET_VISIBLE");
    assert_eq!(lines, Vec::<Value>::new());
}
