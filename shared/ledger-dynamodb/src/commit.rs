//! Writing: one conditional `PutItem` where one item is all there is, else one `TransactWriteItems`.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use ledgerline_kernel::ports::{CommitError, LedgerWrite, StoreError};
use ledgerline_kernel::{
    Claim, ClaimChange, Commit, EntityKey, Expiry, Hash, IdempotencyRecord, ImportedRows, MAX_OPERATIONS, TenantCode,
    Timestamp, Version,
};

use crate::cancellation::{Part, Verdict, of_put, of_transaction};
use crate::errors::store_error;
use crate::import_records::rows_item;
use crate::item_size::{KEY_LIMIT, LIMIT, TRANSACTION_LIMIT, item_size};
use crate::ledger::{DynamoLedger, Item, STORE, rejected, text};
use crate::records::{
    CLAIM, IDEMPOTENCY, claim_item, idempotency_item, idempotency_record, item_key, ttl, version_item,
};

/// How often a commit is sent that others get in the way of. The SDK retries throttled requests, but
/// no cancelled transaction.
pub(crate) const ATTEMPTS: u32 = 6;

/// The longest wait before the second attempt; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(25);

#[async_trait]
impl LedgerWrite for DynamoLedger {
    async fn commit(&self, commit: &Commit, now: Timestamp) -> Result<(), CommitError> {
        let parts = parts(commit)?;
        let mut attempt = 1;
        loop {
            let verdict = match *parts {
                [] => Verdict::Written,
                [part @ (Part::Version(_) | Part::Idempotency(_) | Part::Imported(_))] => self.put(part, now).await?,
                _ => self.transact(commit, &parts, now).await?,
            };
            match verdict {
                Verdict::Written => return Ok(()),
                Verdict::Failed(error) => return Err(error),
                Verdict::Again(error) if attempt >= ATTEMPTS => return Err(error),
                Verdict::Again(error) => {
                    tracing::debug!(attempt, %error, "a write to the ledger is tried again");
                    tokio::time::sleep(wait(attempt)).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn remembered(
        &self,
        tenant: &TenantCode,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .consistent_read(true)
            .set_key(Some(item_key(IdempotencyRecord::pk_of(tenant, key), IDEMPOTENCY.to_owned())))
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        let record = answer.item.map(|item| idempotency_record(tenant, key, item)).transpose()?;
        // TTL deletes within days, not at the moment.
        Ok(record.filter(|record| record.expires_at > now))
    }
}

impl DynamoLedger {
    async fn put(&self, part: Part<'_>, now: Timestamp) -> Result<Verdict, CommitError> {
        let put = match part {
            Part::Version(item) => self.new_item_put(version_item(item))?,
            Part::Idempotency(record) => self.idempotency_put(record, now)?,
            Part::Imported(rows) => self.new_item_put(rows_item(rows)?)?,
            Part::Claim(_) | Part::Expiry(_) => return Err(rejected("not an item of its own").into()),
        };
        measured(&put.item)?;
        let answer = self
            .client
            .put_item()
            .table_name(put.table_name)
            .set_item(Some(put.item))
            .set_condition_expression(put.condition_expression)
            .set_expression_attribute_values(put.expression_attribute_values)
            .set_return_values_on_condition_check_failure(put.return_values_on_condition_check_failure)
            .send()
            .await;
        Ok(answer.map_or_else(|error| of_put(part, error), |_| Verdict::Written))
    }

    async fn transact(&self, commit: &Commit, parts: &[Part<'_>], now: Timestamp) -> Result<Verdict, CommitError> {
        let mut operations = Vec::with_capacity(parts.len());
        let mut bytes = 0;
        for part in parts {
            let operation = self.operation(*part, now)?;
            bytes += operation_size(&operation)?;
            operations.push(operation);
        }
        fits(bytes, TRANSACTION_LIMIT)?;
        let request = self.client.transact_write_items().set_transact_items(Some(operations));
        let answer = request.set_client_request_token(request_token(commit, now)).send().await;
        Ok(answer.map_or_else(|error| of_transaction(parts, error), |_| Verdict::Written))
    }

    fn operation(&self, part: Part<'_>, now: Timestamp) -> Result<TransactWriteItem, StoreError> {
        let operation = TransactWriteItem::builder();
        let operation = match part {
            Part::Idempotency(record) => operation.put(self.idempotency_put(record, now)?),
            Part::Imported(rows) => operation.put(self.new_item_put(rows_item(rows)?)?),
            Part::Version(item) => operation.put(self.new_item_put(version_item(item))?),
            Part::Claim(ClaimChange::Take(claim, holder)) => operation.put(self.claim_put(claim, holder, None)?),
            Part::Claim(ClaimChange::Transfer { claim, from, to }) => {
                operation.put(self.claim_put(claim, to, Some(from))?)
            }
            Part::Claim(ClaimChange::Release(claim, holder)) => operation.delete(self.claim_delete(claim, holder)?),
            Part::Expiry(expiry) => operation.update(self.expiry_update(expiry)?),
        };
        Ok(operation.build())
    }

    /// An item in a place that nothing else is in: a version, an outcome.
    fn new_item_put(&self, item: Item) -> Result<Put, StoreError> {
        Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| incomplete(&error))
    }

    fn idempotency_put(&self, record: &IdempotencyRecord, now: Timestamp) -> Result<Put, StoreError> {
        Put::builder()
            .table_name(&self.table)
            .set_item(Some(idempotency_item(record)?))
            .condition_expression("attribute_not_exists(pk) OR expiresAt <= :now")
            .expression_attribute_values(":now", text(&now))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| incomplete(&error))
    }

    fn claim_put(&self, claim: &Claim, holder: &EntityKey, from: Option<&EntityKey>) -> Result<Put, StoreError> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(claim_item(claim, holder)))
            .expression_attribute_values(":me", text(&holder.sk))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match from {
            None => put.condition_expression("attribute_not_exists(pk) OR holder = :me"),
            Some(from) => put
                .condition_expression("attribute_not_exists(pk) OR holder = :from OR holder = :me")
                .expression_attribute_values(":from", text(&from.sk)),
        }
        .build()
        .map_err(|error| incomplete(&error))
    }

    fn claim_delete(&self, claim: &Claim, holder: &EntityKey) -> Result<Delete, StoreError> {
        Delete::builder()
            .table_name(&self.table)
            .set_key(Some(item_key(claim.pk(), CLAIM.to_owned())))
            .condition_expression("attribute_not_exists(pk) OR holder = :me")
            .expression_attribute_values(":me", text(&holder.sk))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| incomplete(&error))
    }

