use super::*;

#[test]
fn the_first_row_names_the_columns_and_every_other_one_has_their_cells() {
    let found = csv("code,name\nR-1,Ring\nR-2,\n");
    assert_eq!(found, [file(&["code", "name"]), row(2, &["R-1", "Ring"]), row(3, &["R-2", ""])]);
}

#[test]
fn lines_end_with_crlf_lf_or_cr_and_the_last_one_may_have_no_end() {
    let expected = [file(&["a", "b"]), row(2, &["1", "2"]), row(3, &["3", "4"])];
    for end in ["\r\n", "\n", "\r"] {
        for last in [end, ""] {
            assert_eq!(csv(format!("a,b{end}1,2{end}3,4{last}")), expected, "{end:?} {last:?}");
        }
    }
}

#[test]
fn a_quoted_cell_holds_commas_quotes_and_line_breaks() {
    let found = csv("a,b\r\n\"1,5\",\"say \"\"hi\"\"\"\r\n\"x\r\ny\n\",\"\"\r\nlast,5\" pipe\r\n");
    let expected =
        [file(&["a", "b"]), row(2, &["1,5", "say \"hi\""]), row(3, &["x\r\ny\n", ""]), row(4, &["last", "5\" pipe"])];
    assert_eq!(found, expected);
}

#[test]
fn blank_lines_are_rows_of_a_spreadsheet_and_none_of_the_import() {
    for end in ["\r\n", "\n", "\r"] {
        let found = csv(["", "a,b", "", "1,2", "", "", "3,4", ""].join(end));
        assert_eq!(found, [file(&["a", "b"]), row(4, &["1", "2"]), row(7, &["3", "4"])], "{end:?}");
    }
}

#[test]
fn a_line_of_commas_is_a_row() {
    assert_eq!(csv("a,b\n,\n1,2\n")[1..], [row(2, &["", ""]), row(3, &["1", "2"])]);
}

