use ledgerline_kernel::{ColumnKind, ColumnSpec, Decimal, DeltaChange, DeltaProjection, DeltaTable, SummarySpec};
use serde::{Deserialize, Serialize};

use super::{Event, Price, Product};

const CATEGORY: ColumnSpec = ColumnSpec { name: "category", kind: ColumnKind::Text };

const TOTALS: DeltaTable =
    DeltaTable { name: "product_category_total", key: &[CATEGORY], sums: &["products", "priced", "price_sum"] };

const PRICES: DeltaTable = DeltaTable {
    name: "product_category_price",
    key: &[CATEGORY, ColumnSpec { name: "price", kind: ColumnKind::Numeric }],
    sums: &["products"],
};

/// How many living products a category has, how many of them have a price, and what these come to;
/// and of each price how many have it, from which the least and the greatest follow.
///
/// Products without a category count as the category `""`.
pub(super) struct CategoryTotals;

/// What a living product adds at present. Prices are compared by value: 12.5 for 12.50 is no change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Contribution {
    category: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price: Option<Price>,
}

impl DeltaProjection<Product> for CategoryTotals {
    const NAME: &'static str = "product-category-totals";
    const TABLES: &'static [DeltaTable] = &[TOTALS, PRICES];
    const SUMMARY: Option<SummarySpec> = Some(SummarySpec {
        name: "by-category",
        table: &TOTALS,
        counts: &["products", "priced"],
        histogram: Some(&PRICES),
    });

    type Memory = Option<Contribution>;

    fn remember(memory: &mut Option<Contribution>, _: &[Event], product: &Product) {
        *memory = (!product.is_deleted).then(|| Contribution::of(product));
    }

    fn adds(memory: &Option<Contribution>) -> Vec<DeltaChange> {
        memory.iter().flat_map(Contribution::changes).collect()
    }
}

impl Contribution {
    fn of(product: &Product) -> Self {
        let category = product.attributes.category.as_ref().map_or("", |category| category.as_str());
        Self { category: category.to_owned(), price: product.attributes.price.clone() }
    }

    fn changes(&self) -> impl Iterator<Item = DeltaChange> {
        let (none, one) = (Decimal::from(0), Decimal::from(1));
        let (priced, sum) = match &self.price {
            Some(price) => (one.clone(), price.amount().clone()),
            None => (none.clone(), none),
        };
        let total = DeltaChange { table: 0, key: vec![self.category.clone()], add: vec![one.clone(), priced, sum] };
        let price = self.price.as_ref().map(|price| DeltaChange {
            table: 1,
            key: vec![self.category.clone(), price.to_string()],
            add: vec![one],
        });
        std::iter::once(total).chain(price)
    }
}
