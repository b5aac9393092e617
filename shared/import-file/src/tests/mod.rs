mod archives;
mod chunks;
mod csv_files;
mod error_files;
mod hostile;
mod line_files;
mod mappings;
mod round_trips;

use ledgerline_kernel::ImportFormat;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use super::*;

/// Everything that comes out of a file, and what ended it.
fn read_all<R: Read + Seek>(file: R, format: ImportFormat, limits: &Limits) -> (Vec<Found>, Option<FileError>) {
    let mut found = Vec::new();
    for item in read(file, format, limits) {
        match item {
            Ok(item) => found.push(item),
            Err(error) => return (found, Some(error)),
        }
    }
    (found, None)
}

/// What comes out of a good file.
#[track_caller]
fn found_in(bytes: &[u8], format: ImportFormat) -> Vec<Found> {
    let (found, error) = read_all(Cursor::new(bytes), format, &Limits::default());
    assert!(error.is_none(), "{error:?}");
    found
}

#[track_caller]
fn csv(bytes: impl AsRef<[u8]>) -> Vec<Found> {
    found_in(bytes.as_ref(), ImportFormat::Csv)
}

/// The code that a file is refused with.
#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, format: ImportFormat) -> FileProblem {
    problem_of(read_all(Cursor::new(bytes.as_ref()), format, &Limits::default()).1)
}

#[track_caller]
fn problem_of(error: Option<FileError>) -> FileProblem {
    match error {
        Some(FileError::Refused(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

fn file(columns: &[&str]) -> Found {
    named_file(None, columns)
}

fn named_file(name: Option<&str>, columns: &[&str]) -> Found {
    Found::File { name: name.map(str::to_owned), columns: texts(columns) }
}

fn row(number: u64, cells: &[&str]) -> Found {
    Found::Row { number, content: RowContent::Fields(texts(cells)) }
}

fn line(number: u64, text: &str) -> Found {
    Found::Row { number, content: RowContent::Text(text.to_owned()) }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Number, code and text of the rows with a problem.
fn problems(found: &[Found]) -> Vec<(u64, &'static str, &str)> {
    let problem = |found: &'_ Found| matches!(found, Found::Row { content: RowContent::Problem { .. }, .. });
    let problems = found.iter().filter(|found| problem(found)).map(|found| match found {
        Found::Row { number, content: RowContent::Problem { text, code, .. } } => (*number, *code, text.as_str()),
        _ => unreachable!(),
    });
    problems.collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A ZIP of these files.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
    for (name, content) in files {
        if name.ends_with('/') {
            archive.new_dir(*name).create().unwrap();
            continue;
        }
        let method = rawzip::CompressionMethod::DEFLATE;
        let (mut entry, config) = archive.new_file(*name).compression_method(method).start().unwrap();
        let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
        writer.write_all(content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap()
}

/// A file that is read in pieces of these sizes, over and over, and that is interrupted now and then.
struct Trickle<'a> {
    file: Cursor<&'a [u8]>,
    sizes: &'a [usize],
    reads: usize,
}

impl<'a> Trickle<'a> {
    fn new(file: &'a [u8], sizes: &'a [usize]) -> Self {
        Self { file: Cursor::new(file), sizes, reads: 0 }
    }
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.reads.is_multiple_of(7) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let size = self.sizes[self.reads % self.sizes.len()].min(buffer.len());
        self.file.read(&mut buffer[..size])
    }
}

impl Seek for Trickle<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}
