//! The SDK's calls and nothing else: items as ours write them, copied.

use std::collections::HashMap;

use anyhow::Context;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};

use crate::ours;

/// The name of this side's table.
pub(crate) const TABLE: &str = "theirs";

pub(crate) const FREE: &str = "attribute_not_exists(pk)";

pub(crate) type Item = HashMap<String, AttributeValue>;

/// A writer that knows one kind of entity.
#[derive(Clone)]
pub(crate) struct Raw {
    client: Client,
    partition: String,
    first: Item,
    later: Item,
    claim: Option<Item>,
}

impl Raw {
    /// Takes its items' shape from the versions 1 and 2 of our `partition#template`.
    pub(crate) async fn like_ours(client: &Client, partition: &str) -> anyhow::Result<Self> {
        let items = client.scan().table_name(ours::TABLE).send().await?.items.unwrap_or_default();
        let find = |pk: &str, sk: &str| {
            let is = |item: &&Item, name: &str, value: &str| item.get(name).is_some_and(|v| text(v).contains(value));
            items.iter().find(|item| is(item, "pk", pk) && is(item, "sk", sk)).cloned()
        };
        Ok(Self {
            client: client.clone(),
            partition: partition.to_owned(),
            first: find(partition, "template@0000000001").context("our first version is missing")?,
            later: find(partition, "template@0000000002").context("our second version is missing")?,
            claim: find("UNIQUE#", "claim"),
        })
    }

    /// One put, on condition that there is no such item.
    pub(crate) async fn create(&self, sk: &str) -> anyhow::Result<()> {
        let item = self.item(&self.first, sk, 1);
        self.client.put_item().table_name(TABLE).set_item(Some(item)).condition_expression(FREE).send().await?;
        Ok(())
    }

    /// A version and a claim in one transaction.
    pub(crate) async fn create_with_claim(&self, sk: &str) -> anyhow::Result<()> {
        let mut claim = self.claim.clone().context("our claim is missing")?;
        claim.insert("pk".to_owned(), AttributeValue::S(format!("UNIQUE#acme#PRODUCT#code#C-{sk}")));
        let put = |item| -> anyhow::Result<TransactWriteItem> {
            let put = Put::builder().table_name(TABLE).set_item(Some(item)).condition_expression(FREE).build()?;
            Ok(TransactWriteItem::builder().put(put).build())
        };
        let version = put(self.item(&self.first, sk, 1))?;
        self.client.transact_write_items().transact_items(version).transact_items(put(claim)?).send().await?;
        Ok(())
    }

    /// Reads the newest version and puts the next. Answers whether nobody else did.
    pub(crate) async fn update(&self, sk: &str) -> anyhow::Result<bool> {
        let version = self.newest(sk).await?;
        put_next(&self.client, self.item(&self.later, sk, version + 1)).await
    }

    /// The newest version's number.
    pub(crate) async fn newest(&self, sk: &str) -> anyhow::Result<u64> {
        match newest_item(&self.client, &self.partition, sk).await?.get("version") {
            Some(AttributeValue::N(version)) => Ok(version.parse()?),
            _ => anyhow::bail!("an item without a version"),
        }
    }

    fn item(&self, shape: &Item, sk: &str, version: u64) -> Item {
        let mut item = shape.clone();
        item.insert("sk".to_owned(), AttributeValue::S(format!("{sk}@{version:010}")));
        item.insert("id".to_owned(), AttributeValue::S(format!("{}#{sk}", self.partition)));
        item.insert("code".to_owned(), AttributeValue::S(format!("C-{sk}")));
        item.insert("version".to_owned(), AttributeValue::N(version.to_string()));
        item
    }
}

/// An entity's newest version.
pub(crate) async fn newest_item(client: &Client, partition: &str, sk: &str) -> anyhow::Result<Item> {
    let answer = client
        .query()
        .table_name(TABLE)
        .consistent_read(true)
        .scan_index_forward(false)
        .limit(1)
        .key_condition_expression("pk = :pk AND begins_with(sk, :versions)")
        .expression_attribute_values(":pk", AttributeValue::S(partition.to_owned()))
        .expression_attribute_values(":versions", AttributeValue::S(format!("{sk}@")))
        .send()
        .await?;
    answer.items.unwrap_or_default().pop().context("there is no such entity")
}

/// Puts a version that must not be there. Answers whether it was not.
pub(crate) async fn put_next(client: &Client, item: Item) -> anyhow::Result<bool> {
    let put = client.put_item().table_name(TABLE).set_item(Some(item)).condition_expression(FREE);
    match put.send().await.map_err(aws_sdk_dynamodb::error::SdkError::into_service_error) {
        Ok(_) => Ok(true),
        Err(error) if error.is_conditional_check_failed_exception() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn text(value: &AttributeValue) -> &str {
    value.as_s().map_or("", String::as_str)
}
