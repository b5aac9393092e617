use ledgerline_kernel::{
    Aggregate, ColumnKind, ColumnSpec, Decimal, DeltaChange, DeltaProjection, DeltaTable, SummarySpec,
};
use serde::{Deserialize, Serialize};

use crate::note::{Note, NoteEvent};

const SHELF: ColumnSpec = ColumnSpec { name: "shelf", kind: ColumnKind::Text };

const TOTALS: DeltaTable = DeltaTable { name: "note_total", key: &[SHELF], sums: &["notes", "letters"] };

const LENGTHS: DeltaTable = DeltaTable {
    name: "note_length",
    key: &[SHELF, ColumnSpec { name: "letters", kind: ColumnKind::Numeric }],
    sums: &["notes"],
};

/// How many living notes a shelf has, which is what their codes begin with, and how many letters.
/// Not one of the note's own delta projections: notes forget, which such a domain must not.
#[derive(Debug)]
pub struct NoteTotals;

/// What a living note adds at present: its shelf and its letters.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shelved(Option<(String, u32)>);

impl DeltaProjection<Note> for NoteTotals {
    const NAME: &'static str = "note-totals";
    const TABLES: &'static [DeltaTable] = &[TOTALS, LENGTHS];
    const SUMMARY: Option<SummarySpec> = Some(SummarySpec {
        name: "by-shelf",
        table: &TOTALS,
        counts: &["notes", "letters"],
        histogram: Some(&LENGTHS),
    });

    type Memory = Shelved;

    fn step(memory: &mut Shelved, _: &[NoteEvent], note: &Note) -> Vec<DeltaChange> {
        let letters = u32::try_from(note.body().chars().count()).unwrap_or(u32::MAX);
        let shelf = note.code().chars().next().map(String::from).unwrap_or_default();
        let now = (!note.is_deleted()).then_some((shelf, letters));
        let before = std::mem::replace(&mut memory.0, now.clone());
        let taken = before.iter().flat_map(|(shelf, letters)| shelved(shelf, *letters, true));
        taken.chain(now.iter().flat_map(|(shelf, letters)| shelved(shelf, *letters, false))).collect()
    }
}

/// What putting a note on a shelf adds, or taking it away.
fn shelved(shelf: &str, letters: u32, away: bool) -> [DeltaChange; 2] {
    let signed = |number: u32| if away { Decimal::from(number).negated() } else { Decimal::from(number) };
    [
        DeltaChange { table: 0, key: vec![shelf.to_owned()], add: vec![signed(1), signed(letters)] },
        DeltaChange { table: 1, key: vec![shelf.to_owned(), letters.to_string()], add: vec![signed(1)] },
    ]
}