#[test]
fn a_header_is_trimmed_and_cells_are_not() {
    assert_eq!(csv(" a ,\"b\t\"\n 1 , 2"), [file(&["a", "b"]), row(2, &[" 1 ", " 2"])]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_column() {
    assert_eq!(csv("\u{feff}a\n1\n"), [file(&["a"]), row(2, &["1"])]);
    assert_eq!(csv("\u{feff}\"a,b\"\n1\n"), [file(&["a,b"]), row(2, &["1"])]);
    assert_eq!(csv("\u{feff}\u{feff}a\n1\n")[0], file(&["\u{feff}a"]), "one of them");
    assert_eq!(csv("a\n\u{feff}1\n")[1], row(2, &["\u{feff}1"]), "elsewhere it is a character");
}

#[test]
fn columns_without_a_name_have_cells_unless_no_column_has_a_name() {
    let found = csv("\"\",b, \n1,2,3\n");
    assert_eq!(found, [file(&["", "b", ""]), row(2, &["1", "2", "3"])]);
    for (header, empty) in [("\"\"", "1"), (", ", "1, 2"), (",import_row,import_text,", "1, 4")] {
        let problem = refused(format!("{header}\n1\n"), ImportFormat::Csv);
        let expected = format!("The header has no name for column {empty}.");
        assert_eq!((problem.code, problem.message), ("EMPTY_COLUMN_NAME", expected), "{header}");
    }
}

#[test]
fn a_single_column_with_semicolons_or_tabs_in_its_name_is_a_table_with_the_wrong_separator() {
    for (header, separator) in [
        ("code;name", "semicolons"),
        ("\"code\";\"name\"", "semicolons"),
        ("code\tname;size", "semicolons"),
        ("code\tname", "tabs"),
        ("\"\"\t\"code\"", "tabs"),
    ] {
        let problem = refused(format!("{header}\n1;2\n"), ImportFormat::Csv);
        let expected =
            format!("The header is a single column with {separator} in it; columns are to be separated by commas.");
        assert_eq!((problem.code, problem.message), ("WRONG_SEPARATOR", expected), "{header}");
    }
    assert_eq!(csv("No;Article,name\n1,2\n"), [file(&["No;Article", "name"]), row(2, &["1", "2"])]);
    assert_eq!(csv("name\t\nRing\n"), [file(&["name"]), row(2, &["Ring"])], "a blank at the end");
}

#[test]
fn a_repeated_column_name_is_refused_by_name() {
    let problem = refused("a,b, a,b\n", ImportFormat::Csv);
    assert_eq!(problem.code, "DUPLICATE_COLUMN_NAME");
    assert_eq!(problem.message, "The header has more than one column \"a\", \"b\".");
}

#[test]
fn a_file_without_content_or_without_a_header_is_refused() {
    for empty in ["", "\u{feff}"] {
        assert_eq!(refused(empty, ImportFormat::Csv).code, "EMPTY_FILE");
    }
    assert_eq!(refused("\n\r\n\n", ImportFormat::Csv).code, "NO_HEADER");
    assert_eq!(refused("\"a,b\n1,2\n", ImportFormat::Csv).code, "NO_HEADER");
    assert_eq!(csv("a,b"), [file(&["a", "b"])], "a header alone is a file without rows");
}

#[test]
fn a_header_that_is_too_large_or_not_text_is_refused() {
    let large = format!("a,{}\n1,2\n", "b".repeat(16 << 10));
    assert_eq!(refused(large, ImportFormat::Csv).code, "HEADER_TOO_LARGE");
    for header in [&b"a,\xe9\n"[..], b"a,\0\n", b"\xff\xfea\0", b"\xfe\xff\0a", b"\xff\xfe\0\0a\0\0\0"] {
        assert_eq!(refused(header, ImportFormat::Csv).code, "UNSUPPORTED_ENCODING", "{header:?}");
    }
}

#[test]
fn a_row_with_more_or_fewer_cells_than_the_header_has_a_problem() {
    let found = csv("a,b\n1\n1,2\n1,2,\"3\"\n");
    assert_eq!(problems(&found), [(2, "WRONG_NUMBER_OF_FIELDS", "1"), (4, "WRONG_NUMBER_OF_FIELDS", "1,2,\"3\"")]);
    let Found::Row { content: RowContent::Problem { message, .. }, .. } = &found[3] else { panic!("{found:?}") };
    assert_eq!(message, "has 3 fields, where the header has 2");
    assert_eq!(found[2], row(3, &["1", "2"]));
}

#[test]
fn a_row_that_is_not_utf_8_or_has_a_nul_has_a_problem_and_its_neighbours_none() {
    let found = csv(b"a,b\n1,2\nK\xf6ln,x\nx\0,y\n\xc3,\xa9\n3,4\n");
    let expected = [
        (3, "INVALID_ENCODING", "K\u{fffd}ln,x"),
        (4, "NUL_CHARACTER", "x\0,y"),
        (5, "INVALID_ENCODING", "\u{fffd},\u{fffd}"),
    ];
    assert_eq!(problems(&found), expected);
    assert_eq!((&found[1], &found[5]), (&row(2, &["1", "2"]), &row(6, &["3", "4"])));
}

#[test]
fn a_row_may_be_as_large_as_the_limit_and_not_a_byte_larger() {
    let limits = Limits { row_bytes: 10, ..Limits::default() };
    for end in ["\r\n", "\n", "\r", ""] {
        let text = format!("a,b\n12345,6789{end}");
        let (found, _) = read_all(Cursor::new(text.as_bytes()), ImportFormat::Csv, &limits);
        assert_eq!(found[1..], [row(2, &["12345", "6789"])], "{end:?}");
        let text = format!("a,b\n12345,67890{end}{}1,2", if end.is_empty() { "\n" } else { "" });
        let (found, _) = read_all(Cursor::new(text.as_bytes()), ImportFormat::Csv, &limits);
        assert_eq!(problems(&found), [(2, "ROW_TOO_LARGE", "12345,67890… [cut]")], "{end:?}");
        assert_eq!(found[2], row(3, &["1", "2"]));
    }
}

#[test]
fn an_unclosed_quote_is_a_problem_of_the_row_that_opens_it() {
    let found = csv("a,b\n1,2\n3,\"4\n5,6\n");
    assert_eq!(found[1], row(2, &["1", "2"]));
    assert_eq!(problems(&found), [(3, "UNCLOSED_QUOTE", "3,\"4\n5,6")]);
    assert_eq!(csv("a,b\n3,\"4\"")[1], row(2, &["3", "4"]), "closed by the last character");
    let long = csv(format!("a,b\n3,\"{}", "x\n".repeat(200 << 10)));
    assert_eq!(problems(&long).iter().map(|(row, code, _)| (*row, *code)).collect::<Vec<_>>(), [(2, "UNCLOSED_QUOTE")]);
}

#[test]
fn formulas_and_every_kind_of_character_come_through_byte_for_byte() {
    let cells = [
        "=SUM(A1:A9)",
        "+1",
        "@x",
        "-2+3",
        "Cafe\u{301}",
        "Caf\u{e9}",
        "指輪 💎",
        "👩‍👩‍👧",
        "\u{202e}txt",
        "a\u{7f}\u{1}b",
    ];
    let columns: Vec<_> = (0..cells.len()).map(|at| at.to_string()).collect();
    let found = csv(format!("{}\n{}\n", columns.join(","), cells.join(",")));
    assert_eq!(found[1], row(2, &cells));
}
