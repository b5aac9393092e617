use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::Sign;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a [`Decimal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not a decimal number.
    #[error("must be a decimal number")]
    NotANumber,
    /// More than 38 digits when written out.
    #[error("must have at most 38 digits")]
    TooManyDigits,
}

/// An exact decimal number of at most 38 digits when written out, before and after the point
/// together (what DynamoDB and a Postgres `numeric` both hold exactly). Never a float.
///
/// The spelling is kept (`12.50` stays `12.50`), the comparison is by value (`12.50 == 12.5`).
/// An exponent is written out and a negative zero loses its sign.
#[derive(Debug, Clone, Eq)]
pub struct Decimal(BigDecimal);

impl Decimal {
    const MAX_DIGITS: u64 = 38;

    /// Whether the number is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.0.sign() == Sign::Minus
    }

    /// The exact sum, of however many digits that takes.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self(&self.0 + &other.0)
    }

    /// The same number with the other sign; zero stays zero.
    #[must_use]
    pub fn negated(&self) -> Self {
        Self(-&self.0)
    }
}

impl From<u32> for Decimal {
    fn from(number: u32) -> Self {
        Self(BigDecimal::from(number))
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    /// Reads the grammar of a JSON number, nothing more: no `+`, no blanks, no `1_000`, no `NaN`.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let (mantissa, exponent) = split_json_number(text).ok_or(DecimalError::NotANumber)?;
        // Bounded before the big-number library sees it: 1e999999999 must not be written out, and
        // a megabyte of digits must not be multiplied.
        let written = mantissa.bytes().filter(u8::is_ascii_digit).count();
        if written > 2 * Self::MAX_DIGITS as usize || !(-100..=100).contains(&exponent) {
            return Err(DecimalError::TooManyDigits);
        }
        let number = BigDecimal::from_str(text).map_err(|_| DecimalError::NotANumber)?;
        let number = if number.fractional_digit_count() < 0 { number.with_scale(0) } else { number };
        let fraction = u64::try_from(number.fractional_digit_count()).unwrap_or(0);
        if number.digits().max(fraction) > Self::MAX_DIGITS {
            return Err(DecimalError::TooManyDigits);
        }
        Ok(Self(number))
    }
}

/// Splits a JSON number (RFC 8259 §6) into its mantissa and its exponent.
fn split_json_number(text: &str) -> Option<(&str, i64)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (text, 0),
    };
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let whole_fits = digits(whole) && (whole == "0" || !whole.starts_with('0'));
    (whole_fits && fraction.is_none_or(digits)).then_some((mantissa, exponent))
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Saturating is enough: anything beyond ±100 is refused.
    let magnitude = digits.parse::<i64>().unwrap_or(i64::MAX);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_plain_string())
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl Serialize for Decimal {
    /// Always a string: a JSON number would pass through somebody's float.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<String, DecimalError> {
        text.parse::<Decimal>().map(|d| d.to_string())
    }

    #[test]
    fn a_number_keeps_its_spelling() {
        for text in ["0", "12.50", "-3.00", "0.001", "99999999999999999999999999999999999999"] {
            assert_eq!(written(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn an_exponent_is_written_out() {
        assert_eq!(written("1e5").as_deref(), Ok("100000"));
        assert_eq!(written("1.5E-3").as_deref(), Ok("0.0015"));
        assert_eq!(written("1e37").map(|text| text.len()), Ok(38));
    }

    #[test]
    fn a_negative_zero_loses_its_sign() {
        assert_eq!(written("-0").as_deref(), Ok("0"));
        assert!(!"-0.00".parse::<Decimal>().unwrap().is_negative());
    }

    #[test]
    fn more_than_38_digits_are_refused_however_they_are_written() {
        let long = "1".repeat(1_000_000);
        let fraction = format!("0.{}1", "0".repeat(38));
        for text in ["100000000000000000000000000000000000000", "1e38", "1e999999999999", "1e-39", &fraction, &long] {
            assert_eq!(written(text), Err(DecimalError::TooManyDigits), "{}", &text[..text.len().min(50)]);
        }
    }

    #[test]
    fn what_is_not_a_json_number_is_refused() {
        for text in ["", "-", "+1", "01", "1.", ".5", " 1", "1_000", "NaN", "inf", "1e", "1e+", "0x10", "١"] {
            assert_eq!(written(text), Err(DecimalError::NotANumber), "{text:?}");
        }
    }

    #[test]
    fn comparison_is_by_value() {
        let parse = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!(parse("12.50"), parse("12.5"));
        assert!(parse("9.9") < parse("10"));
    }

    #[test]
    fn a_sum_is_exact_however_long_it_gets() {
        let sum = |a: &str, b: &str| a.parse::<Decimal>().unwrap().plus(&b.parse().unwrap()).to_string();
        assert_eq!(sum("12.50", "-12.5"), "0.00");
        let long = sum("99999999999999999999999999999999999999", "0.00000000000000000000000000000000000001");
        assert_eq!(long, "99999999999999999999999999999999999999.00000000000000000000000000000000000001");
    }

    #[test]
    fn a_number_and_its_negation_differ_in_the_sign_alone() {
        let negated = |text: &str| text.parse::<Decimal>().unwrap().negated().to_string();
        assert_eq!([negated("12.50"), negated("-3"), negated("0.00")], ["-12.50", "3", "0.00"]);
    }
}
