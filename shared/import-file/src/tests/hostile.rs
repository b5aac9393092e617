use super::*;

/// A file that is never held anywhere: its beginning, one byte as often as said, and its end.
struct Made {
    begin: Vec<u8>,
    byte: u8,
    times: u64,
    end: Vec<u8>,
    at: u64,
}

impl Made {
    fn length(&self) -> u64 {
        self.begin.len() as u64 + self.times + self.end.len() as u64
    }

    fn byte_at(&self, at: u64) -> Option<u8> {
        let begin = self.begin.len() as u64;
        match at {
            at if at < begin => self.begin.get(at as usize).copied(),
            at if at < begin + self.times => Some(self.byte),
            at => self.end.get((at - begin - self.times) as usize).copied(),
        }
    }
}

impl Read for Made {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some((place, byte)) = buffer.get_mut(read).zip(self.byte_at(self.at)) {
            *place = byte;
            read += 1;
            self.at += 1;
        }
        Ok(read)
    }
}

impl Seek for Made {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.at = match position {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => self.length().saturating_add_signed(by),
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

/// What the reader may hold for rows of 200 KiB, wherever it is in the file.
const HELD: usize = 5 << 20;

/// Reads a file and looks at what is held after every row.
fn held_while_reading(file: Made, format: ImportFormat) -> (Vec<Found>, usize) {
    let mut rows = read(file, format, &Limits::default());
    let (mut found, mut most) = (Vec::new(), 0);
    while let Some(item) = rows.next() {
        most = most.max(rows.held());
        found.push(item.unwrap());
    }
    (found, most)
}

#[test]
fn of_a_row_of_10_mb_no_more_is_held_than_of_any_and_the_rows_around_it_come_out() {
    // A long cell, very many cells, a quoted cell over very many lines.
    for (before, byte, after) in
        [("R-2,", b'x', ""), ("R-2", b',', ""), ("R-2,\"", b'\n', "\""), ("R-2,\"", b'"', "\"")]
    {
        let begin = format!("code,name\nR-1,Ring\n{before}").into_bytes();
        let end = format!("{after}\nR-3,Chain\n").into_bytes();
        let (found, held) = held_while_reading(Made { begin, byte, times: 10_000_000, end, at: 0 }, ImportFormat::Csv);
        let found_problems = problems(&found);
        let [(3, "ROW_TOO_LARGE", text)] = found_problems[..] else { panic!("{}", found.len()) };
        assert!(text.starts_with(before) && text.len() < 4200, "{}", text.len());
        assert_eq!((&found[1], &found[3]), (&row(2, &["R-1", "Ring"]), &row(4, &["R-3", "Chain"])));
        assert!(held < HELD, "{held}");
    }
    let (begin, end) = (b"{}\n{\"a\": \"".to_vec(), b"\"}\n{}".to_vec());
    let (found, held) =
        held_while_reading(Made { begin, byte: b'x', times: 10_000_000, end, at: 0 }, ImportFormat::Jsonl);
    assert_eq!(problems(&found).len(), 1);
    assert_eq!((&found[1], &found[3]), (&line(1, "{}"), &line(3, "{}")));
    assert!(held < HELD, "{held}");
}

#[test]
fn a_header_of_10_mb_is_refused_without_being_held() {
    let file = Made { begin: Vec::new(), byte: b'x', times: 10_000_000, end: b"\n1\n".to_vec(), at: 0 };
    let mut rows = read(file, ImportFormat::Csv, &Limits::default());
    let error = rows.next().unwrap().unwrap_err();
    assert_eq!(problem_of(Some(error)).code, "HEADER_TOO_LARGE");
    assert!(rows.next().is_none());
}

#[test]
fn a_text_is_cut_between_two_characters() {
    for before in ["", "x", "xx"] {
        let text = format!("a\n{before}{}\n", "指".repeat(100_000));
        let found = csv(text);
        let [(2, "ROW_TOO_LARGE", text)] = problems(&found)[..] else { panic!("{}", found.len()) };
        let shown = text.strip_suffix("… [cut]").unwrap();
        assert!(shown.strip_prefix(before).unwrap().chars().all(|character| character == '指'), "{before}");
        assert!((4094..=4096).contains(&shown.len()));
    }
}

/// A gzip of so many equal bytes, without holding them.
fn bomb(begin: &[u8], bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(begin).unwrap();
    for _ in 0..bytes >> 16 {
        encoder.write_all(&[b'x'; 1 << 16]).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn a_gzip_bomb_is_refused_after_a_thousand_times_its_size() {
    let limits = Limits { row_bytes: 1 << 10, ..Limits::default() };
    let packed = bomb(b"a\n1\n2\n", 64 << 20);
    assert!(packed.len() < 80_000, "{}", packed.len());
    let (found, error) = read_all(Cursor::new(&packed), ImportFormat::Csv, &limits);
    assert_eq!(problem_of(error).code, "SUSPICIOUS_COMPRESSION");
    assert_eq!(found, [file(&["a"]), row(2, &["1"]), row(3, &["2"])]);
    let (found, error) = read_all(Cursor::new(&bomb(b"a\n1\n", 15 << 20)), ImportFormat::Csv, &limits);
    assert!(error.is_none(), "so little may be compressed as well as can be");
    assert_eq!(problems(&found).len(), 1);
}

#[test]
fn entries_of_a_zip_that_share_their_bytes_count_as_often_as_they_are_read() {
    let text = [b"a\n".as_slice(), &[&[b'x'; 1023][..], b"\n"].concat().repeat(1 << 10)].concat();
    let archive = zip(&[("a.csv", &text)]);
    // Nothing that deflate makes alone is so much smaller.
    let limits = Limits { ratio: 2000, ratio_from: 1 << 20, ..Limits::default() };
    let (found, error) = read_all(Cursor::new(&archive), ImportFormat::Csv, &limits);
    assert!(error.is_none(), "{error:?}");
    let once = found.len();
    let (found, error) = read_all(Cursor::new(&with_entries(&archive, 20)), ImportFormat::Csv, &limits);
    assert_eq!(problem_of(error).code, "SUSPICIOUS_COMPRESSION");
    assert!(found.len() > once && found.len() < 15 * once, "{} of {once}", found.len());
}

/// The same archive with its one entry in the directory this many times.
fn with_entries(archive: &[u8], times: u16) -> Vec<u8> {
    let find = |signature: &[u8]| archive.windows(4).rposition(|window| window == signature).unwrap();
    let (directory, end) = (find(b"PK\x01\x02"), find(b"PK\x05\x06"));
    let entry = &archive[directory..end];
    let mut end = archive[end..].to_vec();
    end[8..10].copy_from_slice(&times.to_le_bytes());
    end[10..12].copy_from_slice(&times.to_le_bytes());
    end[12..16].copy_from_slice(&(entry.len() as u32 * u32::from(times)).to_le_bytes());
    [&archive[..directory], &entry.repeat(usize::from(times)), &end].concat()
}

#[test]
fn a_zip_of_more_than_a_thousand_files_is_refused_and_one_of_a_thousand_is_not() {
    let archive = zip(&[("a.csv", b"a\n1\n")]);
    assert_eq!(csv(with_entries(&archive, 1000)).len(), 2000);
    assert_eq!(refused(with_entries(&archive, 1001), ImportFormat::Csv).code, "TOO_MANY_FILES");
}

#[test]
fn a_file_larger_than_the_limit_is_refused_after_the_rows_before_it() {
    let limits = Limits { file_bytes: 200_000, ..Limits::default() };
    let text = "a\n".to_owned() + &"12345678\n".repeat(30_000);
    let whole = csv(&text);
    for packed in [text.clone().into_bytes(), gzip(text.as_bytes()), zip(&[("a", text.as_bytes())])] {
        let (found, error) = read_all(Cursor::new(&packed), ImportFormat::Csv, &limits);
        assert_eq!(problem_of(error).code, "FILE_TOO_LARGE");
        assert_eq!(found[1..], whole[1..found.len()]);
        assert!(found.len() > 10_000 && found.len() < whole.len());
    }
    let halves = zip(&[("a", &text.as_bytes()[..135_001]), ("b", &text.as_bytes()[..135_001])]);
    let (_, error) = read_all(Cursor::new(&halves), ImportFormat::Csv, &limits);
    assert_eq!(problem_of(error).code, "FILE_TOO_LARGE", "all files of a ZIP count together");
}

#[test]
fn a_file_with_everything_wrong_in_it_gives_every_good_row_and_every_bad_one_its_number() {
    let mut text = b"code,name,price\r\n".to_vec();
    let large = format!("R-6,{},1", "x".repeat(300_000)).into_bytes();
    let rows: [&[u8]; 11] = [
        b"R-2,Ring,1",
        b"R-3,K\xf6ln,1",
        b"R-4,=cmd|' /C calc'!A0,1",
        b"R-5,N\0L,1",
        &large,
        b"R-7",
        b"R-8,a,b,c,d",
        b"",
        b"R-10,\"a\r\nb\",1",
        "R-11,e\u{301} \u{e9} 💎 指輪,1".as_bytes(),
        b"R-12,\"open,1\r\nR-13,x,1",
    ];
    for row in rows {
        text.extend_from_slice(row);
        text.extend_from_slice(b"\r\n");
    }
    let found = csv(&text);
    let bad: Vec<_> = problems(&found).into_iter().map(|(number, code, _)| (number, code)).collect();
    let expected = [
        (3, "INVALID_ENCODING"),
        (5, "NUL_CHARACTER"),
        (6, "ROW_TOO_LARGE"),
        (7, "WRONG_NUMBER_OF_FIELDS"),
        (8, "WRONG_NUMBER_OF_FIELDS"),
        (12, "UNCLOSED_QUOTE"),
    ];
    assert_eq!(bad, expected);
    let good: Vec<_> =
        found.iter().filter(|found| matches!(found, Found::Row { content: RowContent::Fields(_), .. })).collect();
    let expected = [
        row(2, &["R-2", "Ring", "1"]),
        row(4, &["R-4", "=cmd|' /C calc'!A0", "1"]),
        row(10, &["R-10", "a\r\nb", "1"]),
        row(11, &["R-11", "e\u{301} \u{e9} 💎 指輪", "1"]),
    ];
    assert_eq!(good, expected.iter().collect::<Vec<_>>());
}
