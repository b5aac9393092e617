//! An object as a file: read from, and sought in, by whoever reads synchronously.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use ledgerline_app::FileReplaced;
use ledgerline_kernel::ports::{ObjectHead, SourceObjects};
use tokio::runtime::Handle;

/// How much is fetched at once, in bytes. It is in memory three times while it comes in.
const WINDOW: u64 = 1024 * 1024;

/// An object, a window of which is in memory. To be used outside of the runtime's own threads: reading
/// waits for the store.
pub(crate) struct ObjectReader {
    objects: Arc<dyn SourceObjects>,
    runtime: Handle,
    key: String,
    etag: String,
    size: u64,
    place: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl ObjectReader {
    /// Reads this object, and no other one that comes to be in its place.
    pub(crate) fn new(objects: Arc<dyn SourceObjects>, runtime: Handle, key: String, head: ObjectHead) -> Self {
        let ObjectHead { size, etag } = head;
        Self { objects, runtime, key, etag, size, place: 0, window: Vec::new(), window_at: 0 }
    }

    /// What is in memory from the place on.
    fn at_hand(&self) -> &[u8] {
        let behind = self.place.checked_sub(self.window_at).and_then(|behind| usize::try_from(behind).ok());
        behind.and_then(|behind| self.window.get(behind..)).unwrap_or_default()
    }

    fn fetch(&mut self) -> io::Result<()> {
        // What was read is not needed beside what comes.
        self.window = Vec::new();
        let wanted = WINDOW.min(self.size.saturating_sub(self.place));
        let read = self.runtime.block_on(self.objects.read(&self.key, &self.etag, self.place, wanted));
        let window = read.map_err(io::Error::other)?.ok_or_else(|| io::Error::other(FileReplaced))?;
        if window.is_empty() {
            return Err(io::Error::other(FileReplaced));
        }
        (self.window, self.window_at) = (window, self.place);
        Ok(())
    }
}

impl Read for ObjectReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.place >= self.size || into.is_empty() {
            return Ok(0);
        }
        if self.at_hand().is_empty() {
            self.fetch()?;
        }
        let read = self.at_hand().read(into)?;
        self.place = self.place.saturating_add(read as u64);
        Ok(read)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.place.checked_add_signed(offset),
        };
        self.place = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.place)
    }
}
