use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

/// Cells made of what could confuse a reader, and of anything else.
fn cell() -> impl Strategy<Value = String> {
    let hostile =
        prop::sample::select(vec!['"', ',', '\r', '\n', ' ', '\u{feff}', ';', '\t', 'a', 'é', '\u{301}', '指', '💎']);
    let character = prop_oneof![4 => hostile, 1 => any::<char>().prop_filter("NUL is refused", |found| *found != '\0')];
    prop::collection::vec(character, 0..12).prop_map(String::from_iter)
}

/// A table of at least two columns, since an empty cell alone is a blank line.
fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
    (2..5_usize).prop_flat_map(|columns| prop::collection::vec(prop::collection::vec(cell(), columns), 0..8))
}

fn written(table: &[Vec<String>], end: csv::Terminator) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().terminator(end).from_writer(Vec::new());
    let columns = table.first().map_or(2, Vec::len);
    writer.write_record((0..columns).map(|column| format!("c{column}"))).unwrap();
    for row in table {
        writer.write_record(row).unwrap();
    }
    writer.into_inner().unwrap()
}

#[test]
fn what_the_csv_crate_writes_is_read_as_it_was() {
    let ends =
        prop::sample::select(vec![csv::Terminator::CRLF, csv::Terminator::Any(b'\n'), csv::Terminator::Any(b'\r')]);
    TestRunner::deterministic()
        .run(&(table(), ends), |(table, end)| {
            let found = csv(written(&table, end));
            let cells = |found: &Found| match found {
                Found::Row { content: RowContent::Fields(cells), .. } => cells.clone(),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(found[1..].iter().map(cells).collect::<Vec<_>>(), table);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_pieces_in_which_a_file_is_read_make_no_difference() {
    let strategy = (table(), prop::collection::vec(1..9_usize, 1..5), any::<bool>());
    let limits = Limits { row_bytes: 40, ..Limits::default() };
    TestRunner::deterministic()
        .run(&strategy, |(table, sizes, is_whole)| {
            let text = written(&table, csv::Terminator::CRLF);
            // Cut anywhere, the last row has one of the problems that there are.
            let text = if is_whole { &text[..] } else { &text[..text.len() * 2 / 3] };
            for packed in [text.to_vec(), gzip(text), zip(&[("a", text), ("b", text)])] {
                let whole = read_all(Cursor::new(&packed), ImportFormat::Csv, &limits);
                let pieces = read_all(Trickle::new(&packed, &sizes), ImportFormat::Csv, &limits);
                prop_assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_bytes_are_split_into_the_same_rows_wherever_they_are_cut() {
    let byte = prop::sample::select(b"\"\"\r\n\n,,ab\0\xc3\xa9\xef\xbb\xbf".to_vec());
    TestRunner::deterministic()
        .run(&(prop::collection::vec(byte, 1..60), any::<bool>()), |(bytes, is_csv)| {
            let format = if is_csv { ImportFormat::Csv } else { ImportFormat::Jsonl };
            let limits = Limits { row_bytes: 12, ..Limits::default() };
            let bytes = [b"h,i\n", &bytes[..]].concat();
            let whole = format!("{:?}", read_all(Cursor::new(&bytes), format, &limits));
            for cut in 1..bytes.len() {
                prop_assert_eq!(&whole, &split_at(&bytes, cut, format, limits), "cut at {}", cut);
            }
            Ok(())
        })
        .unwrap();
}

/// What the splitters make of bytes that come in two blocks, printed.
fn split_at(bytes: &[u8], cut: usize, format: ImportFormat, limits: Limits) -> String {
    let (first, second) = bytes.split_at(cut);
    let mut found = Vec::new();
    let mut error = None;
    let mut csv_rows = csv_rows::CsvRows::new(None, limits);
    let mut line_rows = line_rows::LineRows::new(limits.row_bytes);
    if format == ImportFormat::Jsonl {
        found.push(file(&[]));
    }
    'blocks: for block in [first, second, &[]] {
        let mut left = block;
        loop {
            let step = match (format, block.is_empty()) {
                (ImportFormat::Csv, false) => csv_rows.feed(left),
                (ImportFormat::Csv, true) => csv_rows.finish().map(|found| (0, found)),
                (ImportFormat::Jsonl, false) => Ok(line_rows.feed(left)),
                (ImportFormat::Jsonl, true) => Ok((0, line_rows.finish())),
            };
            match step {
                Ok((taken, item)) => {
                    left = &left[taken..];
                    let is_last = item.is_none();
                    found.extend(item);
                    if left.is_empty() && (is_last || !block.is_empty()) {
                        break;
                    }
                }
                Err(refused) => {
                    error = Some(refused);
                    break 'blocks;
                }
            }
        }
    }
    format!("{:?}", (found, error))
}

#[test]
fn a_damaged_archive_ends_in_good_rows_or_a_refusal_and_always_in_the_same() {
    let text = "code,name\n".to_owned() + &"R-1,Ring\n".repeat(40);
    let archives = [gzip(text.as_bytes()), zip(&[("a.csv", text.as_bytes()), ("b.csv", text.as_bytes())])];
    let good: Vec<_> = archives.iter().map(csv).collect();
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    TestRunner::deterministic()
        .run(&(0..2_usize, damage), |(which, damage)| {
            let mut archive = archives[which].clone();
            for (at, byte) in damage {
                let at = at.index(archive.len());
                archive[at] = byte;
            }
            let read = || read_all(Cursor::new(&archive), ImportFormat::Csv, &Limits::default());
            let (found, error) = read();
            prop_assert_eq!(format!("{error:?}"), format!("{:?}", read().1));
            prop_assert!(!matches!(error, Some(FileError::Source(_))), "nothing is wrong with where it is read from");
            let has_file = |found: &&Found| matches!(found, Found::File { .. });
            if error.is_none() && archive.starts_with(&archives[which][..4]) {
                let rows = |found: &[Found]| found.len() - found.iter().filter(has_file).count();
                prop_assert!(rows(&found) % 40 == 0, "whole files only: {}", rows(&found));
                prop_assert!(rows(&found) <= rows(&good[which]));
            }
            Ok(())
        })
        .unwrap();
}
