//! The contract of imports and what became of their rows: [`ImportJobs`], [`LedgerLookup`], and
//! [`LedgerWrite`] as far as outcomes go.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a store that fails fails the test")]

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use ledgerline_kernel::ports::{CommitError, ImportJobs, LedgerAudit, LedgerLookup, LedgerRead, LedgerWrite};
use ledgerline_kernel::{
    Claim, ClaimChange, Commit, FailedRow, ImportCounts, ImportFailure, ImportFormat, ImportJob, ImportKey, ImportMode,
    ImportState, ImportTotals, ImportedRows, RowContent, SplitProgress, Stamp, VersionItem, VersionedKey,
};
use serde_json::json;

use super::claims::code;
use super::commits::first;
use super::ledger::of_tenant;
use crate::{append, fork_of, noon, note_key};

/// An import of this tenant, the `number`-th of all.
fn key(tenant: &str, number: u32) -> ImportKey {
    ImportKey { tenant: tenant.parse().unwrap(), id: format!("01KAGZ6Q3V8X4T5N7M9P0{number:05}").parse().unwrap() }
}

fn job(key: ImportKey) -> ImportJob {
    ImportJob {
        key,
        resource: "notes".to_owned(),
        format: ImportFormat::Csv,
        mode: ImportMode::Upsert,
        mapping: json!({"fields": {"name": "Prodüct", "attributes.ratio": {"constant": 0.5}, "é": [null, true]}}),
        state: ImportState::AwaitingUpload,
        source_etag: None,
        created: Stamp { at: noon(), by: "ann".to_owned(), ip: "192.0.2.7".to_owned() },
        started_at: None,
        updated_at: noon(),
        revision: 1,
        split: SplitProgress::default(),
        failure: None,
        counts: None,
        expires_at: "2026-04-01T12:00:00Z".parse().unwrap(),
    }
}

/// What became of `rows` rows from `first` on: all of them are unchanged.
fn outcome(import: &ImportKey, chunk: u32, first: u32, rows: u32) -> ImportedRows {
    ImportedRows {
        import: import.clone(),
        chunk,
        first,
        rows,
        counts: ImportCounts { unchanged: rows.into(), ..ImportCounts::default() },
        file: None,
        columns: Vec::new(),
        failures: Vec::new(),
        written: Vec::new(),
        shown: true,
        command_id: format!("command {chunk}.{first}"),
        at: noon(),
        expires_at: "2026-04-01T12:00:00Z".parse().unwrap(),
    }
}

fn failed(row: u64, content: RowContent) -> FailedRow {
    let path = row.is_multiple_of(2).then(|| "attributes.price".to_owned());
    FailedRow { row, content, code: "VALIDATION_ERROR".to_owned(), message: "must be \"é\"".to_owned(), path }
}

/// As full as an outcome can be.
fn full_outcome(import: &ImportKey, item: &VersionItem) -> ImportedRows {
    ImportedRows {
        rows: 3,
        counts: ImportCounts { created: 1, failed: 2, ..ImportCounts::default() },
        file: Some("part-1.csv".to_owned()),
        columns: vec!["code".to_owned(), String::new()],
        failures: vec![
            failed(2, RowContent::Fields(vec!["R-1".to_owned(), String::new(), "𝄞".to_owned()])),
            failed(3, RowContent::Text("{\"code\": \u{fffd}}".to_owned())),
        ],
        written: vec![VersionedKey { sk: item.key.sk.clone(), version: item.version }],
        shown: false,
        command_id: item.command_id.clone(),
        ..outcome(import, 7, 45, 3)
    }
}

fn commit_of(rows: ImportedRows) -> Commit {
    Commit { imported: Some(rows), ..Commit::default() }
}

/// Creating it again is a success, as after a lost answer; another one with its key is not created.
pub async fn an_import_is_created_once_and_read_back_in_full(imports: &impl ImportJobs) {
    let plain = job(key("acme", 1));
    let full = ImportJob {
        state: ImportState::Failed,
        source_etag: Some("0cc175b9".to_owned()),
        started_at: Some(noon()),
        split: SplitProgress { chunks: 12, rows: 50_000_000_000, whole: true },
        failure: Some(ImportFailure { code: "BAD".to_owned(), message: "no \"é\"".to_owned() }),
        counts: Some(ImportCounts { created: 1, updated: 2, unchanged: 3, failed: 4 }),
        mapping: serde_json::Value::Null,
        mode: ImportMode::Create,
        format: ImportFormat::Jsonl,
        ..job(key("acme", 2))
    };
    assert_eq!(imports.get(&plain.key).await, Ok(None));
    for job in [&plain, &full] {
        assert_eq!(imports.create(job).await, Ok(true));
        assert_eq!(imports.create(job).await, Ok(true), "our own");
        assert_eq!(imports.get(&job.key).await, Ok(Some(job.clone())));
    }
    let other = ImportJob { resource: "others".to_owned(), ..plain.clone() };
    assert_eq!(imports.create(&other).await, Ok(false));
    assert_eq!(imports.get(&plain.key).await, Ok(Some(plain)));
}

