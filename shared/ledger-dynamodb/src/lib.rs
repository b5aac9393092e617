//! The ledger and the data table on DynamoDB.
//!
//! - [`DynamoLedger`] implements the ledger's ports with one request each: loading an entity is one
//!   strongly consistent `Query`, adding a version to it one conditional `PutItem`, and anything more
//!   one `TransactWriteItems`.
//! - [`DynamoDataTable`] keeps the newest state of each entity, guarded by its version.
//! - [`version_item`] reads what the ledger's stream delivers.

mod audit;
mod cancellation;
mod commit;
mod data_audit;
mod data_table;
mod errors;
mod image;
mod import_records;
mod imports;
mod index;
mod item_size;
mod ledger;
mod lookup;
mod read_item;
mod records;
mod segments;

pub use data_table::DynamoDataTable;
pub use image::{ImageError, version_item};
pub use ledger::DynamoLedger;

#[cfg(test)]
mod tests;
