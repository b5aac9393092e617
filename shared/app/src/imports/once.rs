//! `Idempotency-Key` on a request for an import: one import, however often it comes.

use ledgerline_kernel::ports::CommitError;
use ledgerline_kernel::{
    Commit, EntityKey, EntityType, IdempotencyRecord, ImportJob, ImportKey, ImportState, Produced, Version,
};

use super::ask::{ImportError, Imports, NewImport};
use super::rejected;
use super::request::ImportRequest;
use crate::commands::Idempotency;
use crate::{Caller, CommandError};

impl Imports {
    /// As [`ask`](Self::ask), once for each idempotency key: whoever asks again with the same `body` is told of
    /// the same import. While that awaits its file, an upload has another address each time, and rows that did
    /// not come to be its file do now.
    ///
    /// The key is remembered before the file is there. Of two requests at once, one import is cancelled before
    /// anybody has heard of it.
    ///
    /// # Errors
    /// [`ImportError::Key`] if the key came with another request before, or cannot be one; else as there.
    pub async fn ask_once(
        &self,
        caller: &Caller,
        request: ImportRequest,
        key: &str,
        body: &str,
    ) -> Result<NewImport, ImportError> {
        let idempotency = Idempotency::new(&caller.tenant, key, &format!("import {body}"))?;
        let now = self.environment.now();
        if let Some(record) = self.ledger.remembered(&caller.tenant, key, now).await? {
            return self.again(&idempotency, &record, request).await;
        }
        let job = self.create(caller, &request).await?;
        let record = idempotency.record(vec![produced(&job)?], now);
        let commit = Commit { idempotency: Some(record.clone()), ..Commit::default() };
        match self.ledger.commit(&commit, now).await {
            Ok(()) => {}
            Err(CommitError::Remembered(others)) if others.produced != record.produced => {
                self.cancel(&job.key).await?;
                return self.again(&idempotency, &others, request).await;
            }
            // Our own, from an attempt whose answer was lost.
            Err(CommitError::Remembered(_)) => {}
            Err(CommitError::Store(error)) => return Err(error.into()),
            Err(_) => return Err(CommandError::InFlight.into()),
        }
        let upload = self.provide(&job, request.source).await?;
        Ok(NewImport { job, upload, replayed: false })
    }

    async fn again(
        &self,
        idempotency: &Idempotency,
        record: &IdempotencyRecord,
        request: ImportRequest,
    ) -> Result<NewImport, ImportError> {
        let asked_for = record.produced.first().and_then(|produced| produced.id.sk.as_str().parse().ok());
        let Some(id) = asked_for.filter(|_| record.payload_hash == idempotency.payload_hash) else {
            return Err(CommandError::KeyReused.into());
        };
        let key = ImportKey { tenant: record.tenant.clone(), id };
        let job = self.jobs.get(&key).await?.ok_or(ImportError::NotFound(key))?;
        let awaits = job.state == ImportState::AwaitingUpload;
        let upload = if awaits { self.provide(&job, request.source).await? } else { None };
        Ok(NewImport { job, upload, replayed: true })
    }
}

/// An import as what a request led to: its item's own key.
fn produced(job: &ImportJob) -> Result<Produced, ImportError> {
    let no_key = |error| rejected(format!("{} has no key: {error}", job.key));
    let entity_type: EntityType = "IMPORT".parse().map_err(no_key)?;
    let sk = job.key.id.as_str().parse().map_err(no_key)?;
    Ok(Produced { id: EntityKey::new(entity_type, job.key.tenant.clone(), sk), version: Version::FIRST, changed: true })
}