/// Page by page, without gap or repeat.
pub async fn a_tenants_imports_are_listed_newest_first_and_nobody_elses(imports: &impl ImportJobs) {
    for number in [3, 1, 5, 2, 4] {
        imports.create(&job(key("acme", number))).await.unwrap();
    }
    imports.create(&job(key("acme-2", 6))).await.unwrap();
    let acme = key("acme", 1).tenant;
    let ids = |jobs: Vec<ImportJob>| jobs.into_iter().map(|job| job.key).collect::<Vec<_>>();
    let listed = ids(imports.list(&acme, None, 2).await.unwrap());
    assert_eq!(listed, [key("acme", 5), key("acme", 4)]);
    let listed = ids(imports.list(&acme, Some(&key("acme", 4).id), 10).await.unwrap());
    assert_eq!(listed, [3, 2, 1].map(|number| key("acme", number)));
    assert_eq!(imports.list(&acme, Some(&key("acme", 1).id), 10).await, Ok(vec![]));
    assert_eq!(imports.list(&acme, None, 0).await, Ok(vec![]));
}

/// Whoever changes an import names the revision that it has seen; the same change twice is one.
pub async fn an_import_is_replaced_only_by_who_has_seen_its_revision(imports: &impl ImportJobs) {
    let one = job(key("acme", 1));
    let two = ImportJob { revision: 2, state: ImportState::Splitting, ..one.clone() };
    assert_eq!(imports.replace(&two).await, Ok(false), "there is none");
    imports.create(&one).await.unwrap();
    assert_eq!(imports.replace(&two).await, Ok(true));
    assert_eq!(imports.replace(&two).await, Ok(true), "our own");
    let late = ImportJob { state: ImportState::Cancelled, ..two.clone() };
    assert_eq!(imports.replace(&late).await, Ok(false));
    let early = ImportJob { revision: 4, ..late };
    assert_eq!(imports.replace(&early).await, Ok(false));
    assert_eq!(imports.get(&one.key).await, Ok(Some(two)));
}

/// Of several that have seen the same revision.
pub async fn of_concurrent_changes_of_an_import_exactly_one_is_made(imports: &impl ImportJobs) {
    let one = job(key("acme", 1));
    imports.create(&one).await.unwrap();
    let with = |chunks| SplitProgress { chunks, rows: 1, whole: false };
    let changes: Vec<_> = (0..8).map(|chunks| ImportJob { revision: 2, split: with(chunks), ..one.clone() }).collect();
    let made = join_all(changes.iter().map(|change| imports.replace(change))).await;
    let winners: Vec<_> = changes.iter().zip(&made).filter(|(_, made)| **made == Ok(true)).collect();
    let [(winner, _)] = winners.try_into().unwrap();
    assert_eq!(imports.get(&one.key).await, Ok(Some(winner.clone())));
}

/// An outcome is there if and only if what it tells of is.
pub async fn an_outcome_is_written_with_what_it_tells_of_or_not_at_all(
    ledger: &(impl ImportJobs + LedgerRead + LedgerWrite),
) {
    let (import, theirs, ours) = (key("acme", 1), first("theirs"), first("ours"));
    append(ledger, &theirs).await.unwrap();
    let rows = full_outcome(&import, &ours);
    let versions = vec![ours.clone(), fork_of(&theirs)];
    let refused = Commit { versions, imported: Some(rows.clone()), ..Commit::default() };
    assert_eq!(ledger.commit(&refused, noon()).await, Err(CommitError::Occupied(Box::new(theirs))));
    assert_eq!(ledger.outcomes_of(&import, 7).await, Ok(vec![]));
    let sound = Commit { imported: Some(rows.clone()), ..Commit::of(ours.clone()) };
    assert_eq!(sound.operations(), 2);
    assert_eq!(ledger.commit(&sound, noon()).await, Ok(()));
    assert_eq!(ledger.outcomes_of(&import, 7).await, Ok(vec![rows]));
    assert_eq!(ledger.newest(&ours.key).await, Ok(Some(ours)));
}

