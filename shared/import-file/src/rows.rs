use std::io::{Read, Seek};

use ledgerline_kernel::ImportFormat;

use crate::content::{Content, begin_of_text};
use crate::csv_rows::CsvRows;
use crate::line_rows::LineRows;
use crate::source::BLOCK;
use crate::{FileError, Found, Limits};

/// Reads a file from its beginning. Nothing is read before the first row is asked for.
///
/// `file` is read in blocks of 64 KiB, in order but for the directory of a ZIP, which is at its end
/// and read in small pieces: where a read is dear, as over a network, buffer it.
pub fn read<R: Read + Seek>(file: R, format: ImportFormat, limits: &Limits) -> Rows<R> {
    Rows { stage: Stage::Unopened(file), format, limits: *limits }
}

/// The rows of a file: for each file in it a [`Found::File`], then its rows. The last item is a
/// [`FileError`] where the rest of the file could not be read.
#[derive(Debug)]
pub struct Rows<R: Read + Seek> {
    stage: Stage<R>,
    format: ImportFormat,
    limits: Limits,
}

#[derive(Debug)]
enum Stage<R: Read + Seek> {
    Unopened(R),
    Open(Box<Open<R>>),
    Ended,
}

#[derive(Debug)]
struct Open<R: Read + Seek> {
    content: Content<R>,
    file: Option<String>,
    /// Of the file that is being read; none between two files.
    splitter: Option<Splitter>,
    block: Box<[u8]>,
    used: usize,
    filled: usize,
}

#[derive(Debug)]
enum Splitter {
    Csv(Box<CsvRows>),
    Lines(LineRows),
}

impl<R: Read + Seek> Iterator for Rows<R> {
    type Item = Result<Found, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.advance().transpose();
        if !matches!(found, Some(Ok(_))) {
            self.stage = Stage::Ended;
        }
        found
    }
}

impl<R: Read + Seek> Rows<R> {
    fn advance(&mut self) -> Result<Option<Found>, FileError> {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Ended => Ok(None),
            Stage::Open(open) => self.go_on(open),
            Stage::Unopened(file) => {
                let content = Content::open(file, self.limits)?;
                let block = vec![0; BLOCK].into_boxed_slice();
                let mut open = Box::new(Open { content, file: None, splitter: None, block, used: 0, filled: 0 });
                if open.content.is_archive() {
                    return self.go_on(open);
                }
                let begun = open.begin(self.format, self.limits)?;
                if begun.is_none() { self.go_on(open) } else { self.keep(open, begun) }
            }
        }
    }

    fn go_on(&mut self, mut open: Box<Open<R>>) -> Result<Option<Found>, FileError> {
        let found = open.next(self.format, self.limits).map_err(|error| error.in_file(open.file.as_deref()))?;
        self.keep(open, found)
    }

    fn keep(&mut self, open: Box<Open<R>>, found: Option<Found>) -> Result<Option<Found>, FileError> {
        self.stage = Stage::Open(open);
        Ok(found)
    }
}

#[cfg(test)]
impl<R: Read + Seek> Rows<R> {
    /// Bytes held for what the file holds: the block, and what a row grows. What reads and decompresses
    /// has a block and a window of its own, which never grow.
    pub(crate) fn held(&self) -> usize {
        let Stage::Open(open) = &self.stage else { return 0 };
        let splitter = match &open.splitter {
            Some(Splitter::Csv(rows)) => rows.held(),
            Some(Splitter::Lines(rows)) => rows.held(),
            None => 0,
        };
        open.block.len() + splitter
    }
}

impl<R: Read + Seek> Open<R> {
    fn next(&mut self, format: ImportFormat, limits: Limits) -> Result<Option<Found>, FileError> {
        loop {
            if let Some(found) = self.row()? {
                return Ok(Some(found));
            }
            self.splitter = None;
            self.file = self.content.next_entry()?;
            if self.file.is_none() {
                return Ok(None);
            }
            if let Some(begun) = self.begin(format, limits)? {
                return Ok(Some(begun));
            }
        }
    }

    /// Begins with a file, which says at once whether it is text.
    fn begin(&mut self, format: ImportFormat, limits: Limits) -> Result<Option<Found>, FileError> {
        self.filled = self.content.read_block(&mut self.block)?;
        let begins = self.block.get(..self.filled).unwrap_or_default();
        self.used = begin_of_text(begins, self.content.is_packed())?;
        if self.used == self.filled {
            return Err(FileError::refused("EMPTY_FILE", "The file is empty."));
        }
        let name = self.file.clone();
        match format {
            ImportFormat::Csv => {
                self.splitter = Some(Splitter::Csv(Box::new(CsvRows::new(name, limits))));
                Ok(None)
            }
            ImportFormat::Jsonl => {
                self.splitter = Some(Splitter::Lines(LineRows::new(limits.row_bytes)));
                Ok(Some(Found::File { name, columns: Vec::new() }))
            }
        }
    }

    /// The next row of this file; `None` at its end.
    fn row(&mut self) -> Result<Option<Found>, FileError> {
        while let Some(splitter) = &mut self.splitter {
            if self.used >= self.filled {
                (self.used, self.filled) = (0, self.content.read_block(&mut self.block)?);
            }
            let rest = self.block.get(self.used..self.filled).unwrap_or_default();
            if rest.is_empty() {
                return splitter.finish();
            }
            let (taken, found) = splitter.feed(rest)?;
            self.used += taken;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl Splitter {
    fn feed(&mut self, input: &[u8]) -> Result<(usize, Option<Found>), FileError> {
        match self {
            Self::Csv(rows) => rows.feed(input),
            Self::Lines(rows) => Ok(rows.feed(input)),
        }
    }

    fn finish(&mut self) -> Result<Option<Found>, FileError> {
        match self {
            Self::Csv(rows) => rows.finish(),
            Self::Lines(rows) => Ok(rows.finish()),
        }
    }
}
