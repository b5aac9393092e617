//! A domain that may outgrow a ledger item: a note of any length.

use ledgerline_kernel::input::Fields;
use ledgerline_kernel::{Action, Aggregate, DecisionContext, Domain, StoredEvent, TableSpec};

use crate::like_a_note::like_a_note;
use crate::note::{Note, NoteCommand, NoteEvent, NoteRefusal};

like_a_note! {
    /// A [`Note`] in every respect but that it has [large states](Domain::LARGE_STATES).
    Tome, "TOME", "tomes", "tome", {
        const LARGE_STATES: bool = true;
    }
}
