//! Imports that were under way when a host stopped. Its queues are in memory, so the rows that were in them are sent
//! again: only those that have no outcome.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use ledgerline_app::{ImportError, Imports, Registry, import_of};
use ledgerline_blobs_s3::S3Objects;
use ledgerline_kernel::ports::ImportJobs as _;
use ledgerline_kernel::{ImportJob, ImportKey, ImportState, SplitProgress};
use ledgerline_lambda::{Config, SystemEnvironment, dynamodb_client, patient_s3_client};
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_stores::LocalS3;

/// Where the name of the bucket with imports' files is.
const BUCKET: &str = "IMPORT_BUCKET";

/// Has each of them go on. Gives how many.
///
/// # Errors
/// If a store fails.
pub(crate) async fn go_on(config: &Config, s3: &LocalS3) -> anyhow::Result<usize> {
    let Some(bucket) = config.optional(BUCKET) else { return Ok(0) };
    let imports = with_a_file(&s3.file(&bucket, "imports"))?;
    if imports.is_empty() {
        return Ok(0);
    }
    let jobs = Arc::new(DynamoLedger::new(dynamodb_client(config).await, config.required("LEDGER_TABLE")?));
    let objects = Arc::new(S3Objects::new(patient_s3_client(config).await, bucket));
    let service = Imports::new(Registry::shipped()?, Arc::clone(&jobs), objects, Arc::new(SystemEnvironment));
    let mut count = 0;
    for import in imports {
        let job = jobs.get(&import).await.with_context(|| format!("cannot read {import}"))?;
        match job {
            Some(job) if job.state == ImportState::Running => {}
            // What was sent of it is gone with the queue, so it is read from its beginning.
            Some(job) if job.state == ImportState::Splitting => {
                let again = ImportJob { split: SplitProgress::default(), revision: job.revision + 1, ..job };
                jobs.replace(&again).await.with_context(|| format!("cannot begin {import} again"))?;
            }
            _ => continue,
        }
        match service.resume(&import).await {
            Ok(_) => count += 1,
            // Somebody was faster, or took the file away.
            Err(ImportError::Ended(_) | ImportError::NoSource | ImportError::NotFound(_)) => {}
            Err(error) => return Err(error).with_context(|| format!("{import} does not go on")),
        }
    }
    Ok(count)
}

/// The imports whose files are below this folder, `{tenant}/{import}/source`.
fn with_a_file(folder: &Path) -> anyhow::Result<Vec<ImportKey>> {
    let mut imports = Vec::new();
    for tenant in names(folder)? {
        for import in names(&folder.join(&tenant))? {
            imports.extend(import_of(&format!("imports/{tenant}/{import}/source")));
        }
    }
    Ok(imports)
}

/// What is in a folder; nothing if it is not there.
fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use ledgerline_app::{Caller, ImportRequest, source_key};
    use ledgerline_kernel::ports::SourceObjects as _;
    use ledgerline_stores::{CreatedObject, DynamoAt, LocalDynamo, ObjectListener};

    use super::*;

    /// The keys of the objects that were created.
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    #[async_trait]
    impl ObjectListener for Told {
        async fn created(&self, object: &CreatedObject) -> anyhow::Result<()> {
            self.0.lock().unwrap().push(object.key.clone());
            Ok(())
        }
    }

    #[tokio::test]
    async fn s3_tells_again_of_the_files_of_imports_that_were_under_way() {
        let (folder, told) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
        let s3 = LocalS3::start_with(folder.path(), Arc::clone(&told) as _).await.unwrap();
        s3.create_bucket("imports").unwrap();
        let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
        dynamo.create_table("ledger", false).unwrap();
        let (s3_endpoint, dynamo_endpoint) = (s3.endpoint().to_owned(), dynamo.endpoint().to_owned());
        let config = Config::new(move |name| {
            let value = match name {
                "AWS_ENDPOINT_URL_S3" => &s3_endpoint,
                "AWS_ENDPOINT_URL_DYNAMODB" => &dynamo_endpoint,
                "AWS_REGION" => "us-east-1",
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "local",
                "LEDGER_TABLE" => "ledger",
                "IMPORT_BUCKET" => "imports",
                _ => return None,
            };
            Some(value.to_owned())
        });
        assert_eq!(go_on(&config, &s3).await.unwrap(), 0, "before anybody has asked for an import");

        let jobs = Arc::new(DynamoLedger::new(dynamodb_client(&config).await, "ledger"));
        let objects = S3Objects::new(patient_s3_client(&config).await, "imports");
        let environment = Arc::new(SystemEnvironment);
        let registry = Registry::shipped().unwrap();
        let imports = Imports::new(registry, Arc::clone(&jobs), Arc::new(objects.clone()), environment);
        let caller = Caller { tenant: "acme".parse().unwrap(), user: "ann".to_owned(), ip: String::new() };
        let request = r#"{"resource": "products", "format": "csv", "source": {"upload": true}}"#;
        let states = [ImportState::Running, ImportState::Completed, ImportState::Splitting, ImportState::Cancelled];
        let mut unfinished = Vec::new();
        for state in states {
            let job = imports.ask(&caller, ImportRequest::read(request).unwrap()).await.unwrap().job;
            let key = source_key(&job.key);
            objects.put(&key, b"code,name\n".to_vec()).await.unwrap();
            if matches!(state, ImportState::Running | ImportState::Splitting) {
                unfinished.push((key, job.key.clone()));
            }
            let split = SplitProgress { chunks: 4, rows: 40, whole: state == ImportState::Running };
            assert!(jobs.replace(&ImportJob { state, split, revision: job.revision + 1, ..job }).await.unwrap());
        }
        told.0.lock().unwrap().clear();
        assert_eq!(go_on(&config, &s3).await.unwrap(), 2);
        let mut told = told.0.lock().unwrap().clone();
        told.sort();
        assert_eq!(told, unfinished.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
        let [(_, running), (_, splitting)] = &unfinished[..] else { panic!("{unfinished:?}") };
        let chunks = async |import| jobs.get(import).await.unwrap().unwrap().split.chunks;
        assert_eq!((chunks(running).await, chunks(splitting).await), (4, 0), "one that was being read begins again");
        s3.stop().await;
        dynamo.stop().await;
    }
}
