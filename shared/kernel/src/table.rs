/// How one domain's current state lies in a relational table: the envelope columns that every
/// table has, and the domain's own.
///
/// A column of the domain is named as its attribute: column `price` holds `attributes.price`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSpec {
    /// The table's name in the read store, such as `product`.
    pub name: &'static str,
    /// The domain's own columns.
    pub columns: &'static [ColumnSpec],
    /// Which of them lists may be sorted by and take ranges of, besides the envelope's. Each has an
    /// index.
    pub indexed: &'static [&'static str],
    /// The fields whose words `q` finds: `code`, `name`, text columns. Where there are any, the
    /// table has a column `search` made of them.
    pub searched: &'static [&'static str],
}

/// One attribute as a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnSpec {
    /// The attribute's name in JSON and the column's name in the table (lower case).
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
}

/// What a column holds, and so how it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text, compared by Unicode code points.
    Text,
    /// An exact decimal, a JSON string such as `"12.50"` in the state.
    Numeric,
    /// Any JSON value; neither filtered nor sorted by.
    Json,
}

impl TableSpec {
    /// The column of that name, if the domain has one.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&'static ColumnSpec> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column of that name, if lists may be sorted by it.
    #[must_use]
    pub fn indexed(&self, name: &str) -> Option<&'static ColumnSpec> {
        self.column(name).filter(|column| self.indexed.contains(&column.name))
    }
}
