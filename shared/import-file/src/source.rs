use std::io::{self, BufRead, ErrorKind, Read, Seek, SeekFrom};

/// How much is read at a time. Blocks are always filled, in however small pieces the bytes come, so
/// that what a decoder sees, and where it fails, depends on the file alone.
pub(crate) const BLOCK: usize = 64 << 10;

/// The bytes of a stretch of the file.
#[derive(Debug)]
pub(crate) struct Source<R> {
    watched: Watched<R>,
    block: Vec<u8>,
    used: usize,
    /// Bytes of the stretch that are not in a block yet.
    left: u64,
    taken: u64,
}

impl<R: Read + Seek> Source<R> {
    /// The whole of a file.
    pub(crate) fn new(inner: R) -> io::Result<Self> {
        let mut inner = inner;
        let length = inner.seek(SeekFrom::End(0))?;
        inner.seek(SeekFrom::Start(0))?;
        let watched = Watched { inner, length, failure: None };
        Ok(Self { watched, block: Vec::with_capacity(BLOCK), used: 0, left: length, taken: 0 })
    }

    /// Goes on with the bytes from `start` up to `end`.
    pub(crate) fn go_to(&mut self, start: u64, end: u64) -> io::Result<()> {
        self.watched.seek(SeekFrom::Start(start))?;
        self.block.clear();
        self.used = 0;
        self.left = end.saturating_sub(start);
        Ok(())
    }

    /// The file itself, wherever it stands.
    pub(crate) fn file(&mut self) -> &mut (impl Read + Seek + use<R>) {
        &mut self.watched
    }

    /// Bytes that were asked for so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Bytes of the whole file.
    pub(crate) fn length(&self) -> u64 {
        self.watched.length
    }

    /// What reading failed with, if it did: errors of what decodes these bytes are not among it.
    pub(crate) fn failure(&mut self) -> Option<io::Error> {
        self.watched.failure.take()
    }

    fn next_block(&mut self) -> io::Result<()> {
        let wanted = usize::try_from(self.left).unwrap_or(BLOCK).min(BLOCK);
        self.block.clear();
        self.used = 0;
        let read = (&mut self.watched).take(wanted as u64).read_to_end(&mut self.block)?;
        // A file that is shorter than it said has ended.
        self.left = if read < wanted { 0 } else { self.left.saturating_sub(read as u64) };
        Ok(())
    }
}

impl<R: Read + Seek> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used >= self.block.len() && self.left > 0 {
            self.next_block()?;
        }
        Ok(self.block.get(self.used..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
        self.taken += amount as u64;
    }
}

impl<R: Read + Seek> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// Remembers what the reader failed with, so that it can be told from what is wrong with its content.
#[derive(Debug)]
struct Watched<R> {
    inner: R,
    length: u64,
    failure: Option<io::Error>,
}

impl<R> Watched<R> {
    fn watch<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            self.failure = Some(error);
            kind.into()
        })
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not everything that reads from here knows that an interruption is none.
        let result = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.watch(result)
    }
}

impl<R: Seek> Seek for Watched<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        // The directory of a ZIP may name any place.
        if matches!(position, SeekFrom::Start(start) if start > self.length) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let result = self.inner.seek(position);
        self.watch(result)
    }
}