    fn expiry_update(&self, expiry: &Expiry) -> Result<Update, StoreError> {
        Update::builder()
            .table_name(&self.table)
            .set_key(Some(item_key(expiry.key.partition.to_string(), expiry.key.at(expiry.version).to_string())))
            // Without the condition, an update makes the item that it does not find.
            .condition_expression("attribute_exists(pk)")
            .update_expression("SET #ttl = :ttl")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":ttl", AttributeValue::N(ttl(expiry.at).to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| incomplete(&error))
    }
}

/// What `commit` writes, in the order in which failed conditions are reported.
fn parts(commit: &Commit) -> Result<Vec<Part<'_>>, CommitError> {
    let operations = commit.operations();
    if operations > MAX_OPERATIONS {
        return Err(CommitError::TooMany { operations, limit: MAX_OPERATIONS });
    }
    let imported = commit.imported.iter().map(Part::Imported);
    let idempotency = commit.idempotency.iter().map(Part::Idempotency);
    let versions = commit.versions.iter().map(Part::Version);
    let claims = commit.claims.iter().map(Part::Claim);
    let expiries = commit.expiries.iter().map(Part::Expiry);
    let parts: Vec<_> = imported.chain(idempotency).chain(versions).chain(claims).chain(expiries).collect();
    // The key of a version always fits, and a single one is in nobody's way.
    if let [Part::Version(_)] = *parts {
        return Ok(parts);
    }
    let mut places = HashSet::with_capacity(parts.len());
    for part in &parts {
        if !places.insert(place(*part)) {
            return Err(rejected(&format!("{part} is written twice in one commit")).into());
        }
    }
    Ok(parts)
}

