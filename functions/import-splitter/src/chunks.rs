//! The chunks of a file, read on a thread of their own.

use std::sync::Arc;

use async_trait::async_trait;
use ledgerline_app::{ChunkSource, FileChunks, SourceError};
use ledgerline_import_file::{Chunk, read};
use ledgerline_kernel::ImportJob;
use ledgerline_kernel::ports::{ObjectHead, SourceObjects};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::ReadLimits;
use crate::object::ObjectReader;

/// Chunks that may wait to be sent.
const WAITING: usize = 4;

/// The chunks of an object. Dropped, it ends the reading at the next chunk.
pub(crate) struct ObjectChunks(mpsc::Receiver<Result<Chunk, SourceError>>);

impl ObjectChunks {
    /// Reads the object `key` from its beginning on.
    pub(crate) fn open(
        objects: Arc<dyn SourceObjects>,
        key: String,
        head: ObjectHead,
        job: &ImportJob,
        limits: ReadLimits,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let rows = read(ObjectReader::new(objects, Handle::current(), key, head), job.format, &limits.file);
        let mut chunks = FileChunks::new(&job.key, rows, limits.chunk);
        tokio::task::spawn_blocking(move || {
            while let Some(next) = chunks.next_chunk().transpose() {
                let is_last = next.is_err();
                if sender.blocking_send(next).is_err() || is_last {
                    break;
                }
            }
        });
        Self(receiver)
    }
}

#[async_trait]
impl ChunkSource for ObjectChunks {
    async fn next(&mut self) -> Result<Option<Chunk>, SourceError> {
        self.0.recv().await.transpose()
    }
}
