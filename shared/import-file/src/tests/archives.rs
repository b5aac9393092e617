use super::*;

#[test]
fn gzip_is_seen_from_its_content_and_may_have_several_members() {
    let whole = [gzip(b"a,b\n1,"), gzip(b"2\n3,4\n")].concat();
    assert_eq!(csv(whole), [file(&["a", "b"]), row(2, &["1", "2"]), row(3, &["3", "4"])]);
    assert_eq!(csv(gzip("\u{feff}a\n1".as_bytes())), [file(&["a"]), row(2, &["1"])]);
    assert_eq!(refused(gzip(b""), ImportFormat::Csv).code, "EMPTY_FILE");
}

#[test]
fn the_rows_before_a_break_in_a_gzip_come_out_and_the_broken_one_does_not() {
    let text: String = (0..50_000).map(|number| format!("R-{number},{}\n", number * 7919 % 10_007)).collect();
    let whole = gzip(format!("code,price\n{text}").as_bytes());
    let (found, error) = read_all(Cursor::new(&whole[..whole.len() / 2]), ImportFormat::Csv, &Limits::default());
    assert_eq!(problem_of(error).code, "MALFORMED_ARCHIVE");
    let expected = csv(format!("code,price\n{text}"));
    assert!(found.len() > 10_000 && found.len() < 40_000, "{}", found.len());
    assert_eq!(found, expected[..found.len()]);
    // The content is there, but not what it is checked against.
    let whole = gzip(b"a\n1\n2\n");
    for end in whole.len() - 8..whole.len() {
        let (found, error) = read_all(Cursor::new(&whole[..end]), ImportFormat::Csv, &Limits::default());
        assert_eq!(problem_of(error).code, "MALFORMED_ARCHIVE");
        assert_eq!(found, [file(&["a"]), row(2, &["1"]), row(3, &["2"])]);
    }
}

#[test]
fn the_files_of_a_zip_come_in_the_order_of_its_directory_each_with_its_header() {
    let archive = zip(&[
        ("b.csv", b"code,name\nR-1,Ring\n"),
        ("folder/", b""),
        ("__MACOSX/b.csv", b"junk"),
        (".DS_Store", b"junk"),
        ("_SUCCESS", b""),
        ("folder/.hidden/x.csv", b"junk"),
        ("folder/a.csv", b"code\nR-2\nR-3,\n"),
    ]);
    let found = csv(archive);
    assert_eq!(found[..2], [named_file(Some("b.csv"), &["code", "name"]), row(2, &["R-1", "Ring"])]);
    assert_eq!(found[2..4], [named_file(Some("folder/a.csv"), &["code"]), row(2, &["R-2"])]);
    assert_eq!(problems(&found), [(3, "WRONG_NUMBER_OF_FIELDS", "R-3,")]);
}

#[test]
fn a_zip_of_json_lines_and_one_of_stored_files_are_read() {
    let found = found_in(&zip(&[("1.jsonl", b"{}\n"), ("2.jsonl", b"{\"a\":1}")]), ImportFormat::Jsonl);
    let expected =
        [named_file(Some("1.jsonl"), &[]), line(1, "{}"), named_file(Some("2.jsonl"), &[]), line(1, "{\"a\":1}")];
    assert_eq!(found, expected);
    let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
    let (mut entry, config) = archive.new_file("a.csv").start().unwrap();
    let mut writer = config.wrap(&mut entry);
    writer.write_all(b"a\n1\n").unwrap();
    let (_, descriptor) = writer.finish().unwrap();
    entry.finish(descriptor).unwrap();
    assert_eq!(csv(archive.finish().unwrap()), [named_file(Some("a.csv"), &["a"]), row(2, &["1"])]);
}

#[test]
fn what_is_wrong_with_a_file_of_a_zip_names_it() {
    let problem = refused(zip(&[("good.csv", b"a\n1\n"), ("bad.csv", b"a,a\n")]), ImportFormat::Csv);
    assert_eq!((problem.code, problem.file.as_deref()), ("DUPLICATE_COLUMN_NAME", Some("bad.csv")));
    let problem = refused(zip(&[("blank.csv", b"\n\n")]), ImportFormat::Csv);
    assert_eq!((problem.code, problem.file.as_deref()), ("NO_HEADER", Some("blank.csv")));
}

