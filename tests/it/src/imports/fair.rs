//! One tenant's large import and another one's small one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::kills::completed;
use super::site::{ROWS, Site, deliver, rows_queue, split, worker};
use super::{announce, counts, csv, scale};

const VISIBILITY: Duration = Duration::from_secs(60);

/// Rows of a message, and of the small import.
const FEW: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn ten_rows_of_one_tenant_do_not_wait_for_the_many_of_another() {
    let Some(site) = Site::start(VISIBILITY, 5).await else { return };
    let (many, begun) = (u32::try_from(scale(20_000)).unwrap(), Instant::now());
    let config = site.config();
    let large = site.upload("acme", csv(many, |number| number)).await;
    split(&config, &large, FEW).await.unwrap();
    let waiting = site.messaging.queues().depth(ROWS).await.unwrap();
    assert_eq!(waiting, u64::from(many) / FEW as u64, "all of the large one waits before the small one comes");

    let mapping = deliver(Arc::new(rows_queue(&config).await), Arc::new(worker(&config).await), VISIBILITY);
    let small = site.upload("globex", csv(u32::try_from(FEW).unwrap(), |number| number)).await;
    split(&config, &small, FEW).await.unwrap();
    assert_eq!(completed(&site, &small).await, counts(FEW as u64, 0, 0, 0));
    let before = site.status(&large).await.counts.total();
    assert!(before < u64::from(many) / 2, "{before} of {many} rows came before the ten");
    assert_eq!(completed(&site, &large).await, counts(u64::from(many), 0, 0, 0));
    mapping.stop().await;
    let entities = many as usize + FEW;
    site.assert_sound(entities, entities).await;
    announce(
        "fairness",
        &format!(
            "{before} of {many} rows of one tenant were imported when the {FEW} of another were, which came after all of \
             them; {:.1} s",
            begun.elapsed().as_secs_f64()
        ),
    );
}
