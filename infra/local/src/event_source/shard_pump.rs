use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;

use super::backlog::Backlog;
use super::shared::{Shared, Stopped};
use super::{Delivery, Discarded, GivenUp, InvokeError, Position, Record, SequenceNumber, Settled};

/// How long to wait before a shard that had nothing new is read again.
pub const POLL: Duration = Duration::from_millis(50);

/// How long to wait before a file or a database that failed is tried again.
const STORE_DELAY: Duration = Duration::from_secs(1);

/// How long an invocation may go on once its mapping is to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The records that are done with, as told by a delivery under way.
type Done = Vec<SequenceNumber>;

/// Delivers one shard.
pub(super) struct ShardPump {
    shared: Arc<Shared>,
    shard: Arc<str>,
    backlog: Backlog,
}

impl ShardPump {
    pub(super) fn new(shared: Arc<Shared>, shard: &str) -> Self {
        let at = shared.position(shard).sequence_number;
        Self { backlog: Backlog::new(&shared.mapping, at), shared, shard: shard.into() }
    }

    /// Delivers until told to stop, or until the shard is closed and all of it done with.
    pub(super) async fn run(mut self) {
        let (tell, mut told) = mpsc::unbounded_channel::<Done>();
        let mut deliveries: FuturesUnordered<Pin<Box<dyn Future<Output = usize> + Send>>> = FuturesUnordered::new();
        let mut is_closed = false;
        while !self.shared.is_stopped() {
            let found = if is_closed { Ok(0) } else { self.fetch(&mut is_closed).await };
            self.start_due(&mut deliveries, &tell);
            if is_closed && self.backlog.is_empty() {
                return self.save(true).await;
            }
            self.save(false).await;
            let pause = match found {
                Err(error) => {
                    self.shared.complain(format!("the stream {} cannot be read: {error:#}", self.shared.stream.arn()));
                    STORE_DELAY
                }
                // More may be there; what runs meanwhile gets its turn.
                Ok(count) if count > 0 && self.backlog.has_room(&self.shared.mapping) => Duration::ZERO,
                Ok(_) => POLL,
            };
            let clock = self.shared.clock.clone();
            tokio::select! {
                biased;
                () = self.shared.stopped() => {}
                Some(done) = told.recv() => self.backlog.done(&done),
                Some(lane) = deliveries.next(), if !deliveries.is_empty() => self.backlog.free(lane),
                () = clock.sleep(pause), if !pause.is_zero() => {}
                () = tokio::task::yield_now(), if pause.is_zero() => {}
            }
        }
        // They know that they are to stop.
        while deliveries.next().await.is_some() {}
        while let Ok(done) = told.try_recv() {
            self.backlog.done(&done);
        }
        self.save(false).await;
    }

    /// Reads on, if there is room. Gives how many records that brought.
    async fn fetch(&mut self, is_closed: &mut bool) -> anyhow::Result<usize> {
        let mapping = &self.shared.mapping;
        if !self.backlog.has_room(mapping) {
            return Ok(0);
        }
        let limit = mapping.batch_size * mapping.parallelization_factor.max(1);
        let page = self.shared.stream.read(&self.shard, self.backlog.read_to(), limit).await?;
        let count = page.records.len();
        *is_closed = page.is_last;
        self.backlog.take_in(page.records, mapping, self.shared.clock.now());
        Ok(count)
    }

    fn start_due(
        &mut self,
        deliveries: &mut FuturesUnordered<Pin<Box<dyn Future<Output = usize> + Send>>>,
        tell: &mpsc::UnboundedSender<Done>,
    ) {
        while let Some((lane, records)) = self.backlog.due(&self.shared.mapping, self.shared.clock.now()) {
            let (shared, shard, tell) = (Arc::clone(&self.shared), Arc::clone(&self.shard), tell.clone());
            deliveries.push(Box::pin(async move {
                // What is left when it is stopped comes with the next start.
                let _ = deliver(&shared, &shard, &records, &tell).await;
                lane
            }));
        }
    }

    async fn save(&self, is_finished: bool) {
        let sequence_number = self.backlog.checkpoint().cloned();
        self.shared.reach(&self.shard, Position { sequence_number, is_finished }).await;
    }
}

/// Delivers one batch, and tells of each record that is done with.
async fn deliver(
    shared: &Shared,
    shard: &str,
    records: &[Record],
    tell: &mpsc::UnboundedSender<Done>,
) -> Result<(), Stopped> {
    let mut delivery = Delivery::new(&shared.mapping, records);
    let mut told = 0;
    let mut tell_done = |delivery: &Delivery<'_>| {
        let done = records.iter().map(|record| &record.sequence_number);
        let done: Done = done.take(delivery.done()).skip(told).cloned().collect();
        told = delivery.done();
        // Nobody listens any more once the shard's delivery was cut off.
        let _ = tell.send(done);
    };
    loop {
        while let Some(given_up) = delivery.expire(shared.clock.now()) {
            give_up(shared, shard, &given_up).await?;
            tell_done(&delivery);
        }
        let Some(batch) = delivery.next() else { return Ok(()) };
        let answer = invoke(shared, event_of(batch)).await?;
        let settled = delivery.settle(&answer);
        if let Settled::GivenUp(given_up) = &settled {
            give_up(shared, shard, given_up).await?;
        }
        tell_done(&delivery);
        match settled {
            Settled::Retry(delay) => {
                let reason = answer.map_or_else(|error| error.to_string(), |text| format!("it answered {text}"));
                shared.complain(format!("{} did not take {} records: {reason}", shared.mapping.function, batch.len()));
                shared.pause(delay).await?;
            }
            Settled::Delivered => shared.trouble().now = None,
            Settled::GivenUp(_) => {}
        }
        if shared.is_stopped() {
            return Err(Stopped);
        }
    }
}

/// Once told to stop, waits for an answer no longer than [`STOP_GRACE`]: the position stays, and
/// the next start delivers the batch again.
async fn invoke(shared: &Shared, event: String) -> Result<Result<String, InvokeError>, Stopped> {
    let told_long_ago = async {
        shared.stopped().await;
        shared.clock.sleep(STOP_GRACE).await;
    };
    shared.trouble().invocations += 1;
    tokio::select! {
        biased;
        answer = shared.functions.invoke(&shared.mapping.function, event) => Ok(answer),
        () = told_long_ago => Err(Stopped),
    }
}

/// Hands records to the failure destination. Goes on only when that has them.
async fn give_up(shared: &Shared, shard: &str, given_up: &GivenUp<'_>) -> Result<(), Stopped> {
    let discarded = Discarded::new(&shared.mapping, (shared.stream.arn(), shard), given_up, shared.clock.now());
    let discarded = match discarded {
        Ok(discarded) => discarded,
        Err(error) => {
            // A record that is no JSON cannot have come from a stream.
            tracing::error!("records of {} cannot be handed on: {error:#}", shared.mapping.id);
            return Ok(());
        }
    };
    while let Err(error) = shared.failures.take(&discarded).await {
        shared.complain(format!("the failure destination takes nothing: {error:#}"));
        shared.pause(STORE_DELAY).await?;
    }
    shared.trouble().given_up += given_up.records.len();
    let (count, destination) = (given_up.records.len(), shared.failures.name());
    tracing::error!(
        "{} failed for good on {count} records, see {destination}: {}",
        shared.mapping.function,
        given_up.error
    );
    Ok(())
}

pub(super) fn event_of(records: &[Record]) -> String {
    let records: Vec<_> = records.iter().map(|record| record.json.as_str()).collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}
