//! The chunks of a file.

use async_trait::async_trait;
use ledgerline_import_file::{Chunk, ChunkLimits, Chunker, FileError, Found};
use ledgerline_kernel::{ImportFailure, ImportKey};

use super::change::source_changed;
use super::splitter::{ChunkSource, SourceError};
use super::unavailable;

/// What a reader fails with whose file was replaced or removed: it is not worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file was replaced or removed while it was read")]
pub struct FileReplaced;

/// Packs what comes out of a file into chunks. The file is read where this is polled: it blocks for as long
/// as the file does.
#[derive(Debug)]
pub struct FileChunks<I> {
    rows: I,
    /// None once everything was packed.
    chunker: Option<Chunker>,
    /// Why no more rows come, until that was said.
    broken: Option<SourceError>,
}

impl<I: Iterator<Item = Result<Found, FileError>>> FileChunks<I> {
    /// The chunks of an import's file.
    pub fn new(import: &ImportKey, rows: I, limits: ChunkLimits) -> Self {
        Self { rows, chunker: Some(Chunker::new(import.tenant.clone(), import.id.to_string(), limits)), broken: None }
    }

    /// The next chunk; none at the end.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        while let Some(chunker) = &mut self.chunker {
            match self.rows.next() {
                Some(Ok(found)) => {
                    if let Some(chunk) = chunker.add(found) {
                        return Ok(Some(chunk));
                    }
                }
                end => {
                    // What came before the break is as good as without it.
                    self.broken = end.and_then(Result::err).map(source_error);
                    if let Some(chunk) = self.chunker.take().and_then(Chunker::finish) {
                        return Ok(Some(chunk));
                    }
                }
            }
        }
        self.broken.take().map_or(Ok(None), Err)
    }
}

#[async_trait]
impl<I: Iterator<Item = Result<Found, FileError>> + Send> ChunkSource for FileChunks<I> {
    async fn next(&mut self) -> Result<Option<Chunk>, SourceError> {
        self.next_chunk()
    }
}

fn source_error(error: FileError) -> SourceError {
    match error {
        FileError::Refused(problem) => {
            let file = problem.file.map_or_else(String::new, |file| format!("{file}: "));
            let message = format!("{file}{}", problem.message);
            SourceError::File(ImportFailure { code: problem.code.to_owned(), message })
        }
        FileError::Source(error) if matches!(error.get_ref(), Some(inner) if inner.is::<FileReplaced>()) => {
            SourceError::File(source_changed())
        }
        FileError::Source(error) => SourceError::Store(unavailable(format!("the file could not be read: {error}"))),
    }
}
