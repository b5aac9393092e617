use serde::{Deserialize, Serialize};

use super::{Category, Description, Measure, Price, ProductCode, ProductName};

/// A product as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    /// The code by which people know it.
    pub code: ProductCode,
    /// Its name.
    pub name: ProductName,
    /// Whether it is deleted; it can be restored.
    pub is_deleted: bool,
    /// What else is known of it.
    pub attributes: Attributes,
}

/// What may be known of a product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attributes {
    /// What kind of product it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// What it costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// What it is like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    /// How heavy and how large it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specification: Option<Specification>,
}

/// How heavy and how large a product is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Specification {
    /// Its weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Measure>,
    /// Its dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<Measure>,
}