#[test]
fn a_zip_without_files_a_workbook_and_an_archive_in_an_archive_are_refused() {
    assert_eq!(refused(zip(&[]), ImportFormat::Csv).code, "EMPTY_FILE");
    assert_eq!(refused(zip(&[("folder/", b""), ("empty.csv", b"")]), ImportFormat::Csv).code, "EMPTY_FILE");
    let workbook = zip(&[("[Content_Types].xml", b"<?xml"), ("xl/workbook.xml", b"<?xml")]);
    assert_eq!(refused(workbook, ImportFormat::Csv).code, "UNSUPPORTED_FORMAT");
    for nested in [gzip(&gzip(b"a\n1")), gzip(&zip(&[("a", b"a")])), zip(&[("a.gz", &gzip(b"a\n1"))])] {
        assert_eq!(refused(nested, ImportFormat::Csv).code, "NESTED_ARCHIVE");
    }
}

/// Changes a field of the first entry in a ZIP's directory.
fn patched(mut archive: Vec<u8>, offset: usize, value: u16) -> Vec<u8> {
    let directory = archive.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    archive[directory + offset..][..2].copy_from_slice(&value.to_le_bytes());
    archive
}

#[test]
fn encrypted_entries_and_other_methods_than_deflate_are_refused() {
    let (flags, method) = (8, 10);
    let archive = || zip(&[("a.csv", b"a\n1\n")]);
    assert_eq!(refused(patched(archive(), flags, 1), ImportFormat::Csv).code, "ENCRYPTED_ARCHIVE");
    assert_eq!(refused(patched(archive(), method, 99), ImportFormat::Csv).code, "ENCRYPTED_ARCHIVE");
    assert_eq!(refused(patched(archive(), method, 12), ImportFormat::Csv).code, "UNSUPPORTED_COMPRESSION");
}

#[test]
fn an_entry_that_is_not_what_the_directory_says_is_refused_after_its_rows() {
    let (crc, size, place) = (16, 24, 42);
    for (offset, value) in [(crc, 7), (size, 3)] {
        let (found, error) = read_all(
            Cursor::new(patched(zip(&[("a.csv", b"a\n1\n2")]), offset, value)),
            ImportFormat::Csv,
            &Limits::default(),
        );
        assert_eq!(problem_of(error).code, "MALFORMED_ARCHIVE");
        assert_eq!(found, [named_file(Some("a.csv"), &["a"]), row(2, &["1"])], "the last row is not known to be whole");
    }
    assert_eq!(
        refused(patched(zip(&[("a.csv", b"a\n1\n")]), place, 60_000), ImportFormat::Csv).code,
        "MALFORMED_ARCHIVE"
    );
}

#[test]
fn a_zip_that_is_cut_anywhere_is_refused() {
    let whole = zip(&[("a.csv", b"a\n1\n"), ("b.csv", b"b\n2\n")]);
    for end in 4..whole.len() {
        let (_, error) = read_all(Cursor::new(&whole[..end]), ImportFormat::Csv, &Limits::default());
        assert_eq!(problem_of(error).code, "MALFORMED_ARCHIVE", "{end} of {}", whole.len());
    }
}

/// A file of which one byte cannot be read, and behind which there is nowhere to go.
struct Failing<'a>(Cursor<&'a [u8]>, u64);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self(file, at) = self;
        let left = usize::try_from(at.checked_sub(file.position()).unwrap_or(u64::MAX)).unwrap();
        if left == 0 {
            // What a truncated archive would end with, too.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = buffer.len().min(left);
        file.read(&mut buffer[..size])
    }
}

impl Seek for Failing<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let Self(file, _) = self;
        match position {
            SeekFrom::Start(at) if at > file.get_ref().len() as u64 => Err(io::ErrorKind::InvalidInput.into()),
            _ => file.seek(position),
        }
    }
}

#[test]
fn a_source_that_fails_is_told_from_a_file_that_is_broken() {
    // Larger than a block even when it is compressed.
    let numbers = (0..60_000_u64).map(|number| format!("{}\n", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let text = "a\n".to_owned() + &numbers.collect::<String>();
    for packed in [text.as_bytes().to_vec(), gzip(text.as_bytes()), zip(&[("a.csv", text.as_bytes())])] {
        let length = packed.len() as u64;
        assert!(length > 200_000, "{length}");
        for at in [0, 3, 70_000, 150_000, length - 1] {
            let (_, error) = read_all(Failing(Cursor::new(&packed), at), ImportFormat::Csv, &Limits::default());
            assert!(matches!(error, Some(FileError::Source(_))), "{at}: {error:?}");
        }
    }
    let place = 42;
    let elsewhere = patched(zip(&[("a.csv", b"a\n1\n")]), place, 60_000);
    let (_, error) = read_all(Failing(Cursor::new(&elsewhere), u64::MAX), ImportFormat::Csv, &Limits::default());
    assert_eq!(problem_of(error).code, "MALFORMED_ARCHIVE");
}
