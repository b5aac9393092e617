use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ledgerline_kernel::VersionItem;
use serde_json::json;
use tokio::sync::mpsc;

use super::{World, scale, seed};

/// Batches delivered at once.
const DELIVERIES: usize = 2;

/// So many write at once, each to products of its own.
const WRITERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_of_a_table_rebuilt_under_writes_never_see_it_empty_or_older() {
    let world = Arc::new(World::start().await);
    let (entities, rate, rebuilds) = (scale(10_000, 300), scale(200, 60), 3);
    let mut random = fastrand::Rng::with_seed(seed());
    world.fill(entities, &mut random).await;
    let done = Arc::new(AtomicBool::new(false));
    let (sender, deliveries) = delivery(&world);
    let write = |writer| {
        let writer = Writer { number: writer, rate: rate / WRITERS, random: random.fork() };
        tokio::spawn(write(Arc::clone(&world), Arc::clone(&done), sender.clone(), writer))
    };
    let writing: Vec<_> = (0..WRITERS).map(write).collect();
    drop(sender);
    let reading = tokio::spawn(read(Arc::clone(&world), Arc::clone(&done)));

    let (mut corrected, mut longest, begun) = (0, Duration::ZERO, Instant::now());
    for _ in 0..rebuilds {
        let started = Instant::now();
        corrected += world.rebuild().await.unwrap().corrected;
        longest = longest.max(started.elapsed());
    }
    done.store(true, Ordering::SeqCst);
    let took = begun.elapsed().as_secs_f64();
    let mut written = 0;
    for writer in writing {
        written += writer.await.unwrap();
    }
    let reached = written as f64 / took;
    let (reads, worst) = reading.await.unwrap();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert!(written > 0 && reads > 0);
    world.assert_right().await;
    println!(
        "storm: rebuild under writes; seed {}; {rebuilds} rebuilds of {entities} entities, the longest {longest:.1?}, \
         beside {written} writes at {reached:.0}/s of {rate}/s and {reads} reads, the slowest {worst:.1?}: 0 empty, 0 older; \
         {corrected} corrected; digests and sums equal",
        seed()
    );
    drop(world);
}

/// Delivers what is sent, in batches, several at a time.
fn delivery(world: &Arc<World>) -> (mpsc::UnboundedSender<VersionItem>, Vec<tokio::task::JoinHandle<()>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let deliver = |_| {
        let (world, receiver) = (Arc::clone(world), Arc::clone(&receiver));
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while receiver.lock().await.recv_many(&mut batch, 50).await > 0 {
                world.deliver(&batch).await;
                batch.clear();
            }
        })
    };
    (sender, (0..DELIVERIES).map(deliver).collect())
}

/// One of those who write.
struct Writer {
    number: usize,
    /// Writes a second.
    rate: usize,
    random: fastrand::Rng,
}

/// New products and new prices, in random order, at a steady rate. Gives how many.
async fn write(
    world: Arc<World>,
    done: Arc<AtomicBool>,
    sender: mpsc::UnboundedSender<VersionItem>,
    Writer { number, rate, mut random }: Writer,
) -> usize {
    // Deleted products take no price; new ones do.
    let mut own = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
    let mut written = 0;
    while !done.load(Ordering::SeqCst) {
        tick.tick().await;
        let item = if own.is_empty() || random.u8(..4) == 0 {
            let sk = format!("new-{number}-{}", own.len());
            own.push(sk.clone());
            world.create("acme", &sk, json!({"category": "Good", "price": random.u32(..100).to_string()})).await
        } else {
            world.price("acme", &own[random.usize(..own.len())], random.u64(..100)).await
        };
        written += 1;
        // Some are never delivered a second time, some are.
        if random.u8(..10) == 0 {
            sender.send(item.clone()).unwrap();
        }
        sender.send(item).unwrap();
    }
    written
}

/// How often all of it is read: who reads without a pause leaves the others nothing of the machine.
const READ_EVERY: Duration = Duration::from_millis(100);

/// Reads everything, again and again: no entity's version falls, nothing disappears, no sum shrinks.
async fn read(world: Arc<World>, done: Arc<AtomicBool>) -> (usize, Duration) {
    let (mut seen, mut products) = (BTreeMap::<String, i64>::new(), 0_i64);
    let (reads, mut worst) = (AtomicUsize::new(0), Duration::ZERO);
    let mut tick = tokio::time::interval(READ_EVERY);
    while !done.load(Ordering::SeqCst) {
        tick.tick().await;
        let started = Instant::now();
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT id, version FROM product").fetch_all(world.views.pool()).await.unwrap();
        worst = worst.max(started.elapsed());
        let rows: BTreeMap<String, i64> = rows.into_iter().collect();
        assert!(!rows.is_empty() && rows.len() >= seen.len(), "{} rows after {}", rows.len(), seen.len());
        for (id, version) in &seen {
            assert!(rows.get(id) >= Some(version), "{id} was at {version} and is at {:?}", rows.get(id));
        }
        seen = rows;
        let counted: i64 = sqlx::query_scalar("SELECT coalesce(sum(products), 0)::bigint FROM product_category_total")
            .fetch_one(world.views.pool())
            .await
            .unwrap();
        assert!(counted > 0 && counted >= products, "{counted} products after {products}");
        products = counted;
        reads.fetch_add(1, Ordering::Relaxed);
    }
    (reads.into_inner(), worst)
}
