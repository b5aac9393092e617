//! The lists that are measured, as they are asked of either side.

use ledgerline_app::ListRequest;
use ledgerline_kernel::ports::Position;

use super::by_hand::Handwritten;

/// A kind of list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    FirstById,
    FirstByName,
    DeepByPrice,
    PricesByPrice,
    PricesById,
    CommonWord,
    RareWord,
}

impl Shape {
    pub(super) const ALL: [Self; 7] = [
        Self::FirstById,
        Self::FirstByName,
        Self::DeepByPrice,
        Self::PricesByPrice,
        Self::PricesById,
        Self::CommonWord,
        Self::RareWord,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FirstById => "by id",
            Self::FirstByName => "by name",
            Self::DeepByPrice => "deep, by price",
            Self::PricesByPrice => "prices, by price",
            Self::PricesById => "prices, by id",
            Self::CommonWord => "a common word",
            Self::RareWord => "a rare word",
        }
    }

    pub(super) fn is_a_word(self) -> bool {
        matches!(self, Self::CommonWord | Self::RareWord)
    }

    /// Whether the statement by hand looks at hardly more rows than it shows.
    pub(super) fn is_light_by_hand(self) -> bool {
        matches!(self, Self::FirstById | Self::FirstByName | Self::DeepByPrice | Self::PricesByPrice)
    }

    /// Whether it fills a page in a table of any size.
    pub(super) fn is_always_a_page(self) -> bool {
        self != Self::RareWord
    }

    /// The same list for both sides, of a table of so many rows.
    pub(super) fn ask(self, rows: u32, limit: usize, random: &mut fastrand::Rng) -> (ListRequest, Handwritten) {
        let all = ListRequest { limit, ..ListRequest::default() };
        let (price, number) = (random.u32(100..8_000), random.u32(1..rows));
        let prices = [format!("{price}.5"), format!("{}.5", price + 1_000)];
        let [from, to] = prices.clone();
        let within = vec![("price.gte".to_owned(), from.clone()), ("price.lt".to_owned(), to)];
        let search = |word: &str| (Some(word.to_owned()), vec![format!("'acme@{word}':*")]);
        let (request, conditions, values) = match self {
            Self::FirstById => (all, "WHERE NOT is_deleted ORDER BY id", vec![]),
            Self::FirstByName => {
                (ListRequest { sort: "name".to_owned(), ..all }, "WHERE NOT is_deleted ORDER BY name, id", vec![])
            }
            Self::DeepByPrice => {
                let id = format!("PRODUCT#acme#{number:07}");
                let after = Position { values: vec![Some(from.clone())], id: id.clone() };
                (
                    ListRequest { sort: "price".to_owned(), after: Some(after), ..all },
                    "WHERE NOT is_deleted AND (price, id) > ($1::text::numeric, $2) ORDER BY price, id",
                    vec![from, id],
                )
            }
            Self::PricesByPrice => (
                ListRequest { sort: "price".to_owned(), filters: within, ..all },
                "WHERE NOT is_deleted AND price >= $1::text::numeric AND price < $2::text::numeric ORDER BY price, id",
                prices.to_vec(),
            ),
            Self::PricesById => (
                ListRequest { filters: within, ..all },
                "WHERE NOT is_deleted AND price >= $1::text::numeric AND price < $2::text::numeric ORDER BY id",
                prices.to_vec(),
            ),
            Self::CommonWord | Self::RareWord => {
                let (q, words) = search(if self == Self::CommonWord { "gold" } else { "unicorn" });
                (ListRequest { q, ..all }, "WHERE NOT is_deleted AND search @@ $1::text::tsquery ORDER BY id", words)
            }
        };
        (request, Handwritten { conditions, values, limit })
    }
}
