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

    fn remember(memory: &mut Shelved, _: &[NoteEvent], note: &Note) {
        let letters = u32::try_from(note.body().chars().count()).unwrap_or(u32::MAX);
        let shelf = note.code().chars().next().map(String::from).unwrap_or_default();
        memory.0 = (!note.is_deleted()).then_some((shelf, letters));
    }

    fn adds(memory: &Shelved) -> Vec<DeltaChange> {
        let one = || Decimal::from(1);
        let adds = |(shelf, letters): &(String, u32)| {
            [
                DeltaChange { table: 0, key: vec![shelf.clone()], add: vec![one(), Decimal::from(*letters)] },
                DeltaChange { table: 1, key: vec![shelf.clone(), letters.to_string()], add: vec![one()] },
            ]
        };
        memory.0.iter().flat_map(adds).collect()
    }
}
