use std::io::{self, BufRead, Read, Seek};

use flate2::Crc;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder};

use crate::archive::{self, Entry};
use crate::limits::Meter;
use crate::source::Source;
use crate::{FileError, Limits};

const GZIP: &[u8] = b"\x1f\x8b";
const ZIP: &[u8] = b"PK\x03\x04";
const ZIP_WITHOUT_FILES: &[u8] = b"PK\x05\x06";

/// The files in a file, one after another, decompressed.
#[derive(Debug)]
pub(crate) struct Content<R: Read + Seek> {
    decoder: Decoder<R>,
    /// Of a ZIP, what is left to read.
    entries: Option<std::vec::IntoIter<Entry>>,
    /// Of an entry of a ZIP, what has been read and what it must be.
    entry: Option<Proof>,
    meter: Meter,
    /// What comes after the bytes that have been handed out.
    broken: Option<FileError>,
}

#[derive(Debug)]
enum Decoder<R: Read + Seek> {
    Plain(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Deflated(Box<DeflateDecoder<Source<R>>>),
    /// Between two files.
    None,
}

#[derive(Debug)]
struct Proof {
    found: Crc,
    found_size: u64,
    crc: u32,
    size: u64,
}

impl<R: Read + Seek> Content<R> {
    /// Looks at the first bytes, not at names, to see what a file is.
    pub(crate) fn open(file: R, limits: Limits) -> Result<Self, FileError> {
        let mut source = Source::new(file).map_err(FileError::Source)?;
        let begins = source.fill_buf().map(|begins| (begins.starts_with(GZIP), is_zip(begins)));
        let (is_gzip, is_zip) = begins.map_err(|error| why(source.failure(), &error))?;
        let entries = if is_zip { Some(archive::list(&mut source, limits.files)?.into_iter()) } else { None };
        if entries.as_ref().is_some_and(|entries| entries.len() == 0) {
            return Err(FileError::refused("EMPTY_FILE", "The ZIP holds no file with something in it."));
        }
        let decoder =
            if is_gzip { Decoder::Gzip(Box::new(MultiGzDecoder::new(source))) } else { Decoder::Plain(source) };
        Ok(Self { decoder, entries, entry: None, meter: Meter::new(limits), broken: None })
    }

    /// Whether there are files with names in it.
    pub(crate) fn is_archive(&self) -> bool {
        self.entries.is_some()
    }

    /// Whether what is read is the content of an archive.
    pub(crate) fn is_packed(&self) -> bool {
        self.is_archive() || matches!(self.decoder, Decoder::Gzip(_))
    }

    /// Begins with the next file of a ZIP and says its name; `None` after the last.
    pub(crate) fn next_entry(&mut self) -> Result<Option<String>, FileError> {
        let Some(entry) = self.entries.as_mut().and_then(Iterator::next) else { return Ok(None) };
        let Entry { name, start, end, deflated, size, crc } = entry;
        let Some(mut source) = std::mem::replace(&mut self.decoder, Decoder::None).into_source() else {
            return Ok(None);
        };
        source.go_to(start, end).map_err(|error| why(source.failure(), &error))?;
        self.decoder =
            if deflated { Decoder::Deflated(Box::new(DeflateDecoder::new(source))) } else { Decoder::Plain(source) };
        self.entry = Some(Proof { found: Crc::new(), found_size: 0, crc, size });
        Ok(Some(name))
    }

    /// Fills `block` as far as there is something left; 0 at the end of the file. What is wrong with a
    /// file is only said after all that came before has been handed out.
    pub(crate) fn read_block(&mut self, block: &mut [u8]) -> Result<usize, FileError> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.decoder.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => {
                    self.broken = Some(self.decoder.why(&error));
                    break;
                }
            }
        }
        let read = block.get(..filled).unwrap_or_default();
        self.meter.count(filled, self.decoder.taken(), self.decoder.length())?;
        if let Some(proof) = &mut self.entry {
            proof.count(read);
        }
        match self.broken.take_if(|_| filled == 0) {
            Some(broken) => Err(broken),
            None if filled == 0 => self.entry.as_ref().map_or(Ok(()), Proof::check).map(|()| 0),
            None => Ok(filled),
        }
    }
}

impl Proof {
    fn count(&mut self, read: &[u8]) {
        self.found.update(read);
        self.found_size += read.len() as u64;
    }

    fn check(&self) -> Result<(), FileError> {
        if self.found.sum() == self.crc && self.found_size == self.size {
            return Ok(());
        }
        Err(FileError::refused("MALFORMED_ARCHIVE", "The file is damaged: it is not what the ZIP says it is."))
    }
}

impl<R: Read + Seek> Decoder<R> {
    fn source(&mut self) -> Option<&mut Source<R>> {
        match self {
            Self::Plain(source) => Some(source),
            Self::Gzip(decoder) => Some(decoder.get_mut()),
            Self::Deflated(decoder) => Some(decoder.get_mut()),
            Self::None => None,
        }
    }

    fn into_source(self) -> Option<Source<R>> {
        match self {
            Self::Plain(source) => Some(source),
            Self::Gzip(decoder) => Some(decoder.into_inner()),
            Self::Deflated(decoder) => Some(decoder.into_inner()),
            Self::None => None,
        }
    }

    fn taken(&mut self) -> u64 {
        self.source().map_or(0, |source| source.taken())
    }

    fn length(&mut self) -> u64 {
        self.source().map_or(0, |source| source.length())
    }

    /// Tells a file that cannot be decoded from a source that cannot be read.
    fn why(&mut self, error: &io::Error) -> FileError {
        why(self.source().and_then(Source::failure), error)
    }
}

fn why(failure: Option<io::Error>, error: &io::Error) -> FileError {
    match failure {
        Some(failure) => FileError::Source(failure),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            FileError::refused("MALFORMED_ARCHIVE", "The file ends in the middle of its compressed content.")
        }
        None => FileError::refused("MALFORMED_ARCHIVE", format!("The file cannot be decompressed: {error}.")),
    }
}

impl<R: Read + Seek> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Deflated(decoder) => decoder.read(buffer),
            Self::None => Ok(0),
        }
    }
}

fn is_zip(begins: &[u8]) -> bool {
    begins.starts_with(ZIP) || begins.starts_with(ZIP_WITHOUT_FILES)
}

/// How many bytes of a mark to leave out at the beginning of a file's text.
///
/// # Errors
/// The bytes are not those of a text in UTF-8.
pub(crate) fn begin_of_text(begins: &[u8], is_packed: bool) -> Result<usize, FileError> {
    const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";
    const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
    if is_packed && (begins.starts_with(GZIP) || is_zip(begins)) {
        return Err(FileError::refused("NESTED_ARCHIVE", "The file is an archive itself; pack the tables only once."));
    }
    if UTF_16_MARKS.iter().any(|mark| begins.starts_with(mark)) {
        let message = "The file is in UTF-16 or UTF-32; save it in UTF-8.";
        return Err(FileError::refused("UNSUPPORTED_ENCODING", message));
    }
    Ok(if begins.starts_with(UTF_8_MARK) { UTF_8_MARK.len() } else { 0 })
}
