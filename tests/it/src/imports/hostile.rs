//! A file with everything in it that a file can have, through the functions.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use ledgerline_kernel::{ImportKey, ImportState};

use super::kills::completed;
use super::site::{Site, deliver, rows_queue, split, worker};
use super::{announce, counts, scale};

const VISIBILITY: Duration = Duration::from_secs(60);

/// What is in the column of names, and survives unchanged.
const NAMES: [&str; 6] =
    ["=HYPERLINK(\"http://example.com\")", "+1-555", "@SUM(A1)", "指輪 💍", "e\u{301}clair", "مرحبا"];

/// What is wrong with a row, as bytes behind its key and code, and the code that it is reported with.
const BAD: [(&[u8], &str); 7] = [
    (b"NUL \0 in a name,rings,1.00\n", "NUL_CHARACTER"),
    (b"latin-1 \xe9,rings,1.00\n", "INVALID_ENCODING"),
    (b"one field too many,rings,1.00,\n", "WRONG_NUMBER_OF_FIELDS"),
    (b"one too few\n", "WRONG_NUMBER_OF_FIELDS"),
    (b"no price,rings,cheap\n", "VALIDATION_ERROR"),
    (b",rings,1.00\n", "VALIDATION_ERROR"),
    (b"", "ROW_TOO_LARGE"),
];

/// Rows of a message.
const MESSAGE_ROWS: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hostile_file_every_bad_row_is_reported_and_every_good_row_imported_as_it_is() {
    let Some(site) = Site::start(VISIBILITY, 5).await else { return };
    let (config, good) = (site.config(), scale(20_000));
    let mut file = b"\xef\xbb\xbfsk,code,name,category,price\r\n".to_vec();
    let mut expected = BTreeMap::new();
    // One percent of the rows is bad.
    for number in 0..good {
        if number % 100 == 50 {
            let (bytes, code) = BAD[number / 100 % BAD.len()];
            // Numbered as a spreadsheet does: the header is the first.
            expected.insert(2 + number as u64 + expected.len() as u64, code);
            file.extend_from_slice(format!("bad-{number},B-{number},").as_bytes());
            match bytes {
                b"" => file.extend_from_slice(&[vec![b'x'; 10_000_000], b",rings,1.00\n".to_vec()].concat()),
                bytes => file.extend_from_slice(bytes),
            }
        }
        let name = NAMES[number % NAMES.len()].replace('"', "\"\"");
        let end = if number % 2 == 0 { "\r\n" } else { "\n" };
        file.extend_from_slice(format!("p-{number},P-{number},\"{name}\",rings,{number}.50{end}").as_bytes());
    }
    let bad = expected.len() as u64;
    let import = site.upload("acme", file).await;
    let mapping = deliver(Arc::new(rows_queue(&config).await), Arc::new(worker(&config).await), VISIBILITY);
    split(&config, &import, MESSAGE_ROWS).await.unwrap();
    assert_eq!(completed(&site, &import).await, counts(good as u64, 0, 0, bad));
    mapping.stop().await;
    assert_eq!(failed(&site, &import).await, expected.iter().map(|(row, code)| (*row, (*code).to_owned())).collect());
    for (number, name) in names(&site).await {
        assert_eq!(name, NAMES[number % NAMES.len()], "p-{number}");
    }
    site.assert_sound(good, good).await;
    announce("a hostile file", &format!("{good} good rows imported, each of {bad} bad ones reported"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_table_fails_as_a_whole_and_leaves_nothing_behind() {
    let Some(site) = Site::start(VISIBILITY, 5).await else { return };
    let config = site.config();
    let mut bomb = GzEncoder::new(b"".to_vec(), Compression::best());
    bomb.write_all(b"sk,code,name\n").unwrap();
    (0..64).for_each(|_| bomb.write_all(&vec![b'0'; 1 << 20]).unwrap());
    let files = [
        (bomb.finish().unwrap(), "SUSPICIOUS_COMPRESSION"),
        (b"\x1f\x8bnothing that was compressed".to_vec(), "MALFORMED_ARCHIVE"),
        (b"PK\x03\x04".to_vec(), "MALFORMED_ARCHIVE"),
        (b"".to_vec(), "EMPTY_FILE"),
    ];
    for (file, code) in files {
        let import = site.upload("acme", file).await;
        split(&config, &import, MESSAGE_ROWS).await.unwrap();
        let status = site.status(&import).await;
        let failure = status.job.failure.map(|failure| failure.code).unwrap_or_default();
        assert_eq!((status.job.state, failure.as_str()), (ImportState::Failed, code));
    }
    site.assert_sound(0, 0).await;
}

/// The rows that were not accepted, with the code of each.
async fn failed(site: &Site, import: &ImportKey) -> BTreeMap<u64, String> {
    let (mut failed, mut after) = (BTreeMap::new(), None);
    loop {
        let (errors, next) = site.imports().errors(import, after).await.unwrap();
        failed.extend(errors.into_iter().flat_map(|errors| errors.rows).map(|row| (row.row, row.code)));
        after = next;
        if after.is_none() {
            return failed;
        }
    }
}

/// The names of the products `p-0`, `p-1` and so on, as lists show them.
async fn names(site: &Site) -> BTreeMap<usize, String> {
    let rows = sqlx::query_as::<_, (String, String)>("SELECT sk, name FROM product").fetch_all(site.views.pool());
    let number = |sk: &str| sk.trim_start_matches("p-").parse().unwrap();
    rows.await.unwrap().into_iter().map(|(sk, name)| (number(&sk), name)).collect()
}
