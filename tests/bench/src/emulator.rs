//! The emulator as a process of its own, so that its CPU time is not taken for the client's.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use aws_sdk_dynamodb::Client;
use ledgerline_lambda::Config;
use ledgerline_stores::{DynamoAt, LocalDynamo};
use tokio::io::AsyncReadExt as _;

const MEMORY: &str = "/dev/shm";

/// A running emulator, ended when dropped.
pub(crate) struct Emulator {
    child: Child,
    endpoint: String,
}

impl Emulator {
    /// Starts this program once more, with these tables.
    pub(crate) fn start(tables: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // In memory where there is such a place: a disk's moods are not to be measured.
        if Path::new(MEMORY).is_dir() {
            command.env("TMPDIR", MEMORY);
        }
        let mut child = command.arg("emulator").args(tables).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut endpoint = String::new();
        BufReader::new(child.stdout.take().context("the emulator has no output")?).read_line(&mut endpoint)?;
        Ok(Self { child, endpoint: endpoint.trim_end().to_owned() })
    }

    /// Its address.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client of it, as the functions make theirs.
    pub(crate) async fn client(&self) -> Client {
        let endpoint = self.endpoint.clone();
        let config = Config::new(move |name| {
            let value = match name {
                "AWS_ENDPOINT_URL_DYNAMODB" => &endpoint,
                "AWS_REGION" => "us-east-1",
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "local",
                _ => return None,
            };
            Some(value.to_owned())
        });
        ledgerline_lambda::dynamodb_client(&config).await
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It ends by itself then, and takes its files with it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The emulator's side.
pub(crate) async fn serve(tables: &[String]) -> anyhow::Result<()> {
    let dynamo = LocalDynamo::start(DynamoAt::Memory).await?;
    for table in tables {
        // Without a stream: its upkeep would slow both sides down alike, and so hide differences.
        dynamo.create_table(table, false)?;
    }
    println!("{}", dynamo.endpoint());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    dynamo.stop().await;
    Ok(())
}
