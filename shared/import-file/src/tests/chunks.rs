use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

fn chunks(found: Vec<Found>, max_bytes: usize, max_rows: usize) -> Vec<Chunk> {
    let limits = ChunkLimits { max_bytes, max_rows };
    let mut chunker = Chunker::new("acme".parse().unwrap(), "01J".to_owned(), limits);
    let mut chunks: Vec<_> = found.into_iter().filter_map(|found| chunker.add(found)).collect();
    chunks.extend(chunker.finish());
    chunks
}

fn json(chunk: &Chunk) -> String {
    serde_json::to_string(chunk).unwrap()
}

#[test]
fn a_message_is_written_as_documented_and_read_back() {
    let found = vec![
        named_file(Some("part-1.csv"), &["code", "name"]),
        row(2, &["R-1", "Ring"]),
        line(3, "{\"code\": 1}"),
        Found::Row { number: 4, content: RowContent::problem("R-2,\u{fffd}", "INVALID_ENCODING", "is not UTF-8") },
    ];
    let packed = chunks(found, 1 << 20, 500);
    let expected = r#"{"tenant":"acme","import":"01J","chunk":0,"file":"part-1.csv","columns":["code","name"],"rows":[{"row":2,"fields":["R-1","Ring"]},{"row":3,"text":"{\"code\": 1}"},{"row":4,"text":"R-2,�","problem":{"code":"INVALID_ENCODING","message":"is not UTF-8"}}]}"#;
    assert_eq!(packed.iter().map(json).collect::<Vec<_>>(), [expected]);
    assert_eq!(serde_json::from_str::<Chunk>(expected).unwrap(), packed[0]);
}

#[test]
fn a_message_that_is_none_is_refused_and_a_code_of_newer_code_is_not() {
    let read = |row: &str| {
        let json = format!(r#"{{"tenant":"acme","import":"i","chunk":0,"rows":[{row}]}}"#);
        serde_json::from_str::<Chunk>(&json).map(|mut chunk| chunk.rows.remove(0).content)
    };
    for row in [r#"{"row":1}"#, r#"{"row":1,"fields":[],"text":"x"}"#, r#"{"fields":[]}"#] {
        assert!(read(row).is_err(), "{row}");
    }
    let newer = read(r#"{"row":1,"text":"x","problem":{"code":"NEWER","message":"m"}}"#).unwrap();
    assert_eq!(newer, RowContent::problem("x", "MALFORMED_ROW", "m"));
    for code in RowContent::CODES {
        let row = format!(r#"{{"row":1,"text":"x","problem":{{"code":"{code}","message":"m"}}}}"#);
        assert_eq!(read(&row).unwrap(), RowContent::problem("x", code, "m"));
    }
}

#[test]
fn a_chunk_has_so_many_rows_and_those_of_one_file() {
    let mut found = vec![named_file(Some("a"), &["x"])];
    found.extend((2..7).map(|number| row(number, &["1"])));
    found.extend([named_file(Some("empty"), &["z"]), named_file(Some("b"), &["y"]), row(2, &["1"])]);
    let packed = chunks(found, 1 << 20, 2);
    let shape: Vec<_> = packed.iter().map(|chunk| (chunk.chunk, chunk.file.as_deref(), chunk.rows.len())).collect();
    assert_eq!(shape, [(0, Some("a"), 2), (1, Some("a"), 2), (2, Some("a"), 1), (3, Some("b"), 1)]);
    assert_eq!(packed[3].columns, ["y"]);
}

#[test]
fn a_file_without_rows_has_no_chunk() {
    assert!(chunks(vec![file(&["x"])], 1 << 20, 2).is_empty());
}

#[test]
fn a_row_that_fits_into_no_chunk_is_a_problem_in_one() {
    let large = "\u{1}".repeat(2000);
    let found = vec![file(&["x"]), row(2, &["1"]), row(3, &[&large]), line(4, &large), row(5, &["2"])];
    let packed = chunks(found, 9000, 500);
    let rows: Vec<_> = packed.iter().flat_map(|chunk| &chunk.rows).collect();
    assert_eq!(rows.iter().map(|row| row.row).collect::<Vec<_>>(), [2, 3, 4, 5]);
    for row in &rows[1..3] {
        let RowContent::Problem { code, text, .. } = &row.content else { panic!("{row:?}") };
        assert_eq!((*code, text.as_str()), ("ROW_TOO_LARGE", "… [cut]"));
    }
    let kept = RowContent::problem(large, "NUL_CHARACTER", "holds a NUL character");
    let packed = chunks(vec![file(&["x"]), Found::Row { number: 2, content: kept }], 9000, 500);
    let shortened = RowContent::problem("… [cut]", "NUL_CHARACTER", "holds a NUL character");
    assert_eq!(packed[0].rows[0].content, shortened);
}

fn content() -> impl Strategy<Value = RowContent> {
    let hostile =
        prop::sample::select(vec!['"', '\\', '/', '\u{8}', '\u{c}', '\n', '\u{1f}', '\u{7f}', '\u{2028}', '💎', 'a']);
    let text = prop::collection::vec(prop_oneof![hostile, any::<char>()], 0..30).prop_map(String::from_iter);
    prop_oneof![
        prop::collection::vec(text.clone(), 0..4).prop_map(RowContent::Fields),
        text.clone().prop_map(RowContent::Text),
        (text.clone(), text, prop::sample::select(RowContent::CODES.to_vec()))
            .prop_map(|(text, message, code)| RowContent::problem(text, code, message)),
    ]
}

#[test]
fn chunks_hold_every_row_once_in_order_and_are_as_full_as_their_exact_size_allows() {
    let rows = prop::collection::vec((1..u64::MAX, content()), 1..60);
    TestRunner::deterministic()
        .run(&(rows, 700..2000_usize), |(rows, max_bytes)| {
            let mut found = vec![named_file(Some("a \"b\""), &["x", "\u{1}"])];
            found.extend(rows.iter().map(|(number, content)| Found::Row { number: *number, content: content.clone() }));
            let packed = chunks(found.clone(), max_bytes, 500);
            prop_assert_eq!(&packed, &chunks(found, max_bytes, 500));
            let unpacked: Vec<_> =
                packed.iter().flat_map(|chunk| &chunk.rows).map(|row| (row.row, row.content.clone())).collect();
            prop_assert_eq!(unpacked, rows);
            prop_assert_eq!(
                packed.iter().map(|chunk| chunk.chunk).collect::<Vec<_>>(),
                (0..packed.len() as u64).collect::<Vec<_>>()
            );
            for pair in packed.windows(2) {
                prop_assert!(json(&pair[0]).len() <= max_bytes);
                let mut fuller = pair[0].clone();
                fuller.rows.push(pair[1].rows[0].clone());
                prop_assert!(json(&fuller).len() > max_bytes, "one more row would have fitted");
            }
            prop_assert!(packed.iter().all(|chunk| json(chunk).len() <= max_bytes));
            Ok(())
        })
        .unwrap();
}
