//! The demo catalogue: real diamonds as products, created through the same gateway, functions and
//! ledger as anybody's.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use futures::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::gateway::Gateway;

/// 1,200 rows spread evenly over ggplot2's `diamonds`; see the README beside the file.
const DIAMONDS: &str = include_str!("../seed/diamonds.csv");

/// Requests under way at once.
const CONCURRENCY: usize = 8;

/// One diamond, as the data set has it.
#[derive(Debug, Deserialize)]
struct Diamond {
    #[serde(rename = "")]
    row: u32,
    carat: String,
    cut: String,
    color: String,
    clarity: String,
    price: String,
    x: String,
    y: String,
    z: String,
}

/// What seeding did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seeded {
    /// Products that are new.
    pub created: usize,
    /// Products that were there before.
    pub existing: usize,
    /// How long the commands took.
    pub took: Duration,
}

/// The bodies of the create requests.
///
/// # Errors
/// If the file is not what it should be.
pub fn products() -> anyhow::Result<Vec<Value>> {
    let mut reader = csv::Reader::from_reader(DIAMONDS.as_bytes());
    reader.deserialize().map(|row| Ok(product(&row.context("seed/diamonds.csv")?))).collect()
}

fn product(diamond: &Diamond) -> Value {
    let Diamond { carat, cut, color, clarity, price, x, y, z, .. } = diamond;
    let code = format!("D-{:05}", diamond.row);
    json!({
        "sk": code,
        "code": code,
        "name": format!("{cut} {carat} ct {color} {clarity}"),
        "attributes": {
            "category": cut,
            "price": price,
            "description": format!("Round cut diamond, color {color}, clarity {clarity}"),
            "specification": {
                "weight": format!("{carat} ct"),
                "dimensions": format!("{x} x {y} x {z} mm"),
            },
        },
    })
}

/// Creates the catalogue. Products that exist are left as they are, so that it can be run again.
///
/// # Errors
/// At the first product that is refused for another reason.
pub async fn seed(gateway: &Gateway, token: &str) -> anyhow::Result<Seeded> {
    let products = products()?;
    let begun = Instant::now();
    // Drawn on a terminal only: indicatif sees to that.
    let bar = ProgressBar::new(products.len().try_into()?)
        .with_style(ProgressStyle::with_template("seeding {bar:40} {pos}/{len} products, {eta} left")?);
    let answers = stream::iter(products).map(|product| create(gateway, token, product));
    let mut answers = answers.buffer_unordered(CONCURRENCY);
    let mut seeded = Seeded::default();
    while let Some(answer) = answers.next().await {
        match answer? {
            (201, _) => seeded.created += 1,
            (409, _) => seeded.existing += 1,
            (status, body) => bail!("a product of the catalogue was refused: {status} {body}"),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    seeded.took = begun.elapsed();
    Ok(seeded)
}

async fn create(gateway: &Gateway, token: &str, product: Value) -> anyhow::Result<(u16, String)> {
    let request = Request::post("/api/v1/products")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(product.to_string()))?;
    let response = gateway.answer(request).await;
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_catalogue_has_1200_products_with_keys_of_their_own() {
        let products = products().unwrap();
        let keys: HashSet<_> = products.iter().map(|product| product["sk"].to_string()).collect();
        assert_eq!((products.len(), keys.len()), (1200, 1200));
    }

    #[test]
    fn a_diamond_becomes_a_product() {
        let expected = json!({
            "sk": "D-00001",
            "code": "D-00001",
            "name": "Ideal 0.23 ct E SI2",
            "attributes": {
                "category": "Ideal",
                "price": "326",
                "description": "Round cut diamond, color E, clarity SI2",
                "specification": { "weight": "0.23 ct", "dimensions": "3.95 x 3.98 x 2.43 mm" }
            }
        });
        assert_eq!(products().unwrap()[0], expected);
    }
}
