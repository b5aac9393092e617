use std::fmt;

use ledgerline_kernel::Decimal;
use ledgerline_kernel::input::{FromJson, Rejection};
use serde::{Deserialize, Serialize};

/// A text value: checked where it comes in, trusted where it is stored (a rule that is tightened
/// later must not make old entities unreadable).
macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, $length:expr, $kind:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromJson for $name {
            fn from_json(raw: &str) -> Result<Self, Rejection> {
                checked(String::from_json(raw)?, $length, Kind::$kind).map(Self)
            }
        }
    };
}

text_value!(
    /// The code by which the tenant's people know the product: one line of 1 to 64 characters.
    ProductCode, 64, Line
);
text_value!(
    /// The product's name: one line of 1 to 200 characters.
    ProductName, 200, Line
);
text_value!(
    /// What kind of product it is: one line of 1 to 100 characters.
    Category, 100, Line
);
text_value!(
    /// A weight or a dimension as people write it (`0.23 ct`): one line of 1 to 100 characters.
    Measure, 100, Line
);
text_value!(
    /// Any text of up to 4,000 characters.
    Description, 4000, Text
);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Not blank, no control characters.
    Line,
    /// Anything.
    Text,
}

fn checked(text: String, longest: usize, kind: Kind) -> Result<String, Rejection> {
    if kind == Kind::Line && text.trim().is_empty() {
        return Err(Rejection::new("BLANK", "must not be blank"));
    }
    if kind == Kind::Line && text.contains(char::is_control) {
        return Err(Rejection::new("CONTROL_CHARACTER", "must be one line, without control characters"));
    }
    if text.chars().count() > longest {
        return Err(Rejection::new("TOO_LONG", format!("must have at most {longest} characters")));
    }
    Ok(text)
}

/// An amount of money of zero or more, exact to 38 digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Price(Decimal);

impl Price {
    /// The amount.
    #[must_use]
    pub fn amount(&self) -> &Decimal {
        &self.0
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromJson for Price {
    fn from_json(raw: &str) -> Result<Self, Rejection> {
        let amount = Decimal::from_json(raw)?;
        if amount.is_negative() {
            return Err(Rejection::new("OUT_OF_RANGE", "must not be negative"));
        }
        Ok(Self(amount))
    }
}
