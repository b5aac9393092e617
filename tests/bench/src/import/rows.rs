//! The file.

use std::fmt::Write as _;

/// A catalogue as CSV, with a header and `rows` rows whose keys begin with `name`.
pub(super) fn csv(name: &str, rows: usize) -> Result<Vec<u8>, std::fmt::Error> {
    let mut text = "sk,code,name,category,price,description\n".to_owned();
    for row in 0..rows {
        writeln!(
            text,
            "{name}-{row},C-{name}-{row},\"Round brilliant, very good cut\",diamond,{}.{:02},\
             \"Carat 0.70, cut Very Good, color E, clarity SI1, depth 62.4, table 57\"",
            row % 9973,
            row % 100
        )?;
    }
    Ok(text.into_bytes())
}
