//! Numbers and dates as people write them.

use chrono::DateTime;
use chrono::format::{Item, Parsed, StrftimeItems};
use ledgerline_kernel::input::{Problem, Rejection};
use ledgerline_kernel::{Decimal, DecimalError};

use super::source::ColumnSource;

/// What a cell's text is turned into.
#[derive(Debug, Clone)]
pub(super) enum Conversion {
    Text,
    Number { decimal: char, thousands: Option<char> },
    Date(String),
}

impl Conversion {
    pub(super) fn of(source: &ColumnSource) -> Result<Self, Rejection> {
        let invalid = |message: &str| Err(Rejection::new("INVALID_FORMAT", message));
        let (decimal, thousands) = (source.decimal.unwrap_or('.'), source.thousands);
        match &source.date {
            Some(_) if source.decimal.is_some() || thousands.is_some() => {
                invalid("must be a number or a date, not both")
            }
            Some(format) if format.is_empty() || StrftimeItems::new(format).any(|item| item == Item::Error) => {
                invalid("must have a date format such as %d.%m.%Y")
            }
            Some(format) => Ok(Self::Date(format.clone())),
            None if source.decimal.is_none() && thousands.is_none() => Ok(Self::Text),
            None if thousands == Some(decimal) => invalid("must have different characters for decimal and thousands"),
            None if [Some(decimal), thousands].into_iter().flatten().any(belongs_to_numbers) => {
                invalid("must not have a digit or a sign for decimal or thousands")
            }
            None => Ok(Self::Number { decimal, thousands }),
        }
    }

    pub(super) fn apply(&self, text: &str) -> Result<String, Rejection> {
        match self {
            Self::Text => Ok(text.to_owned()),
            Self::Number { decimal, thousands } => number(text, *decimal, *thousands),
            Self::Date(format) => date(text, format),
        }
    }
}

fn belongs_to_numbers(character: char) -> bool {
    character.is_ascii_digit() || matches!(character, '-' | '+')
}

/// An exact decimal of a number as people write it: `1.234,50`, `+7`, `,5`, `007`.
fn number(text: &str, decimal: char, thousands: Option<char>) -> Result<String, Rejection> {
    let not_a_number = || {
        let example = format!("1{}234{decimal}50", thousands.map_or_else(String::new, String::from));
        Rejection::new("INVALID_NUMBER", format!("must be a number such as {example}"))
    };
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = match unsigned.split_once(decimal) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.is_some_and(|fraction| !all_digits(fraction)) {
        return Err(not_a_number());
    }
    let digits = ungrouped(whole, thousands).ok_or_else(not_a_number)?;
    // A fraction may stand alone: ,5
    let is_fraction_alone = digits.is_empty() && fraction.is_some();
    if !is_fraction_alone && !all_digits(&digits) {
        return Err(not_a_number());
    }
    let digits = digits.trim_start_matches('0');
    let point = if fraction.is_some() { "." } else { "" };
    let exact =
        format!("{sign}{}{point}{}", if digits.is_empty() { "0" } else { digits }, fraction.unwrap_or_default());
    match exact.parse::<Decimal>() {
        Ok(number) => Ok(number.to_string()),
        Err(error @ DecimalError::TooManyDigits) => Err(Rejection::new("TOO_MANY_DIGITS", error.to_string())),
        Err(DecimalError::NotANumber) => Err(not_a_number()),
    }
}

/// A whole number without what separates its groups. These must have three digits: `12.50` with `.`
/// between groups is somebody's twelve and a half, not 1250.
fn ungrouped(whole: &str, thousands: Option<char>) -> Option<String> {
    let is_separator = |character: char| match thousands {
        Some(' ') => matches!(character, ' ' | '\u{a0}' | '\u{202f}'),
        other => other == Some(character),
    };
    let groups: Vec<_> = whole.split(is_separator).collect();
    let (first, rest) = groups.split_first()?;
    let is_grouped = rest.is_empty() || ((1..=3).contains(&first.len()) && rest.iter().all(|group| group.len() == 3));
    is_grouped.then(|| groups.concat())
}

fn date(text: &str, format: &str) -> Result<String, Rejection> {
    let mut parsed = Parsed::new();
    let read = chrono::format::parse(&mut parsed, text, StrftimeItems::new(format));
    let written = read.ok().and_then(|()| written_date(&parsed));
    written.ok_or_else(|| Rejection::new("INVALID_DATE", format!("must be a date such as {format} describes")))
}

fn written_date(parsed: &Parsed) -> Option<String> {
    if parsed.offset().is_some() {
        return parsed.to_datetime().ok().map(|moment| rfc3339(&moment));
    }
    let has_time = parsed.hour_div_12().is_some() || parsed.timestamp().is_some();
    if has_time {
        return parsed.to_naive_datetime_with_offset(0).ok().map(|moment| rfc3339(&moment.and_utc()));
    }
    parsed.to_naive_date().ok().map(|date| date.to_string())
}

fn rfc3339<Z: chrono::TimeZone>(moment: &DateTime<Z>) -> String {
    moment.to_utc().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// A rejection of a column's cell.
pub(super) fn problem(column: &str, rejection: Rejection) -> Problem {
    Problem { path: column.to_owned(), code: rejection.code, message: rejection.message }
}
