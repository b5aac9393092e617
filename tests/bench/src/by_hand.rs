//! The other side: a handler written by hand for one kind of entity, on the SDK, `serde` and
//! `serde_dynamo`. It reads its request, and its items have the fields of ours; it checks and decides
//! nothing, replays nothing and hashes nothing.

use anyhow::Context;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};
use serde_json::{Value, json};

use crate::raw::{FREE, Item, TABLE, newest_item, put_next};

/// As long as a hash.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    pk: String,
    sk: String,
    kind: String,
    id: String,
    r#type: String,
    tenant_code: String,
    code: String,
    name: String,
    version: u64,
    is_deleted: bool,
    events: Vec<Event>,
    state: State,
    command_id: String,
    request_id: String,
    source: String,
    created_at: String,
    created_by: String,
    created_ip: String,
    updated_at: String,
    updated_by: String,
    updated_ip: String,
    prev_hash: String,
    hash: String,
}

#[derive(Serialize, Deserialize)]
struct Event {
    r#type: String,
    v: u32,
    data: Value,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    code: String,
    name: String,
    attributes: Value,
    #[serde(default)]
    is_deleted: bool,
}

#[derive(Deserialize)]
pub(crate) struct Create {
    pub(crate) sk: String,
    pub(crate) code: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) attributes: Value,
}

#[derive(Deserialize)]
struct ChangePrice {
    price: String,
}

/// The claim of a code.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClaimRow<'a> {
    pk: String,
    sk: &'static str,
    kind: &'static str,
    tenant_code: &'static str,
    r#type: &'a str,
    field: &'static str,
    value: &'a str,
    holder: &'a str,
    holder_id: &'a str,
}

/// A handler for one type of entity.
#[derive(Clone)]
pub(crate) struct ByHand {
    client: Client,
    entity_type: &'static str,
}

impl ByHand {
    pub(crate) fn new(client: &Client, entity_type: &'static str) -> Self {
        Self { client: client.clone(), entity_type }
    }

    /// Puts what a request says.
    pub(crate) async fn create(&self, body: &str) -> anyhow::Result<()> {
        self.put(serde_json::from_str(body)?).await
    }

    /// One put, on condition that there is no such item.
    pub(crate) async fn put(&self, request: Create) -> anyhow::Result<()> {
        let item = to_item(self.first(request))?;
        self.client.put_item().table_name(TABLE).set_item(Some(item)).condition_expression(FREE).send().await?;
        Ok(())
    }

    /// The same, and then its state into a data table. Gives what was put.
    pub(crate) async fn put_with_data(&self, request: Create, data_table: &str) -> anyhow::Result<Item> {
        let row = self.first(request);
        let version = to_item(&row)?;
        let item = Some(version.clone());
        self.client.put_item().table_name(TABLE).set_item(item).condition_expression(FREE).send().await?;
        let sk = row.sk.split('@').next().unwrap_or_default().to_owned();
        let state = to_item(Row { sk, events: Vec::new(), ..row })?;
        let put = self.client.put_item().table_name(data_table).set_item(Some(state));
        let put = put.condition_expression("attribute_not_exists(pk) OR version < :v");
        put.expression_attribute_values(":v", AttributeValue::N("1".to_owned())).send().await?;
        Ok(version)
    }

    /// A version and a claim in one transaction.
    pub(crate) async fn create_with_claim(&self, body: &str) -> anyhow::Result<()> {
        let request: Create = serde_json::from_str(body)?;
        let sk = request.sk.clone();
        let row = self.first(request);
        let claim = ClaimRow {
            pk: format!("UNIQUE#acme#{}#code#{}", self.entity_type, row.code),
            sk: "claim",
            kind: "claim",
            tenant_code: "acme",
            r#type: self.entity_type,
            field: "code",
            value: &row.code,
            holder: &sk,
            holder_id: &row.id,
        };
        let put = |item| -> anyhow::Result<TransactWriteItem> {
            let put = Put::builder().table_name(TABLE).set_item(Some(item)).condition_expression(FREE).build()?;
            Ok(TransactWriteItem::builder().put(put).build())
        };
        let (claim, version) = (put(to_item(&claim)?)?, put(to_item(&row)?)?);
        self.client.transact_write_items().transact_items(version).transact_items(claim).send().await?;
        Ok(())
    }

    /// Reads the newest version and puts the next, with another price.
    pub(crate) async fn change_price(&self, sk: &str, body: &str) -> anyhow::Result<()> {
        let request: ChangePrice = serde_json::from_str(body)?;
        let mut row: Row = from_item(newest_item(&self.client, &self.partition(), sk).await?)?;
        let price = row.state.attributes.get_mut("price").context("a product without a price")?;
        let from = std::mem::replace(price, json!(request.price));
        let data = json!({"from": from, "to": request.price});
        row.version += 1;
        row.sk = format!("{sk}@{:010}", row.version);
        row.events = vec![Event { r#type: "PriceChanged".to_owned(), v: 1, data }];
        row.command_id = ulid::Ulid::generate().to_string();
        row.updated_at = now();
        row.prev_hash = row.hash;
        row.hash = NO_HASH.to_owned();
        anyhow::ensure!(put_next(&self.client, to_item(row)?).await?, "somebody else wrote");
        Ok(())
    }

    fn partition(&self) -> String {
        format!("{}#acme", self.entity_type)
    }

    fn first(&self, Create { sk, code, name, attributes }: Create) -> Row {
        let (pk, now) = (self.partition(), now());
        let data = json!({"code": code, "name": name, "attributes": attributes});
        Row {
            id: format!("{pk}#{sk}"),
            pk,
            sk: format!("{sk}@0000000001"),
            kind: "version".to_owned(),
            r#type: self.entity_type.to_owned(),
            tenant_code: "acme".to_owned(),
            code: code.clone(),
            name: name.clone(),
            version: 1,
            is_deleted: false,
            events: vec![Event { r#type: "Created".to_owned(), v: 1, data }],
            state: State { code, name, attributes, is_deleted: false },
            command_id: ulid::Ulid::generate().to_string(),
            request_id: "0198a1b2-c3d4-4e5f-8a6b-7c8d9e0f1a2b".to_owned(),
            source: "bench".to_owned(),
            created_at: now.clone(),
            created_by: "ann".to_owned(),
            created_ip: "192.0.2.1".to_owned(),
            updated_at: now,
            updated_by: "ann".to_owned(),
            updated_ip: "192.0.2.1".to_owned(),
            prev_hash: NO_HASH.to_owned(),
            hash: NO_HASH.to_owned(),
        }
    }
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}