/// Rows that led to nothing.
pub async fn an_outcome_by_itself_is_written_once(ledger: &(impl ImportJobs + LedgerWrite)) {
    let import = key("acme", 1);
    let rows = outcome(&import, 0, 0, 9);
    let late = ImportedRows { command_id: "late".to_owned(), rows: 10, ..rows.clone() };
    assert_eq!(ledger.commit(&commit_of(rows.clone()), noon()).await, Ok(()));
    assert_eq!(ledger.commit(&commit_of(rows.clone()), noon()).await, Ok(()), "our own");
    let there = CommitError::Imported(Box::new(rows.clone()));
    assert_eq!(ledger.commit(&commit_of(late), noon()).await, Err(there));
    assert_eq!(ledger.outcomes_of(&import, 0).await, Ok(vec![rows]));
}

/// Before a version, a claim or a used key, and nothing is written.
pub async fn a_taken_place_is_reported_before_anything_else(ledger: &(impl ImportJobs + LedgerRead + LedgerWrite)) {
    let (import, theirs, new) = (key("acme", 1), first("theirs"), first("new"));
    let rows = ImportedRows { command_id: theirs.command_id.clone(), ..outcome(&import, 0, 0, 1) };
    let held = Commit {
        claims: vec![ClaimChange::Take(code("HELD"), theirs.key.clone())],
        imported: Some(rows.clone()),
        ..Commit::of(theirs.clone())
    };
    ledger.commit(&held, noon()).await.unwrap();
    let ours = ImportedRows { command_id: "ours".to_owned(), ..rows.clone() };
    let late = Commit {
        versions: vec![new.clone(), fork_of(&theirs)],
        claims: vec![ClaimChange::Take(code("HELD"), new.key.clone())],
        imported: Some(ours),
        ..Commit::default()
    };
    assert_eq!(ledger.commit(&late, noon()).await, Err(CommitError::Imported(Box::new(rows))));
    assert_eq!(ledger.newest(&new.key).await, Ok(None));
}

/// Also where only some of it would have shown that it was written.
pub async fn the_lost_answer_of_an_outcome_is_a_success(ledger: &(impl ImportJobs + LedgerRead + LedgerWrite)) {
    let (import, item) = (key("acme", 1), first("a"));
    let commit = Commit {
        claims: vec![ClaimChange::Take(code("A"), item.key.clone())],
        imported: Some(full_outcome(&import, &item)),
        ..Commit::of(item.clone())
    };
    for now in ["2026-01-01T12:00:00Z", "2026-01-01T12:00:01Z"] {
        assert_eq!(ledger.commit(&commit, now.parse().unwrap()).await, Ok(()), "{now}");
    }
    assert_eq!(ledger.history(&item.key, None, 9).await, Ok(vec![item]));
}

/// Another chunk's, and another import's, are others.
pub async fn the_outcomes_of_a_chunk_come_in_the_order_of_its_rows(ledger: &(impl ImportJobs + LedgerWrite)) {
    let import = key("acme", 1);
    let own = [0, 9, 10, 100, 2_000_000_000].map(|first| outcome(&import, 1, first, 1));
    let others = [outcome(&import, 0, 5, 1), outcome(&import, 10, 5, 1), outcome(&key("acme", 2), 1, 5, 1)];
    for rows in own.iter().rev().chain(&others) {
        ledger.commit(&commit_of(rows.clone()), noon()).await.unwrap();
    }
    assert_eq!(ledger.outcomes_of(&import, 1).await, Ok(own.to_vec()));
    assert_eq!(ledger.outcomes_of(&import, 2).await, Ok(vec![]));
}

