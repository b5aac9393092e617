//! Domains that are a [`Note`](crate::note::Note) in every respect but one.

/// Declares one: its type, its resource, its table, and in braces what differs.
macro_rules! like_a_note {
    ($(#[$about:meta])* $name:ident, $kind:literal, $resource:literal, $table:literal, { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Note);

        impl Aggregate for $name {
            type Command = NoteCommand;
            type Event = NoteEvent;
            type Error = NoteRefusal;

            fn decide(
                state: Option<&Self>,
                command: &NoteCommand,
                context: &DecisionContext,
            ) -> Result<Vec<NoteEvent>, NoteRefusal> {
                Note::decide(state.map(|like| &like.0), command, context)
            }

            fn evolve(state: Option<Self>, event: &NoteEvent) -> Option<Self> {
                Note::evolve(state.map(|like| like.0), event).map(Self)
            }

            fn code(&self) -> &str {
                self.0.code()
            }

            fn name(&self) -> &str {
                self.0.name()
            }

            fn is_deleted(&self) -> bool {
                self.0.is_deleted()
            }
        }

        impl Domain for $name {
            const TYPE: &'static str = $kind;
            const RESOURCE: &'static str = $resource;
            const COMMANDS: &'static [&'static str] = Note::COMMANDS;
            const TABLE: TableSpec = TableSpec { name: $table, ..Note::TABLE };

            $($own)*

            fn parse(action: Action<'_>, fields: &mut Fields<'_>) -> Option<NoteCommand> {
                Note::parse(action, fields)
            }

            fn to_stored(event: &NoteEvent) -> StoredEvent {
                Note::to_stored(event)
            }

            fn from_stored(stored: &StoredEvent) -> Option<NoteEvent> {
                Note::from_stored(stored)
            }
        }
    };
}

pub(crate) use like_a_note;
