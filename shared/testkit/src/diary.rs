//! A domain that nobody may serve: it forgets what its delta projection would have to remember.

use std::num::NonZeroU32;
use std::sync::Arc;

use ledgerline_kernel::input::Fields;
use ledgerline_kernel::{Action, Aggregate, DecisionContext, Domain, DynDelta, StoredEvent, TableSpec, delta};

use crate::like_a_note::like_a_note;
use crate::note::{Note, NoteCommand, NoteEvent, NoteRefusal};
use crate::note_totals::NoteTotals;

like_a_note! {
    /// A [`Note`] in every respect but that it has a [delta projection](Domain::deltas), too.
    Diary, "DIARY", "diaries", "diary", {
        const RETENTION_DAYS: Option<NonZeroU32> = Note::RETENTION_DAYS;

        fn deltas() -> Vec<Arc<dyn DynDelta>> {
            vec![delta::<Note, NoteTotals>()]
        }
    }
}
