use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{EntityKey, Version};

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projection {
    /// Entities of which the batch itself held two items that differ in the same version.
    pub forks: Vec<EntityKey>,
    /// What became of it in each read model that had anything to do.
    pub read_models: Vec<ReadModelReport>,
}

/// What became of a batch in one read model. Every entity of the batch is in exactly one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadModelReport {
    /// Its name.
    pub read_model: &'static str,
    /// How many entities it was behind with, and is not any more.
    pub written: usize,
    /// How many entities it had taken in already.
    pub unchanged: usize,
    /// Entities of which it has the same version with another hash, or the same entity with another
    /// past: somebody forked the ledger. Never overwritten.
    pub forks: Vec<EntityKey>,
    /// Entities that it did not take, and why it never will as things are.
    pub refused: Vec<Refused>,
    /// Entities that there was no time for, or no store.
    pub left: Vec<EntityKey>,
    /// What the store said that was not available.
    pub unavailable: Option<StoreError>,
}

/// An entity that a read model did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which entity.
    pub key: EntityKey,
    /// The first of its versions that the read model does not take.
    pub version: Version,
    /// What is wrong.
    pub reason: String,
}

/// The sum of what became of a batch that every read model took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectionReport {
    /// Rows written, over all read models.
    pub written: usize,
    /// Rows that were there already, or newer.
    pub unchanged: usize,
    /// Entities whose row has the same version with another hash: somebody forked the ledger.
    pub forks: Vec<EntityKey>,
}

impl Projection {
    /// Puts together what the same read model did for several domains.
    pub(super) fn new(forks: Vec<EntityKey>, reports: Vec<ReadModelReport>) -> Self {
        let mut read_models: Vec<ReadModelReport> = Vec::new();
        for report in reports {
            match read_models.iter_mut().find(|held| held.read_model == report.read_model) {
                Some(held) => held.add(report),
                None => read_models.push(report),
            }
        }
        Self { forks, read_models }
    }

    /// The sum over all read models.
    ///
    /// # Errors
    /// [`StoreError`] of the first that did not take everything.
    pub fn complete(self) -> Result<ProjectionReport, StoreError> {
        let mut sum = ProjectionReport { forks: self.forks, ..ProjectionReport::default() };
        for report in self.read_models {
            let store = report.read_model;
            if let Some(error) = report.unavailable {
                return Err(error);
            }
            if !report.left.is_empty() {
                return Err(StoreError::Unavailable { store, reason: "there was no time".to_owned() });
            }
            if let Some(refused) = report.refused.into_iter().next() {
                let reason = format!("{}@{}: {}", refused.key, refused.version, refused.reason);
                return Err(StoreError::Rejected { store, reason });
            }
            sum.written += report.written;
            sum.unchanged += report.unchanged;
            sum.forks.extend(report.forks);
        }
        Ok(sum)
    }

    /// Says once what somebody has to look at. What is refused is said where it is dealt with.
    pub(super) fn log(&self) {
        for fork in &self.forks {
            tracing::error!(entity.id = %fork, "the ledger has forked: same version, other hash, in one batch");
        }
        for report in &self.read_models {
            for fork in &report.forks {
                tracing::error!(entity.id = %fork, read_model = report.read_model, "the ledger has forked: same version, other hash");
            }
            if let Some(error) = &report.unavailable {
                let entities = report.left.len();
                tracing::warn!(entities, read_model = report.read_model, "not projected, to be tried again: {error}");
            }
        }
    }
}

impl ReadModelReport {
    pub(super) fn of(read_model: &'static str) -> Self {
        Self { read_model, ..Self::default() }
    }

    fn add(&mut self, other: Self) {
        self.written += other.written;
        self.unchanged += other.unchanged;
        self.forks.extend(other.forks);
        self.refused.extend(other.refused);
        self.left.extend(other.left);
        self.unavailable = self.unavailable.take().or(other.unavailable);
    }

    pub(super) fn refuse(&mut self, key: &EntityKey, version: Version, reason: String) {
        self.refused.push(Refused { key: key.clone(), version, reason });
    }

    /// Notes what could not be tried.
    pub(super) fn leave<'a>(&mut self, keys: impl IntoIterator<Item = &'a EntityKey>, because: Option<StoreError>) {
        self.left.extend(keys.into_iter().cloned());
        self.unavailable = self.unavailable.take().or(because);
    }
}
