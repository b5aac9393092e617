//! Imports, on the ledger table beside what they lead to.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use ledgerline_kernel::ports::{ImportJobs, StoreError};
use ledgerline_kernel::{ImportId, ImportJob, ImportKey, ImportTotals, ImportedRows, TenantCode};

use crate::errors::{condition_failed, store_error};
use crate::import_records::{ADDEND, addend, job, job_item, rows};
use crate::index::field;
use crate::ledger::{DynamoLedger, Item, STORE, rejected, text};
use crate::records::item_key;

#[async_trait]
impl ImportJobs for DynamoLedger {
    async fn create(&self, job: &ImportJob) -> Result<bool, StoreError> {
        self.put_job(job, "attribute_not_exists(pk)", None).await
    }

    async fn get(&self, key: &ImportKey) -> Result<Option<ImportJob>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .consistent_read(true)
            .set_key(Some(item_key(ImportKey::jobs_pk(&key.tenant), key.id.to_string())))
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        answer.item.map(job).transpose()
    }

    async fn list(
        &self,
        tenant: &TenantCode,
        before: Option<&ImportId>,
        limit: usize,
    ) -> Result<Vec<ImportJob>, StoreError> {
        let pk = (":pk", AttributeValue::S(ImportKey::jobs_pk(tenant)));
        let items = match before {
            None => self.backwards("pk = :pk", [pk], limit).await?,
            Some(before) => self.backwards("pk = :pk AND sk < :before", [pk, (":before", text(before))], limit).await?,
        };
        items.into_iter().map(job).collect()
    }

    async fn replace(&self, job: &ImportJob) -> Result<bool, StoreError> {
        let held = AttributeValue::N(job.revision.saturating_sub(1).to_string());
        self.put_job(job, "revision = :held", Some(held)).await
    }

    async fn outcomes_of(&self, import: &ImportKey, chunk: u32) -> Result<Vec<ImportedRows>, StoreError> {
        let (mut outcomes, mut page_start) = (Vec::new(), None);
        loop {
            let values = [(":pk", import.outcomes_pk()), (":chunk", format!("{chunk:010}."))];
            let page =
                Asked { condition: "pk = :pk AND begins_with(sk, :chunk)", values: &values, fields: &[], limit: None };
            let (items, last) = self.query_outcomes(&page, page_start).await?;
            for item in items {
                outcomes.push(rows(item)?);
            }
            page_start = last;
            if page_start.is_none() {
                return Ok(outcomes);
            }
        }
    }

    async fn outcomes(
        &self,
        import: &ImportKey,
        after: Option<(u32, u32)>,
    ) -> Result<(Vec<ImportedRows>, Option<(u32, u32)>), StoreError> {
        let start = after.map(|(chunk, first)| item_key(import.outcomes_pk(), ImportedRows::sk_of(chunk, first)));
        let page = Asked { condition: "pk = :pk", values: &[(":pk", import.outcomes_pk())], fields: &[], limit: None };
        let (items, last) = self.query_outcomes(&page, start).await?;
        let outcomes = items.into_iter().map(rows).collect::<Result<Vec<_>, _>>()?;
        let place =
            |last: Item| ImportedRows::parse_sk(field(&last, "sk")).map_err(|error| rejected(&error.to_string()));
        Ok((outcomes, last.map(place).transpose()?))
    }

    /// DynamoDB reads, and charges for, whole items, but sends five numbers of each.
    async fn totals(&self, import: &ImportKey) -> Result<ImportTotals, StoreError> {
        let (mut totals, mut page_start) = (ImportTotals::default(), None);
        loop {
            let values = [(":pk", import.outcomes_pk())];
            let page = Asked { condition: "pk = :pk", values: &values, fields: &ADDEND, limit: Some(ADDENDS) };
            let (items, last) = self.query_outcomes(&page, page_start).await?;
            for item in items {
                let addend = addend(item)?;
                totals.add(&addend.counts, addend.shown);
            }
            page_start = last;
            if page_start.is_none() {
                return Ok(totals);
            }
        }
    }

    async fn mark_shown(&self, import: &ImportKey, (chunk, first): (u32, u32)) -> Result<(), StoreError> {
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(import.outcomes_pk(), ImportedRows::sk_of(chunk, first))))
            // Without the condition, an update makes the item that it does not find.
            .condition_expression("attribute_exists(pk)")
            .update_expression("SET #shown = :shown REMOVE #written")
            .expression_attribute_names("#shown", "shown")
            .expression_attribute_names("#written", "written")
            .expression_attribute_values(":shown", AttributeValue::Bool(true))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(()),
            Err(error) => Err(store_error(STORE, &error)),
        }
    }
}

/// Outcomes that are added up at a time. What a megabyte holds would be some thousands, which take several
/// megabytes to read.
const ADDENDS: i32 = 1000;

/// Which outcomes are asked for, and which of their fields; all of them if none is named.
struct Asked<'a> {
    condition: &'a str,
    values: &'a [(&'a str, String)],
    fields: &'a [&'a str],
    /// How many at most; as many as there are in a megabyte if none is given.
    limit: Option<i32>,
}

impl DynamoLedger {
    async fn put_job(
        &self,
        job: &ImportJob,
        condition: &str,
        held: Option<AttributeValue>,
    ) -> Result<bool, StoreError> {
        let item = job_item(job)?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression(condition)
            .set_expression_attribute_values(held.map(|held| HashMap::from([(":held".to_owned(), held)])))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            // The very same is there: the answer to an earlier attempt was lost.
            Err(error) => Ok(condition_failed(STORE, error)? == Some(item)),
        }
    }

    /// A page of outcomes, and the key of its last if there are more.
    async fn query_outcomes(
        &self,
        asked: &Asked<'_>,
        page_start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>), StoreError> {
        let mut query = self.client.query().table_name(&self.table).consistent_read(true);
        for (name, value) in asked.values {
            query = query.expression_attribute_values(*name, AttributeValue::S(value.clone()));
        }
        if !asked.fields.is_empty() {
            let names = asked.fields.iter().map(|name| (format!("#{name}"), (*name).to_owned()));
            let names: HashMap<_, _> = names.collect();
            let fields: Vec<_> = asked.fields.iter().map(|name| format!("#{name}")).collect();
            query = query.projection_expression(fields.join(", ")).set_expression_attribute_names(Some(names));
        }
        let answer = query
            .key_condition_expression(asked.condition)
            .set_limit(asked.limit)
            .set_exclusive_start_key(page_start)
            .send()
            .await
            .map_err(|error| store_error(STORE, &error))?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }
}
