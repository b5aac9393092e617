use ledgerline_kernel::SortKey;

use super::{Category, Description, Details, Price, ProductCode, ProductName, Specification};

/// What can have happened to a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was put into the catalogue.
    ProductCreated(Details),
    /// Anything but the price changed; holds all of it as it is now.
    DetailsChanged {
        /// The code now.
        code: ProductCode,
        /// The name now.
        name: ProductName,
        /// The category now.
        category: Option<Category>,
        /// The description now.
        description: Option<Description>,
        /// The specification now.
        specification: Option<Specification>,
    },
    /// The price was set, changed or removed.
    PriceChanged {
        /// The price before, if there was one.
        from: Option<Price>,
        /// The price now, if there is one.
        to: Option<Price>,
    },
    /// It was taken out of the catalogue.
    ProductDeleted,
    /// It was put back.
    ProductRestored,
    /// It was taken out of the catalogue in favour of another.
    ProductMerged {
        /// The product that stays.
        into: SortKey,
    },
}
