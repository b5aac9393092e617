use super::*;

fn lines(bytes: impl AsRef<[u8]>) -> Vec<Found> {
    found_in(bytes.as_ref(), ImportFormat::Jsonl)
}

#[test]
fn every_line_is_a_row_as_it_stands() {
    let found = lines("{\"code\": \"R-1\"}\n {\"n\": 0.10}\r\nnot json");
    assert_eq!(found, [file(&[]), line(1, "{\"code\": \"R-1\"}"), line(2, " {\"n\": 0.10}"), line(3, "not json")]);
}

#[test]
fn blank_lines_count_and_a_byte_order_mark_does_not() {
    let found = lines("\u{feff}{}\n\n \t\r\n{}\n\n");
    assert_eq!(found, [file(&[]), line(1, "{}"), line(4, "{}")]);
    assert_eq!(refused("", ImportFormat::Jsonl).code, "EMPTY_FILE");
}

#[test]
fn a_line_that_is_too_large_not_utf_8_or_has_a_nul_has_a_problem() {
    let limits = Limits { row_bytes: 8, ..Limits::default() };
    let text = b"12345678\r\n123456789\n\xe9\n\"\0\"\n{}";
    let (found, error) = read_all(Cursor::new(text), ImportFormat::Jsonl, &limits);
    assert!(error.is_none());
    let expected =
        [(2, "ROW_TOO_LARGE", "123456789… [cut]"), (3, "INVALID_ENCODING", "\u{fffd}"), (4, "NUL_CHARACTER", "\"\0\"")];
    assert_eq!(problems(&found), expected);
    assert_eq!((&found[1], &found[5]), (&line(1, "12345678"), &line(5, "{}")));
}

#[test]
fn formats_are_named_csv_and_jsonl() {
    let written = serde_json::to_string(&[ImportFormat::Csv, ImportFormat::Jsonl]).unwrap();
    assert_eq!(written, r#"["csv","jsonl"]"#);
}
