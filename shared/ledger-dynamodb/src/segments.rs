//! The ledger in several parts at once, for a rebuild.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use ledgerline_kernel::EntityType;
use ledgerline_kernel::ports::{LedgerSegments, Segment, SegmentPage, StoreError};

use crate::errors::store_error;
use crate::ledger::{DynamoLedger, Item, STORE, read, read_cursor, write_cursor};

#[async_trait]
impl LedgerSegments for DynamoLedger {
    /// One request for each page. DynamoDB divides a table by its partition keys, so a tenant's
    /// entities of one type are all in one segment.
    async fn segment(
        &self,
        entity_type: &EntityType,
        Segment { number, of }: Segment,
        from: Option<String>,
        limit: u32,
    ) -> Result<SegmentPage, StoreError> {
        let answer = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .segment(i32::try_from(number).unwrap_or(i32::MAX))
            .total_segments(i32::try_from(of).unwrap_or(i32::MAX))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .filter_expression("kind = :version AND begins_with(pk, :type)")
            .expression_attribute_values(":version", AttributeValue::S("version".to_owned()))
            .expression_attribute_values(":type", AttributeValue::S(format!("{entity_type}#")))
            .set_exclusive_start_key(from.as_deref().map(read_cursor).transpose()?)
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        let next = answer.last_evaluated_key.as_ref().map(write_cursor).transpose()?;
        let mut page = SegmentPage { next, examined: answer.scanned_count.unsigned_abs().into(), ..Default::default() };
        for item in answer.items.unwrap_or_default() {
            let place = place_of(&item);
            match read(item) {
                Ok(version) => page.items.push(version),
                Err(error) => page.unreadable.push(format!("{place}: {error}")),
            }
        }
        Ok(page)
    }

    /// What DynamoDB counted within the last six hours.
    async fn row_estimate(&self) -> Option<u64> {
        let answer = self.client.describe_table().table_name(&self.table).send().await.ok()?;
        u64::try_from(answer.table?.item_count?).ok().filter(|count| *count > 0)
    }
}

fn place_of(item: &Item) -> String {
    let part = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
    format!("{}#{}", part("pk"), part("sk"))
}
