use ledgerline_kernel::{Aggregate, DecisionContext};

use crate::laws;

/// Begins a test of one decision: the events that have happened so far.
///
/// The context is that of user `ann` of tenant `acme` at noon on 2026-01-01; [`Given::at`] and
/// [`Given::context`] change it.
///
/// # Panics
/// If the state after these events breaks one of the [`laws`].
#[must_use]
#[track_caller]
pub fn given<A: Aggregate>(history: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let history: Vec<_> = history.into_iter().collect();
    if let Some(state) = state_after::<A>(&history) {
        laws::state_is_storable(&state);
    }
    Given { history, context: default_context() }
}

/// The state that these events lead to; none before there is an entity.
pub fn state_after<'a, A: Aggregate>(events: impl IntoIterator<Item = &'a A::Event>) -> Option<A> {
    events.into_iter().fold(None, |state, event| A::evolve(state, event))
}

#[expect(clippy::unwrap_used, reason = "constants, in a crate that only tests use")]
pub(crate) fn default_context() -> DecisionContext {
    DecisionContext {
        now: "2026-01-01T12:00:00Z".parse().unwrap(),
        tenant: "acme".parse().unwrap(),
        user: "ann".to_owned(),
    }
}

/// What has happened; waits for a command.
#[derive(Debug)]
pub struct Given<A: Aggregate> {
    history: Vec<A::Event>,
    context: DecisionContext,
}

impl<A: Aggregate> Given<A> {
    /// The command comes in at this moment, in RFC 3339.
    ///
    /// # Panics
    /// If the text is no such moment.
    #[must_use]
    #[track_caller]
    pub fn at(mut self, now: &str) -> Self {
        match now.parse() {
            Ok(now) => self.context.now = now,
            Err(error) => fail(&format!("{now:?} is not a moment: {error}")),
        }
        self
    }

    /// The command comes in like this.
    #[must_use]
    pub fn context(mut self, context: DecisionContext) -> Self {
        self.context = context;
        self
    }

    /// Decides.
    ///
    /// # Panics
    /// If deciding the same twice differs, or the state after the decision breaks one of the
    /// [`laws`].
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "reads as a sentence: when(Command { .. })")]
    pub fn when(self, command: A::Command) -> When<A> {
        let Self { history, context } = self;
        let state = state_after::<A>(&history);
        let outcome = A::decide(state.as_ref(), &command, &context);
        assert_eq!(outcome, A::decide(state.as_ref(), &command, &context), "a decision must not depend on chance");
        if let Ok(events) = &outcome {
            laws::replay_equals_state::<A>(&history, events);
        }
        When { command: format!("{command:?}"), outcome }
    }
}

/// What was decided; waits to be compared.
#[derive(Debug)]
#[must_use = "say what then: then, then_refused or then_nothing"]
pub struct When<A: Aggregate> {
    command: String,
    outcome: Result<Vec<A::Event>, A::Error>,
}

impl<A: Aggregate> When<A> {
    /// The command is accepted, and exactly these events happen.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = A::Event>) {
        let expected: Vec<_> = expected.into_iter().collect();
        assert!(!expected.is_empty(), "say then_nothing() where nothing is to happen");
        assert_eq!(self.outcome, Ok(expected), "after {}", self.command);
    }

    /// The command is accepted, and there is nothing to do.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn then_nothing(self) {
        assert_eq!(self.outcome, Ok(Vec::new()), "after {}", self.command);
    }

    /// The command is refused with exactly this error.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "reads as a sentence: then_refused(Error::Deleted)")]
    pub fn then_refused(self, expected: A::Error) {
        assert_eq!(self.outcome.as_ref(), Err(&expected), "after {}", self.command);
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "a test's own mistake fails the test")]
fn fail(message: &str) -> ! {
    panic!("{message}")
}
