//! Delta projections: read models that hold sums over many entities, such as how many products a
//! category has and what they cost together.
//!
//! A version adds to such rows what it changes. Applied twice, or left out, it would make them wrong
//! for good; so a store keeps, per projection and entity, the version that its rows have taken in,
//! and moves it in the transaction that changes them.
//!
//! What an entity adds follows from what is remembered of it, and that is kept with its position. So
//! the rows follow from the positions: who doubts them can add up, and need not read the ledger.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{corrupt, read_events, read_state};
use crate::{ColumnSpec, Corrupt, Decimal, Domain, VersionItem};

/// A table of sums. Its key is the tenant and the `key` columns; a row whose sums are all zero is
/// not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaTable {
    /// The table's name in the read store.
    pub name: &'static str,
    /// What its rows are told apart by, besides the tenant. Never null.
    pub key: &'static [ColumnSpec],
    /// What is summed: numeric columns.
    pub sums: &'static [&'static str],
}

/// How the sums of a projection are read: a list with an entry for each row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummarySpec {
    /// Its name in URLs, kebab-case: `by-category`.
    pub name: &'static str,
    /// Whose rows it lists, in the order of their keys.
    pub table: &'static DeltaTable,
    /// Those of the table's sums that count things. The others are amounts.
    pub counts: &'static [&'static str],
    /// Counts how many have which value: a table whose key is that of `table` and one numeric column
    /// more, of which a summary tells the least and the greatest.
    pub histogram: Option<&'static DeltaTable>,
}

/// What a version adds to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaChange {
    /// Which table: its place in [`DeltaProjection::TABLES`].
    pub table: usize,
    /// The row: one value for each key column, as text.
    pub key: Vec<String>,
    /// What is added, one value for each sum; less than zero takes away.
    pub add: Vec<Decimal>,
}

impl DeltaChange {
    /// What takes it back.
    #[must_use]
    pub fn negated(self) -> Self {
        Self { add: self.add.iter().map(Decimal::negated).collect(), ..self }
    }
}

/// What a domain author writes for a delta projection of `D`.
pub trait DeltaProjection<D: Domain>: 'static {
    /// The projection's name, kebab-case, the same for good: its positions are kept under it.
    const NAME: &'static str;
    /// The tables that it adds to.
    const TABLES: &'static [DeltaTable];
    /// How its sums are read, if anybody may.
    const SUMMARY: Option<SummarySpec> = None;

    /// What it remembers of an entity from version to version, and what it adds follows from. Kept
    /// with the position.
    type Memory: Serialize + DeserializeOwned + Default + Clone + PartialEq;

    /// Takes in one version: updates what is remembered. Called for every version of an entity
    /// exactly once, in order. Pure.
    fn remember(memory: &mut Self::Memory, events: &[D::Event], state: &D);

    /// What an entity of which this is remembered adds to the rows, by all its versions together.
    /// Pure. A version adds the difference to what was remembered before it.
    fn adds(memory: &Self::Memory) -> Vec<DeltaChange>;
}

/// What came of taking in a version.
#[derive(Debug, Clone, PartialEq)]
pub struct DeltaStep {
    /// What to remember until the next version.
    pub memory: Value,
    /// What the version adds.
    pub changes: Vec<DeltaChange>,
}

/// A [`DeltaProjection`] without its types. Made by [`delta`].
pub trait DynDelta: fmt::Debug + Send + Sync {
    /// See [`DeltaProjection::NAME`].
    fn name(&self) -> &'static str;
    /// See [`DeltaProjection::TABLES`].
    fn tables(&self) -> &'static [DeltaTable];
    /// See [`DeltaProjection::SUMMARY`].
    fn summary(&self) -> Option<SummarySpec>;

    /// Takes in `item`, given what was remembered after the version before it (none before the
    /// first).
    ///
    /// # Errors
    /// [`Corrupt`] if the item, or what was remembered, cannot be read.
    fn step(&self, memory: Option<&Value>, item: &VersionItem) -> Result<DeltaStep, Corrupt>;

    /// See [`DeltaProjection::adds`]. None if what was remembered cannot be read.
    fn adds(&self, memory: &Value) -> Option<Vec<DeltaChange>>;
}

/// Forgets a delta projection's types.
#[must_use]
pub fn delta<D: Domain, P: DeltaProjection<D>>() -> Arc<dyn DynDelta> {
    Arc::new(ErasedDelta::<D, P>(PhantomData))
}

struct ErasedDelta<D, P>(PhantomData<fn() -> (D, P)>);

impl<D, P: DeltaProjection<D>> fmt::Debug for ErasedDelta<D, P>
where
    D: Domain,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delta").field(&P::NAME).finish()
    }
}

impl<D: Domain, P: DeltaProjection<D>> DynDelta for ErasedDelta<D, P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn tables(&self) -> &'static [DeltaTable] {
        P::TABLES
    }

    fn summary(&self) -> Option<SummarySpec> {
        P::SUMMARY
    }

    fn step(&self, memory: Option<&Value>, item: &VersionItem) -> Result<DeltaStep, Corrupt> {
        let unreadable = |error: serde_json::Error| corrupt(item, format!("{} remembers: {error}", P::NAME));
        let before: Option<P::Memory> = memory.map(P::Memory::deserialize).transpose().map_err(unreadable)?;
        let mut after = before.clone().unwrap_or_default();
        P::remember(&mut after, &read_events::<D>(item)?, &read_state::<D>(item)?);
        if before.as_ref() == Some(&after) {
            // As it was kept: what is the same may be spelt otherwise by now.
            return Ok(DeltaStep { memory: memory.cloned().unwrap_or_default(), changes: Vec::new() });
        }
        let taken = before.iter().flat_map(P::adds).map(DeltaChange::negated);
        let changes = taken.chain(P::adds(&after)).collect();
        Ok(DeltaStep { memory: serde_json::to_value(&after).map_err(unreadable)?, changes })
    }

    fn adds(&self, memory: &Value) -> Option<Vec<DeltaChange>> {
        P::Memory::deserialize(memory).ok().map(|memory| P::adds(&memory))
    }
}
