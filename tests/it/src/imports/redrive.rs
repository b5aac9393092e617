//! What ended among the dead letters and is sent again, among live traffic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_sqs::types::QueueAttributeName;
use ledgerline_app::{Caller, CommandRequest, Commands, IfMatch, RequestOrigin};
use ledgerline_import_file::Chunk;
use ledgerline_kernel::{Action, ImportState};
use ledgerline_lambda::{SystemEnvironment, dynamodb_client, sqs_client};
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_local::event_source::{Invoke, InvokeError};
use ledgerline_local::functions::InProcess;
use ledgerline_stores::LocalMessaging;
use serde_json::{Value, json};

use super::kills::completed;
use super::site::{DEAD, ROWS, Site, config, deliver, rows_queue, split, worker};
use super::{LEDGER, announce, counts, csv, registry, scale, seed};

/// Rows of a message.
const MESSAGE_ROWS: usize = 25;

const VISIBILITY: Duration = Duration::from_secs(60);

/// A worker that is not well: of some messages it knows nothing, the rows of the others it writes, and then
/// Postgres is away.
struct Ill(InProcess);

#[async_trait]
impl Invoke for Ill {
    async fn invoke(&self, function: &str, event: String) -> Result<String, InvokeError> {
        let mut event: Value = serde_json::from_str(&event).unwrap();
        let records = event["Records"].take();
        let (unknown, known): (Vec<_>, Vec<_>) = records.as_array().unwrap().iter().cloned().partition(|record| {
            let chunk: Chunk = serde_json::from_str(record["body"].as_str().unwrap()).unwrap();
            chunk.chunk.is_multiple_of(3)
        });
        event["Records"] = known.into();
        let answer = self.0.invoke(function, event.to_string()).await?;
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        let failed = unknown.iter().map(|record| json!({"itemIdentifier": record["messageId"]}));
        answer["batchItemFailures"].as_array_mut().unwrap().extend(failed);
        Ok(answer.to_string())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_are_sent_again_among_live_traffic_double_nothing() {
    // What fails is seen again at once, and is dead after the second time.
    let Some(site) = Site::start(Duration::ZERO, 2).await else { return };
    let (rows, begun) = (u32::try_from(scale(5_000)).unwrap(), Instant::now());
    let import = site.upload("acme", csv(rows, |number| number % 90)).await;
    split(&site.config(), &import, MESSAGE_ROWS).await.unwrap();
    let messages = site.messaging.queues().depth(ROWS).await.unwrap();

    let mut away = site.variables.clone();
    for (_, value) in away.iter_mut().filter(|(name, _)| *name == "DATABASE_URL") {
        *value = value.replace("/ledgerline_test_", "/gone_");
        assert!(value.contains("/gone_"), "{value}");
    }
    let ill = Ill(worker(&config(&away)).await);
    let source = Arc::new(rows_queue(&site.config()).await);
    let mapping = deliver(source.clone(), Arc::new(ill), VISIBILITY);
    while site.messaging.queues().depth(DEAD).await.unwrap() < messages {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    mapping.stop().await;
    let status = site.status(&import).await;
    assert_eq!(status.job.state, ImportState::Running, "not all of it is shown");
    let written = status.counts.total();
    assert!(written > 0 && written < u64::from(rows), "{written} of {rows} rows were written when it died");

    let client = sqs_client(&site.config()).await;
    let hidden = (QueueAttributeName::VisibilityTimeout, VISIBILITY.as_secs().to_string());
    let set = client.set_queue_attributes().queue_url(site.messaging.queue_url(ROWS));
    set.attributes(hidden.0, hidden.1).send().await.unwrap();
    let mapping = deliver(source, Arc::new(worker(&site.config()).await), VISIBILITY);
    let traffic = live_traffic(&site, rows);
    let redriven = async {
        let dead = LocalMessaging::queue_arn(DEAD);
        client.start_message_move_task().source_arn(dead).send().await.unwrap();
        completed(&site, &import).await
    };
    let (made, redriven) = tokio::join!(traffic, redriven);
    mapping.stop().await;
    assert_eq!(redriven, counts(u64::from(rows), 0, 0, 0));
    assert_eq!(site.messaging.queues().depth(DEAD).await.unwrap(), 0);
    site.assert_sound(rows as usize + made.created, rows as usize + made.created + made.changed).await;
    announce(
        "redrive",
        &format!(
            "{rows} rows in {messages} dead messages, {written} of them written before; {made:?} meanwhile: 0 doubled, \
             0 lost; {:.1} s",
            begun.elapsed().as_secs_f64()
        ),
    );
}

/// What others did.
#[derive(Debug, Default)]
struct Made {
    created: usize,
    changed: usize,
}

/// A smaller import of other products, and commands that change products of both.
async fn live_traffic(site: &Site, rows: u32) -> Made {
    let config = site.config();
    let others = rows / 5;
    let file = csv(others, |number| number).replace("R-", "L-");
    let import = site.upload("acme", file).await;
    split(&config, &import, MESSAGE_ROWS).await.unwrap();
    let created = completed(site, &import).await;
    assert_eq!(created, counts(u64::from(others), 0, 0, 0));

    let upkeep = ledgerline_lambda::Upkeep::new(&config, site.views.clone()).await.unwrap();
    let ledger = DynamoLedger::new(dynamodb_client(&config).await, LEDGER);
    let (commands, registry) = (Commands::new(Arc::new(ledger), Arc::new(SystemEnvironment)), registry());
    let domain = registry.by_resource("products").unwrap();
    let mut random = fastrand::Rng::with_seed(seed());
    let mut changed = 0;
    let ids = sqlx::query_scalar::<_, String>("SELECT sk FROM product ORDER BY code");
    let known = ids.fetch_all(site.views.pool()).await.unwrap();
    for _ in 0..others {
        let sk = known[random.usize(..known.len())].parse().unwrap();
        let body = format!("{{\"price\": \"{}.25\"}}", random.u32(..1_000));
        let request = CommandRequest {
            domain: domain.as_ref(),
            action: Action::Named("change-price"),
            sk: Some(sk),
            if_match: Some(IfMatch::Any),
            idempotency_key: None,
            body: &body,
            caller: Caller { tenant: "acme".parse().unwrap(), user: "bob".to_owned(), ip: String::new() },
            origin: RequestOrigin { request_id: "live".to_owned(), source: "live".to_owned(), traceparent: None },
        };
        let accepted = commands.execute(request).await.unwrap();
        if accepted.changed {
            upkeep.projector.apply(&[accepted.item]).await.unwrap();
            changed += 1;
        }
    }
    Made { created: others as usize, changed }
}
