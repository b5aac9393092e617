use std::io::{Read, Seek};

use rawzip::{CompressionMethod, ErrorKind, ZipArchive, ZipFileHeaderRecord};

use crate::source::Source;
use crate::{FileError, FileProblem};

/// One file of a ZIP that is to be read.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) deflated: bool,
    /// What its content must turn out to be.
    pub(crate) size: u64,
    pub(crate) crc: u32,
}

/// A name that is longer is nobody's: with this many entries it would be a way to fill memory.
const LONGEST_NAME: usize = 1024;

/// Lists the files of a ZIP that are to be read, in the order of its directory, which is the order in
/// which they were put in. Folders, empty files, `__MACOSX` and what is hidden by a dot are not.
pub(crate) fn list<R: Read + Seek>(source: &mut Source<R>, most: usize) -> Result<Vec<Entry>, FileError> {
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    let listed = list_with(source.file(), &mut buffer, most);
    match source.failure() {
        Some(failure) => Err(FileError::Source(failure)),
        None => Ok(listed?),
    }
}

fn list_with(file: impl Read + Seek, buffer: &mut [u8], most: usize) -> Result<Vec<Entry>, FileProblem> {
    let archive = ZipArchive::from_seekable(file, buffer).map_err(malformed)?;
    let mut found = Vec::new();
    let mut entries = archive.entries(buffer);
    let mut count = 0;
    while let Some(entry) = entries.next_entry().map_err(malformed)? {
        count += 1;
        if count > most {
            return Err(FileProblem::new("TOO_MANY_FILES", format!("The ZIP holds more than {most} files.")));
        }
        // Some tools leave empty files behind, to say that they are done.
        let is_empty = entry.uncompressed_size_hint() == 0 && entry.crc32() == 0;
        if let Some(name) = name_of(&entry)?.filter(|_| !is_empty) {
            let deflated = is_deflated(&entry).map_err(|problem| problem.in_file(Some(&name)))?;
            found.push((name, entry.wayfinder(), deflated, entry.crc32()));
        }
    }
    let entries = found.into_iter().map(|(name, place, deflated, crc)| {
        let (start, end) = archive.get_entry(place).map_err(malformed)?.compressed_data_range();
        Ok(Entry { name, start, end, deflated, size: place.uncompressed_size_hint(), crc })
    });
    entries.collect()
}

/// The name of an entry that is to be read.
fn name_of(entry: &ZipFileHeaderRecord<'_>) -> Result<Option<String>, FileProblem> {
    let path = entry.file_path();
    if path.len() > LONGEST_NAME {
        return Err(FileProblem::new("MALFORMED_ARCHIVE", "The ZIP holds a file with a name of more than 1 KiB."));
    }
    // Old archives have names in the code page of wherever they were made. It is for people only.
    let name = String::from_utf8_lossy(path.as_bytes()).into_owned();
    if name == "[Content_Types].xml" {
        return Err(FileProblem::new("UNSUPPORTED_FORMAT", "This is a workbook; save the sheet as CSV (UTF-8)."));
    }
    let hidden = |part: &str| part == "__MACOSX" || (part.starts_with('.') && !matches!(part, "." | ".."));
    let skipped = entry.is_dir() || name.split(['/', '\\']).any(hidden);
    Ok((!skipped).then_some(name))
}

fn is_deflated(entry: &ZipFileHeaderRecord<'_>) -> Result<bool, FileProblem> {
    if entry.flags().is_encrypted() || entry.compression_method() == CompressionMethod::AES {
        return Err(FileProblem::new("ENCRYPTED_ARCHIVE", "The file is encrypted; pack it without a password."));
    }
    match entry.compression_method() {
        CompressionMethod::STORE => Ok(false),
        CompressionMethod::DEFLATE => Ok(true),
        method => {
            let message = format!("The file is compressed by the method {method}; only deflate is read.");
            Err(FileProblem::new("UNSUPPORTED_COMPRESSION", message))
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn malformed(error: rawzip::Error) -> FileProblem {
    let message = match error.kind() {
        ErrorKind::MissingEndOfCentralDirectory | ErrorKind::Eof | ErrorKind::IO(_) => {
            "The ZIP is incomplete: its directory, or what that tells of, is not there.".to_owned()
        }
        other => format!("The ZIP cannot be read: {other}."),
    };
    FileProblem::new("MALFORMED_ARCHIVE", message)
}
