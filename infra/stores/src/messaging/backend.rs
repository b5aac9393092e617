//! Queues for winterbaume's SQS: what it knows of a queue stays with it, and what is in them is in
//! [`Messages`].

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::futures::Notified;
use uuid::Uuid;
use winterbaume_core::StateViewError;
use winterbaume_sqs::state::SqsError;
use winterbaume_sqs::types::{Message, MessageAttribute, MessageMoveTask, Queue};
use winterbaume_sqs::{InMemorySqsBackend, SendMessageOutput, SqsBackend, SqsStateView};

use super::fair::{FairQueue, Held};
use super::messages::{Messages, Settings, fresh, lock, name_in, now};

/// `MaximumMessageSize` of a queue that sets none, in bytes: what SQS has taken since August 2025.
pub(super) const LARGEST_MESSAGE: usize = 1024 * 1024;

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, SqsError>> + Send>>;
type Attributes = HashMap<String, String>;

/// Queues whose messages are received fairly.
#[derive(Default)]
pub(super) struct FairBackend {
    queues: InMemorySqsBackend,
    messages: Arc<Messages>,
}

fn unknown(receipt_handle: String) -> SqsError {
    SqsError::InvalidReceiptHandle { receipt_handle }
}

impl FairBackend {
    /// As [`receive_messages`](SqsBackend::receive_messages), and all that is known of them.
    pub(super) async fn receive(
        &self,
        (account, region): (String, String),
        queue: &str,
        max: usize,
        visibility: Option<u32>,
    ) -> Result<Vec<Held>, SqsError> {
        let attributes = self.queues.get_queue_attributes(account, region, queue.to_owned()).await?;
        Ok(self.messages.receive(queue, &Settings::read(&attributes), max, visibility))
    }

    /// When something may have come to some queue, from now on.
    pub(super) fn arrival(&self) -> Notified<'_> {
        self.messages.arrived.notified()
    }
}

impl SqsBackend for FairBackend {
    fn create_queue(
        &self,
        account: String,
        region: String,
        name: String,
        mut attributes: Attributes,
        tags: Option<Attributes>,
    ) -> Answer<Queue> {
        attributes.entry("MaximumMessageSize".to_owned()).or_insert_with(|| LARGEST_MESSAGE.to_string());
        self.queues.create_queue(account, region, name, attributes, tags)
    }

    fn delete_queue(&self, account: String, region: String, queue: String) -> Answer<()> {
        lock(&self.messages.queues).remove(&queue);
        self.queues.delete_queue(account, region, queue)
    }

    fn get_queue_url(&self, account: String, region: String, queue: String) -> Answer<String> {
        self.queues.get_queue_url(account, region, queue)
    }

    fn get_queue_attributes(&self, account: String, region: String, queue: String) -> Answer<Attributes> {
        let attributes = self.queues.get_queue_attributes(account, region, queue.clone());
        let messages = Arc::clone(&self.messages);
        Box::pin(async move {
            let mut attributes = attributes.await?;
            let counts = messages.with(&queue, |messages| messages.counts(now()));
            let counts = [("", counts.visible), ("NotVisible", counts.in_flight), ("Delayed", counts.delayed)];
            for (kind, count) in counts {
                attributes.insert(format!("ApproximateNumberOfMessages{kind}"), count.to_string());
            }
            Ok(attributes)
        })
    }

    fn set_queue_attributes(&self, account: String, region: String, queue: String, new: Attributes) -> Answer<()> {
        self.queues.set_queue_attributes(account, region, queue, new)
    }

    fn list_queues(&self, account: String, region: String, prefix: Option<String>) -> Answer<Vec<Queue>> {
        self.queues.list_queues(account, region, prefix)
    }

    fn send_message(
        &self,
        account: String,
        region: String,
        queue: String,
        body: String,
        delay: Option<u32>,
        message_attributes: HashMap<String, MessageAttribute>,
        group: Option<String>,
        _: Option<String>,
    ) -> Answer<SendMessageOutput> {
        let attributes = self.queues.get_queue_attributes(account, region, queue.clone());
        let messages = Arc::clone(&self.messages);
        Box::pin(async move {
            let settings = Settings::read(&attributes.await?);
            let delay = delay.map_or(settings.delay, |seconds| i64::from(seconds) * 1000);
            let message = fresh(body, message_attributes, delay);
            let sent = SendMessageOutput { message_id: message.message_id.clone(), body_md5: message.body_md5.clone() };
            messages.with(&queue, |messages| messages.push(Held { message, group, source: None }, now()));
            messages.arrived.notify_waiters();
            Ok(sent)
        })
    }

    fn receive_messages(
        &self,
        account: String,
        region: String,
        queue: String,
        max: usize,
        visibility: Option<u32>,
    ) -> Answer<Vec<Message>> {
        let attributes = self.queues.get_queue_attributes(account, region, queue.clone());
        let messages = Arc::clone(&self.messages);
        Box::pin(async move {
            let received = messages.receive(&queue, &Settings::read(&attributes.await?), max, visibility);
            Ok(received.into_iter().map(|held| held.message).collect())
        })
    }

    fn delete_message(&self, account: String, region: String, queue: String, handle: String) -> Answer<()> {
        let exists = self.queues.get_queue_url(account, region, queue.clone());
        let messages = Arc::clone(&self.messages);
        Box::pin(async move {
            exists.await?;
            messages.with(&queue, |messages| messages.delete(&handle, now())).map_err(|_| unknown(handle))
        })
    }

