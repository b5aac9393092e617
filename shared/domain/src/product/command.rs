use ledgerline_kernel::SortKey;
use ledgerline_kernel::input::Patch;

use super::{Attributes, Category, Description, Measure, Price, ProductCode, ProductName};

/// What can be asked of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Put it into the catalogue.
    Create(Details),
    /// Replace everything that a caller may set; what is left out goes.
    Replace(Details),
    /// Change some of it (JSON Merge Patch).
    Update {
        /// The new code, if any.
        code: Option<ProductCode>,
        /// The new name, if any.
        name: Option<ProductName>,
        /// What changes among the attributes.
        attributes: AttributesPatch,
    },
    /// Set its price.
    ChangePrice(Price),
    /// Take it out of the catalogue.
    Delete,
    /// Put it back.
    Restore,
    /// Take it out of the catalogue in favour of another product, which gets what it lacks from it.
    MergeInto(SortKey),
}

/// All that a caller may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// The code by which people know it.
    pub code: ProductCode,
    /// Its name.
    pub name: ProductName,
    /// What else is known of it.
    pub attributes: Attributes,
}

/// A merge patch of the attributes: each kept, removed or set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttributesPatch {
    /// See [`Attributes::category`].
    pub category: Patch<Category>,
    /// See [`Attributes::price`].
    pub price: Patch<Price>,
    /// See [`Attributes::description`].
    pub description: Patch<Description>,
    /// See [`Attributes::specification`]; patched field by field.
    pub specification: Patch<SpecificationPatch>,
}

/// A merge patch of the specification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecificationPatch {
    /// See [`Specification::weight`](super::Specification::weight).
    pub weight: Patch<Measure>,
    /// See [`Specification::dimensions`](super::Specification::dimensions).
    pub dimensions: Patch<Measure>,
}