/// More than a page of them, each once.
pub async fn outcomes_are_read_page_by_page_and_added_up(ledger: &(impl ImportJobs + LedgerWrite)) {
    let import = key("acme", 1);
    assert_eq!(ledger.outcomes(&import, None).await, Ok((vec![], None)));
    assert_eq!(ledger.totals(&import).await, Ok(ImportTotals::default()));
    let mut expected = Vec::new();
    for (chunk, first) in [(0, 0), (0, 3), (1, 0), (2, 0), (2, 3), (2, 6), (9, 0), (10, 0)] {
        let failures = vec![failed(3, RowContent::Text("x".repeat(200_000)))];
        let counts = ImportCounts { created: 1, updated: 1, unchanged: 0, failed: 1 };
        expected.push(ImportedRows { failures, counts, shown: chunk > 1, ..outcome(&import, chunk, first, 3) });
    }
    for rows in expected.iter().chain([&outcome(&key("acme", 2), 0, 0, 5)]) {
        ledger.commit(&commit_of(rows.clone()), noon()).await.unwrap();
    }
    let (mut met, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let (page, next) = ledger.outcomes(&import, after).await.unwrap();
        met.extend(page);
        pages += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert!(pages > 1, "they do not fit on one page");
    assert!(met == expected, "each came once, in order");
    let counts = ImportCounts { created: 8, updated: 8, unchanged: 0, failed: 8 };
    assert_eq!(ledger.totals(&import).await, Ok(ImportTotals { counts, unshown: 3 }));
}

/// As often as one likes; where there is no outcome, none comes into being.
pub async fn what_is_shown_is_marked_and_forgotten(ledger: &(impl ImportJobs + LedgerWrite)) {
    let (import, item) = (key("acme", 1), first("a"));
    let rows = full_outcome(&import, &item);
    ledger.commit(&Commit { imported: Some(rows.clone()), ..Commit::of(item) }, noon()).await.unwrap();
    assert_eq!(ledger.totals(&import).await.unwrap().unshown, 1);
    for _ in 0..2 {
        assert_eq!(ledger.mark_shown(&import, (rows.chunk, rows.first)).await, Ok(()));
    }
    assert_eq!(ledger.mark_shown(&import, (rows.chunk, 0)).await, Ok(()));
    let shown = ImportedRows { shown: true, written: vec![], ..rows };
    assert_eq!(ledger.outcomes_of(&import, 7).await, Ok(vec![shown]));
    assert_eq!(ledger.totals(&import).await.unwrap().unshown, 0);
}

/// With its size, and nothing of the commit is written.
pub async fn an_outcome_that_is_too_large_is_refused(ledger: &(impl ImportJobs + LedgerRead + LedgerWrite)) {
    let (import, item) = (key("acme", 1), first("a"));
    let failures = vec![failed(2, RowContent::Text("x".repeat(410_000)))];
    let rows = ImportedRows { failures, ..full_outcome(&import, &item) };
    let commit = Commit { imported: Some(rows), ..Commit::of(item.clone()) };
    let refused = ledger.commit(&commit, noon()).await;
    assert!(matches!(refused, Err(CommitError::TooLarge { limit: 409_600, .. })), "{refused:?}");
    assert_eq!(ledger.newest(&item.key).await, Ok(None));
    assert_eq!(ledger.outcomes_of(&import, 7).await, Ok(vec![]));
}

/// They come and go, and are nothing that an audit could check.
pub async fn an_audit_leaves_out_what_is_kept_of_imports(ledger: &(impl ImportJobs + LedgerAudit + LedgerWrite)) {
    let import = key("acme", 1);
    ledger.create(&job(import.clone())).await.unwrap();
    ledger.commit(&commit_of(outcome(&import, 0, 0, 1)), noon()).await.unwrap();
    assert_eq!(ledger.rows(None).await, Ok((vec![], None)));
}

/// More than one request takes, asked for twice or not, and whatever the values hold.
pub async fn holders_of_many_values_are_found_at_once(ledger: &(impl LedgerLookup + LedgerWrite)) {
    let value = |number: usize| code(&format!("#{number}@é"));
    let mut expected = BTreeMap::new();
    let mut claims = Vec::new();
    for number in (0..230).filter(|number| number % 3 > 0) {
        let holder = note_key(&format!("n@{number}"));
        claims.push(ClaimChange::Take(value(number), holder.clone()));
        expected.insert(value(number), holder);
    }
    for claims in claims.chunks(100) {
        ledger.commit(&Commit { claims: claims.to_vec(), ..Commit::default() }, noon()).await.unwrap();
    }
    let mut asked: Vec<Claim> = (0..230).map(value).collect();
    asked.push(value(1));
    asked.push(Claim { field: "name".to_owned(), ..value(1) });
    asked.push(Claim { tenant: "acme-2".parse().unwrap(), ..value(1) });
    assert_eq!(ledger.holders(&asked).await, Ok(expected));
    assert_eq!(ledger.holders(&[]).await, Ok(BTreeMap::new()));
}

/// More than one request takes, asked for twice or not.
pub async fn entities_that_exist_are_found_at_once(ledger: &(impl LedgerLookup + LedgerWrite)) {
    let named = |number: usize| format!("n@{number}");
    let mut expected = BTreeSet::new();
    for number in (0..230).filter(|number| number % 3 > 0) {
        let item = first(&named(number));
        append(ledger, &item).await.unwrap();
        expected.insert(item.key);
    }
    let mut asked: Vec<_> = (0..230).map(|number| note_key(&named(number))).collect();
    asked.push(note_key(&named(1)));
    asked.push(of_tenant("acme-2", &named(1)));
    assert_eq!(ledger.existing(&asked).await, Ok(expected));
    let Ok(none) = ledger.existing(&[]).await else { panic!("nothing can be asked for") };
    assert!(none.is_empty());
}