    fn purge_queue(&self, account: String, region: String, queue: String) -> Answer<()> {
        let exists = self.queues.get_queue_url(account, region, queue.clone());
        let messages = Arc::clone(&self.messages);
        Box::pin(async move {
            exists.await?;
            messages.with(&queue, FairQueue::clear);
            Ok(())
        })
    }

    fn change_message_visibility(
        &self,
        account: String,
        region: String,
        queue: String,
        handle: String,
        visibility: u32,
    ) -> Answer<()> {
        let exists = self.queues.get_queue_url(account, region, queue.clone());
        let messages = Arc::clone(&self.messages);
        Box::pin(async move {
            exists.await?;
            let until = now() + i64::from(visibility) * 1000;
            let hidden = messages.with(&queue, |messages| messages.hide_until(&handle, until, now()));
            messages.arrived.notify_waiters();
            hidden.map_err(|_| unknown(handle))
        })
    }

    fn change_message_visibility_batch(
        &self,
        account: String,
        region: String,
        queue: String,
        entries: Vec<(String, String, u32)>,
    ) -> Answer<Vec<String>> {
        let changes: Vec<_> = entries
            .into_iter()
            .map(|(id, handle, visibility)| {
                let scope = (account.clone(), region.clone());
                (id, self.change_message_visibility(scope.0, scope.1, queue.clone(), handle, visibility))
            })
            .collect();
        Box::pin(async move {
            let mut changed = Vec::new();
            for (id, change) in changes {
                change.await?;
                changed.push(id);
            }
            Ok(changed)
        })
    }

    fn list_queue_tags(&self, account: String, region: String, queue: String) -> Answer<Attributes> {
        self.queues.list_queue_tags(account, region, queue)
    }

    fn tag_queue(&self, account: String, region: String, queue: String, tags: Attributes) -> Answer<()> {
        self.queues.tag_queue(account, region, queue, tags)
    }

    fn untag_queue(&self, account: String, region: String, queue: String, keys: Vec<String>) -> Answer<()> {
        self.queues.untag_queue(account, region, queue, keys)
    }

    fn add_permission(
        &self,
        account: String,
        region: String,
        queue: String,
        label: String,
        accounts: Vec<String>,
        actions: Vec<String>,
    ) -> Answer<()> {
        self.queues.add_permission(account, region, queue, label, accounts, actions)
    }

    fn remove_permission(&self, account: String, region: String, queue: String, label: String) -> Answer<()> {
        self.queues.remove_permission(account, region, queue, label)
    }

    fn list_dead_letter_source_queues(&self, account: String, region: String, queue: String) -> Answer<Vec<String>> {
        self.queues.list_dead_letter_source_queues(account, region, queue)
    }

    fn start_message_move_task(
        &self,
        account: String,
        region: String,
        source: String,
        destination: Option<String>,
        per_second: Option<i32>,
    ) -> Answer<String> {
        let exists = self.queues.get_queue_url(account, region, name_in(&source));
        let messages = Arc::clone(&self.messages);
        Box::pin(async move {
            exists.await.map_err(|_| SqsError::SourceArnNotFound { source_arn: source.clone() })?;
            let started = now();
            let moved = messages.redrive(&name_in(&source), destination.as_deref().map(name_in).as_deref());
            let moved = i64::try_from(moved).unwrap_or(i64::MAX);
            let handle = Uuid::new_v4().to_string();
            lock(&messages.moves).push(MessageMoveTask {
                task_handle: handle.clone(),
                source_arn: source,
                destination_arn: destination,
                status: "COMPLETED".to_owned(),
                max_number_of_messages_per_second: per_second,
                started_timestamp: started,
                approximate_number_of_messages_moved: moved,
                approximate_number_of_messages_to_move: Some(moved),
            });
            Ok(handle)
        })
    }

    fn cancel_message_move_task(&self, _: String, _: String, task: String) -> Answer<i64> {
        let is_known = lock(&self.messages.moves).iter().any(|other| other.task_handle == task);
        let why =
            if is_known { SqsError::TaskNotCancellable } else { SqsError::InvalidTaskHandle { task_handle: task } };
        Box::pin(async { Err(why) })
    }

    fn list_message_move_tasks(&self, _: String, _: String, source: String) -> Answer<Vec<MessageMoveTask>> {
        let moves = lock(&self.messages.moves);
        let newest_first = moves.iter().rev().filter(|task| task.source_arn == source).cloned().collect();
        Box::pin(async { Ok(newest_first) })
    }

    fn scopes_with_state(&self) -> Vec<(String, String)> {
        self.queues.scopes_with_state()
    }

    fn snapshot(&self, account: String, region: String) -> Pin<Box<dyn Future<Output = SqsStateView> + Send>> {
        self.queues.snapshot(account, region)
    }

    fn restore(
        &self,
        account: String,
        region: String,
        view: SqsStateView,
    ) -> Pin<Box<dyn Future<Output = Result<(), StateViewError>> + Send>> {
        self.queues.restore(account, region, view)
    }

    fn merge(
        &self,
        account: String,
        region: String,
        view: SqsStateView,
    ) -> Pin<Box<dyn Future<Output = Result<(), StateViewError>> + Send>> {
        self.queues.merge(account, region, view)
    }
}
