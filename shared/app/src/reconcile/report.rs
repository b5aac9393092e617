use std::ops::AddAssign;

use ledgerline_kernel::ports::Digest;
use ledgerline_kernel::{EntityKey, Hash, TenantCode, Timestamp, Version};
use serde::{Deserialize, Serialize};

/// How many differing entities are listed, over a whole report.
const LISTED: usize = 100;

/// How many read models without a difference are listed; they are all counted.
const LISTED_CLEAN: usize = 50;

/// What a comparison found and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReconcileReport {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds, pauses between its parts included.
    pub millis: u64,
    /// Whether it left differences as they were.
    pub dry: bool,
    /// How many tenants' domains were compared.
    pub partitions: u64,
    /// How many entities the ledger has in them.
    pub entities: u64,
    /// How many rows of the ledger ought to be versions and cannot be compared, because they do not
    /// say of which entity they are, or what they are.
    #[serde(default)]
    pub unreadable: u64,
    /// The first of these, and what is wrong with each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable_rows: Vec<String>,
    /// Over all read models.
    pub counts: Counts,
    /// By tenant, domain and read model: all with a difference, and the first without one.
    pub read_models: Vec<ReadModelDrift>,
}

/// What was counted: one entity in one read model each, unless it says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Not there.
    pub missing: u64,
    /// At an older version.
    pub behind: u64,
    /// At a version that the ledger has with another content.
    pub forks: u64,
    /// At a version that the ledger does not have.
    pub ahead: u64,
    /// Of no entity of the ledger.
    pub extra: u64,
    /// Rows of sums that are not what the entities of their read model add.
    #[serde(default)]
    pub wrong_sums: u64,
    /// How many versions were missing, over all that is missing or behind.
    pub versions_behind: u64,
    /// Of all these, those that are as they should be now.
    pub repaired: u64,
    /// Written again although they did not seem to differ.
    pub rewritten: u64,
    /// Without versions that may be on their way: no difference.
    pub in_flight: u64,
    /// Read models of a tenant's domain whose sum is the ledger's.
    pub proven: u64,
    /// Those whose sum was not compared to an end, because they were written to all the while, or
    /// because there was too much to add up.
    pub moving: u64,
    /// Those whose sum is not the ledger's, or whose own sums are not what their entities add.
    pub unequal: u64,
}

impl Counts {
    /// Everything that was not as it should be.
    #[must_use]
    pub fn drift(&self) -> u64 {
        self.missing + self.behind + self.forks + self.ahead + self.extra + self.wrong_sums
    }

    /// What is still not as it should be.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.drift().saturating_sub(self.repaired)
    }

    pub(super) fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Proven => self.proven += 1,
            Verdict::Moving => self.moving += 1,
            Verdict::Unequal => self.unequal += 1,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self { missing, behind, forks, ahead, extra, versions_behind, repaired, rewritten, in_flight, .. } = other;
        let Self { proven, moving, unequal, wrong_sums, .. } = other;
        self.versions_behind += versions_behind;
        self.missing += missing;
        self.behind += behind;
        self.forks += forks;
        self.ahead += ahead;
        self.extra += extra;
        self.wrong_sums += wrong_sums;
        self.repaired += repaired;
        self.rewritten += rewritten;
        self.in_flight += in_flight;
        self.proven += proven;
        self.moving += moving;
        self.unequal += unequal;
    }
}

impl ReconcileReport {
    pub(super) fn new(started_at: Timestamp, dry: bool) -> Self {
        let counts = Counts::default();
        Self {
            started_at,
            millis: 0,
            dry,
            partitions: 0,
            entities: 0,
            unreadable: 0,
            unreadable_rows: Vec::new(),
            counts,
            read_models: Vec::new(),
        }
    }

    /// Whether the read models say what the ledger says, as far as it could be told beside live
    /// writes.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.counts.left() == 0 && self.counts.unequal == 0 && self.unreadable == 0
    }

    pub(super) fn add_unreadable(&mut self, rows: Vec<String>) {
        self.unreadable += rows.len() as u64;
        let room = LISTED.saturating_sub(self.unreadable_rows.len());
        self.unreadable_rows.extend(rows.into_iter().take(room));
    }

    pub(super) fn finish(&mut self, now: Timestamp) {
        let took = now.as_datetime() - self.started_at.as_datetime();
        self.millis = u64::try_from(took.num_milliseconds()).unwrap_or(0);
    }

    pub(super) fn add(&mut self, model: ReadModelDrift) {
        self.counts += model.counts;
        let is_clean = model.counts.drift() == 0 && model.verdict != Verdict::Unequal;
        if !is_clean || self.read_models.len() < LISTED_CLEAN {
            self.read_models.push(model);
        }
    }

    /// How many more differences can be listed.
    pub(super) fn room(&self) -> usize {
        let listed: usize = self.read_models.iter().map(|model| model.drift.len()).sum();
        LISTED.saturating_sub(listed)
    }
}

/// One read model of a tenant's domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadModelDrift {
    /// Whose entities.
    pub tenant: TenantCode,
    /// Of which kind: the resource.
    pub resource: String,
    /// In which read model.
    pub read_model: String,
    /// What was counted in it.
    pub counts: Counts,
    /// How many entities the ledger has, and the sum of their hashes.
    pub ledger: ReadModelDigest,
    /// How many the read model has in the end, and the sum of their hashes.
    pub held: ReadModelDigest,
    /// What that says.
    pub verdict: Verdict,
    /// When the version was made that waited longest of the newest ones that it lacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Timestamp>,
    /// The first entities that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
}

/// What the sums say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// They are equal: the read model has what the ledger has, no more and no less.
    Proven,
    /// They differ, and it was written to while they were taken; or its own sums are too much to add
    /// up.
    Moving,
    /// They differ, or its own sums are not what its entities add.
    Unequal,
}

/// A [`Digest`], readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadModelDigest {
    /// How many entities.
    pub entities: u64,
    /// The sum of their hashes' first 16 digits modulo 2^64, in hexadecimal.
    pub sum: String,
}

impl From<Digest> for ReadModelDigest {
    fn from(digest: Digest) -> Self {
        Self { entities: digest.entities, sum: format!("{:016x}", digest.sum) }
    }
}

/// How an entity differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DriftKind {
    /// See [`Counts::missing`].
    Missing,
    /// See [`Counts::behind`].
    Behind,
    /// See [`Counts::forks`].
    Fork,
    /// See [`Counts::ahead`].
    Ahead,
    /// See [`Counts::extra`].
    Extra,
}

/// An entity that a read model does not have as the ledger does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Which.
    pub id: EntityKey,
    /// How it differs.
    pub kind: DriftKind,
    /// The newest version in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<(Version, Hash)>,
    /// The version in the read model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<(Version, Hash)>,
    /// Whether it is as it should be now.
    pub repaired: bool,
    /// Why it is not, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
