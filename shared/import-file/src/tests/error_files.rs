use super::*;

/// What an error file says of every row that came out of `found`.
fn error_file(found: &[Found], columns: &[&str]) -> Vec<u8> {
    let mut file = ErrorFile::new(Vec::new(), &texts(columns), false);
    for found in found {
        let Found::Row { number, content } = found else { continue };
        let (code, message) = match content {
            RowContent::Problem { code, message, .. } => (*code, message.as_str()),
            _ => ("REQUIRED", "name must be given"),
        };
        file.write(FailedRow { file: None, row: *number, content, code, message }).unwrap();
    }
    file.finish().unwrap()
}

#[test]
fn a_failed_row_keeps_its_cells_and_says_where_it_was_and_why_it_failed() {
    let written = error_file(&csv("code,name\nR-1,\"a, \"\"b\"\"\"\nR-2,=1+1\n"), &["code", "name"]);
    let expected = "code,name,import_row,import_code,import_message,import_text\r\n\
                    R-1,\"a, \"\"b\"\"\",2,REQUIRED,name must be given,\r\n\
                    R-2,=1+1,3,REQUIRED,name must be given,\r\n";
    assert_eq!(String::from_utf8(written).unwrap(), expected);
}

#[test]
fn an_error_file_imported_again_has_the_rows_as_they_were() {
    let text = "code,name\nR-1,\"a\r\nb\"\nR-2,Cafe\u{301} 💎\nR-3,\n";
    let again = csv(error_file(&csv(text), &["code", "name"]));
    assert_eq!(again[0], file(&["code", "name"]));
    assert_eq!(again[1..], [row(2, &["R-1", "a\r\nb"]), row(3, &["R-2", "Cafe\u{301} 💎"]), row(4, &["R-3", ""])]);
}

#[test]
fn an_error_file_keeps_columns_without_a_name_and_is_imported_again() {
    let columns = ["", "code", ""];
    let written = error_file(&csv("\"\",code,\n1,R-1,x\n2,R-2\n"), &columns);
    let text = String::from_utf8(written).unwrap();
    assert!(text.starts_with(",code,,import_row,") && text.contains("\r\n1,R-1,x,2,REQUIRED,"), "{text}");
    let again = csv(text.replace("\"2,R-2\"", "\"2,R-2,y\""));
    assert_eq!(again, [file(&columns), row(2, &["1", "R-1", "x"]), row(3, &["2", "R-2", "y"])]);
}

#[test]
fn a_row_that_could_not_be_read_fails_again_until_it_is_mended() {
    let large = "x".repeat(300_000);
    let text = [b"a,b\n1\n2,\xff\n3,\0\n4,".as_slice(), large.as_bytes(), b"\n5,\"6"].concat();
    let found = csv(text);
    let again = csv(error_file(&found, &["a", "b"]));
    let expected = ["WRONG_NUMBER_OF_FIELDS", "INVALID_ENCODING", "NUL_CHARACTER", "ROW_TOO_LARGE", "UNCLOSED_QUOTE"];
    assert_eq!(problems(&found).iter().map(|(_, code, _)| *code).collect::<Vec<_>>(), expected);
    assert_eq!(problems(&again).iter().map(|(_, code, _)| *code).collect::<Vec<_>>(), expected);
}

#[test]
fn a_mended_text_is_the_row() {
    let again = |text: &str| csv(format!("a,b,import_row,import_code,import_message,import_text\n{text}\n"));
    let expected = row(2, &["1", "2, \"3\""]);
    assert_eq!(again("1,\"2, \"\"3\"\"\",7,X,Y,")[1], expected, "in its cells");
    assert_eq!(again(",,7,X,Y,\"1,\"\"2, \"\"\"\"3\"\"\"\"\"\"\"")[1], expected, "in its text");
    let codes = |text: &str| problems(&again(text)).iter().map(|(_, code, _)| *code).collect::<Vec<_>>();
    assert_eq!(codes("1,2,7,X,Y,\"1,2\""), ["AMBIGUOUS_ROW"]);
    assert_eq!(codes(",,7,X,Y,\"1,2\n3,4\""), ["SEVERAL_ROWS"]);
    assert_eq!(codes(",,7,X,Y,\"\n\""), ["MALFORMED_ROW"]);
    assert_eq!(codes(",,7,INVALID_ENCODING,Y,\"1,\u{fffd}\""), ["INVALID_ENCODING"]);
    assert_eq!(again(",,7,UNCLOSED_QUOTE,Y,\"1,\u{fffd}\"")[1], row(2, &["1", "\u{fffd}"]));
}

#[test]
fn exactly_the_added_columns_are_ignored() {
    let found = csv("import_row,code,row,import_file,message,import_rows\n1,R-1,2,f,m,x\n");
    assert_eq!(found, [file(&["code", "row", "message", "import_rows"]), row(2, &["R-1", "2", "m", "x"])]);
    assert_eq!(refused("import_row,import_code\n1,2\n", ImportFormat::Csv).code, "NO_HEADER");
}

#[test]
fn failed_json_lines_are_texts_in_csv_and_come_back_as_objects() {
    let lines = found_in(b"{\"name\": \"a, b\"}\n{\"x\"\n\xff\n", ImportFormat::Jsonl);
    let written = error_file(&lines, &[]);
    let begins = "import_row,import_code,import_message,import_text\r\n\
                  1,REQUIRED,name must be given,\"{\"\"name\"\": \"\"a, b\"\"}\"\r\n";
    assert!(written.starts_with(begins.as_bytes()), "{}", String::from_utf8_lossy(&written));
    let again = csv(written);
    assert_eq!(again[..3], [file(&[]), line(2, "{\"name\": \"a, b\"}"), line(3, "{\"x\"")]);
    assert_eq!(problems(&again), [(4, "INVALID_ENCODING", "\u{fffd}")]);
}

#[test]
fn rows_of_several_files_say_which_one_and_rows_of_other_columns_are_refused() {
    let mut file = ErrorFile::new(Vec::new(), &texts(&["a"]), true);
    let one = RowContent::Fields(texts(&["1"]));
    let two = RowContent::Fields(texts(&["1", "2"]));
    let failed = |content| FailedRow { file: Some("x.csv"), row: 2, content, code: "C", message: "m" };
    file.write(failed(&one)).unwrap();
    let refused = file.write(failed(&two)).unwrap_err();
    assert!(matches!(refused, ErrorFileError::OtherColumns { expected: 1, found: 2 }));
    let written = String::from_utf8(file.finish().unwrap()).unwrap();
    assert_eq!(written, "a,import_row,import_file,import_code,import_message,import_text\r\n1,2,x.csv,C,m,\r\n");
}

#[test]
fn an_error_file_without_rows_is_its_header() {
    let written = ErrorFile::new(Vec::new(), &texts(&["a"]), false).finish().unwrap();
    assert_eq!(written, b"a,import_row,import_code,import_message,import_text\r\n");
}
