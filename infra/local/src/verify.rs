//! `ledgerline verify`: the ledger of a data directory, checked row by row.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use ledgerline_app::{Defect, Registry, VerifyReport};
use ledgerline_kernel::TenantCode;
use ledgerline_kernel::ports::ReadModelAudit;
use ledgerline_lambda::{Config, dynamodb_client, large_states};
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_stores::{DynamoAt, LocalDynamo, LocalS3};

use crate::banner::thousands;
use crate::data_dir::{DataDir, HostRecord, Use, read_record};
use crate::operate::ensure_ledger;
use crate::stores::{ledger_file, start_s3};
use crate::template::Template;
use crate::tenants::unknown;

/// Verifies the ledger of a data directory, through the host that runs on it or else by opening it.
///
/// # Errors
/// If there is no ledger, it cannot be read, or it has nothing of `tenant`. Defects are no error but in the
/// report.
pub async fn verify(
    data_dir: &Path,
    template: Option<&Path>,
    tenant: Option<&TenantCode>,
    host_url: Option<&str>,
) -> anyhow::Result<VerifyReport> {
    let template = Template::load(template)?;
    let table = template.tables.iter().find(|table| table.stream);
    let table = table.with_context(|| format!("{} has no table with a stream: no ledger", template.origin))?;
    let opened = Opened::find(data_dir, host_url, &template).await?;
    let (config, registry) = (opened.config(&template), Registry::shipped()?);
    let client = dynamodb_client(&config).await;
    let ledger = large_states(&config, &registry)?.over(DynamoLedger::new(client.clone(), &table.name));
    let data_table = template.referred_to_as("DATA_TABLE").map(|name| DynamoDataTable::new(client, name));
    let witness = data_table.as_ref().map(|table| table as &dyn ReadModelAudit);

    // Drawn on a terminal only: indicatif sees to that.
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("verifying {bar:40} {pos}/{len} entities, {eta} left")?);
    let progress = |checked: usize, of: usize| {
        bar.set_length(of.try_into().unwrap_or(u64::MAX));
        bar.set_position(checked.try_into().unwrap_or(u64::MAX));
    };
    let report = ledgerline_app::verify(&ledger, &registry, tenant, witness, progress).await;
    bar.finish_and_clear();
    opened.close().await;
    let report = report.with_context(|| format!("cannot read the ledger of {}", data_dir.display()))?;
    let is_nothing = report.entities + report.claims + report.defect_count == 0;
    match tenant.filter(|_| is_nothing) {
        Some(tenant) => Err(unknown(tenant, report.other_tenants).into()),
        None => Ok(report),
    }
}

/// For people: each defect, what to do about each kind, and the sum.
#[must_use]
pub fn text(report: &VerifyReport) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_defects(&mut text, report);
    let defects = match report.defect_count {
        0 => "no defect".to_owned(),
        count => counted(count, "defect"),
    };
    let (entities, versions) = (counted(report.entities, "entity"), counted(report.versions, "version"));
    text + &format!("verified {entities}, {versions} and {}: {defects}", counted(report.claims, "claim"))
}

fn write_defects(text: &mut String, report: &VerifyReport) -> std::fmt::Result {
    if report.defects.is_empty() {
        return Ok(());
    }
    for defect in &report.defects {
        writeln!(text, "{defect}")?;
    }
    let unlisted = report.defect_count - report.defects.len();
    if unlisted > 0 {
        writeln!(text, "and {}", counted(unlisted, "more defect"))?;
    }
    writeln!(text, "\nWhat to do:")?;
    let advice: BTreeMap<_, _> =
        report.defects.iter().map(|Defect { kind, .. }| (kind.code(), kind.advice())).collect();
    for (code, advice) in advice {
        writeln!(text, "  {code}: {advice}")?;
    }
    writeln!(text)
}

/// `1 entity`, `1,200 entities`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{} {stem}ies", thousands(number)),
        (_, None) => format!("{} {noun}s", thousands(number)),
    }
}

/// The DynamoDB with the ledger, and the S3 with its large states.
enum Opened {
    OfHost(HostRecord),
    Here(LocalDynamo, LocalS3, DataDir),
}

impl Opened {
    async fn find(data_dir: &Path, host_url: Option<&str>, template: &Template) -> anyhow::Result<Self> {
        ensure_ledger(data_dir)?;
        let record = read_record(data_dir);
        if let Some(url) = host_url {
            let url = url.trim_end_matches('/');
            return match record.filter(|record| record.url == url) {
                Some(record) => Ok(Self::OfHost(record)),
                None => bail!(
                    "LEDGERLINE_URL names {url}, but that host does not run on {}, and its API does not show the \
                     ledger's rows; name its --data-dir",
                    data_dir.display()
                ),
            };
        }
        match (DataDir::take(data_dir, Use::Command("verify")), record) {
            (Ok(dir), _) => {
                let dynamo = LocalDynamo::start(DynamoAt::File(ledger_file(data_dir))).await?;
                Ok(Self::Here(dynamo, start_s3(data_dir, template).await?.0, dir))
            }
            (Err(_), Some(record)) => Ok(Self::OfHost(record)),
            (Err(in_use), None) => Err(in_use),
        }
    }

    fn config(&self, template: &Template) -> Config {
        let (dynamodb, s3) = match self {
            Self::OfHost(record) => (record.dynamodb.as_str(), record.s3.as_str()),
            Self::Here(dynamo, s3, _) => (dynamo.endpoint(), s3.endpoint()),
        };
        settings(dynamodb, s3, template)
    }

    async fn close(self) {
        if let Self::Here(dynamo, s3, _dir) = self {
            dynamo.stop().await;
            s3.stop().await;
        }
    }
}

fn settings(dynamodb: &str, s3: &str, template: &Template) -> Config {
    let states = template.referred_to_as("STATE_BUCKET");
    let (dynamodb, s3) = (dynamodb.to_owned(), s3.to_owned());
    Config::new(move |name| match name {
        "AWS_ENDPOINT_URL_DYNAMODB" => Some(dynamodb.clone()),
        "AWS_ENDPOINT_URL_S3" => Some(s3.clone()),
        "STATE_BUCKET" => states.clone(),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
        _ => None,
    })
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