/// What tells the item that a part writes from those of the others.
#[derive(PartialEq, Eq, Hash)]
enum Place<'a> {
    Imported,
    Idempotency,
    Version(&'a EntityKey, Version),
    Claim(&'a Claim),
}

fn place(part: Part<'_>) -> Place<'_> {
    match part {
        Part::Imported(_) => Place::Imported,
        Part::Idempotency(_) => Place::Idempotency,
        Part::Version(item) => Place::Version(&item.key, item.version),
        Part::Claim(change) => Place::Claim(change.claim()),
        Part::Expiry(expiry) => Place::Version(&expiry.key, expiry.version),
    }
}

/// One token for one content, so that DynamoDB itself recognises a request that it has carried out
/// already. Not of the command alone: a command that decides again writes something else, and a
/// token that comes with another content is refused. Left to the SDK where no command is behind it.
fn request_token(commit: &Commit, now: Timestamp) -> Option<String> {
    let command = &commit.versions.first()?.command_id;
    let mut content = String::with_capacity(512);
    content.extend([command, "\n", &now.to_string()]);
    for version in &commit.versions {
        content.extend(["\n", version.hash.as_str()]);
    }
    for change in &commit.claims {
        push_change(change, &mut content);
    }
    if commit.idempotency.is_some() || !commit.expiries.is_empty() {
        content.push_str(&format!("\n{:?} {:?}", commit.idempotency, commit.expiries));
    }
    if let Some(rows) = &commit.imported {
        push_rows(rows, &mut content);
    }
    // At most 36 characters are taken.
    Hash::of(&content).as_str().get(..36).map(str::to_owned)
}

/// What tells a change of a claim from every other; keys hold no line breaks.
fn push_change(change: &ClaimChange, content: &mut String) {
    match change {
        ClaimChange::Take(..) => content.push_str("\ntake"),
        ClaimChange::Release(..) => content.push_str("\nrelease"),
        ClaimChange::Transfer { from, .. } => content.extend(["\ntransfer from ", &from.to_string()]),
    }
    content.extend(["\n", &change.claim().pk(), "\n", &change.holder().to_string()]);
}

/// What tells an outcome from every other: others may come with the same versions.
fn push_rows(rows: &ImportedRows, content: &mut String) {
    content.push_str(&format!("\n{rows:?}"));
}

/// The bytes of an operation's items, none of which is larger than DynamoDB takes.
fn operation_size(operation: &TransactWriteItem) -> Result<usize, CommitError> {
    let put = operation.put.as_ref().map(Put::item);
    let delete = operation.delete.as_ref().map(Delete::key);
    let update = operation.update.as_ref();
    let item = put.or(delete).or(update.map(Update::key)).map_or(Ok(0), measured)?;
    let values = update.and_then(Update::expression_attribute_values).map_or(0, item_size);
    Ok(item + values)
}

fn measured(item: &Item) -> Result<usize, CommitError> {
    let pk = item.get("pk").and_then(|pk| pk.as_s().ok());
    fits(pk.map_or(0, String::len), KEY_LIMIT)?;
    let bytes = item_size(item);
    fits(bytes, LIMIT)?;
    Ok(bytes)
}

fn fits(bytes: usize, limit: usize) -> Result<(), CommitError> {
    if bytes > limit { Err(CommitError::TooLarge { bytes, limit }) } else { Ok(()) }
}

/// Any time up to a bound that doubles with each attempt ("full jitter").
pub(crate) fn wait(attempt: u32) -> Duration {
    FIRST_WAIT.mul_f64(fastrand::f64()) * (1 << (attempt - 1).min(16))
}

fn incomplete(error: &BuildError) -> StoreError {
    rejected(&error.to_string())
}
