use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ledgerline_kernel::ports::{
    DeltaMove, DeltaPosition, DeltaSink, Digest, ReadModelAudit, StoreError, SummaryRead, SummaryRow, SumsFound,
};
use ledgerline_kernel::{
    ColumnKind, Decimal, DeltaChange, DeltaTable, DynDelta, DynDomain, EntityKey, Hash, SortKey, SummarySpec,
    TenantCode, Version, VersionItem,
};

const STORE: &str = "the memory of deltas";

/// The rows and positions of delta projections in memory. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryDeltas {
    inner: Arc<Mutex<Inner>>,
}

/// The sums of a table, by tenant and key.
type Rows = BTreeMap<(TenantCode, Vec<KeyValue>), Vec<Decimal>>;

/// Behind one lock: a move sees and changes all of it at once.
#[derive(Clone, Default)]
struct Inner {
    positions: BTreeMap<(&'static str, EntityKey), DeltaPosition>,
    rows: BTreeMap<&'static str, Rows>,
}

/// A key column's value, compared as Postgres does: numbers by value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum KeyValue {
    Text(String),
    Number(Decimal),
}

impl KeyValue {
    fn read(kind: ColumnKind, text: &str) -> Result<Self, StoreError> {
        match kind {
            ColumnKind::Numeric => text.parse().map(Self::Number).map_err(|_| refused("a key is not a number")),
            ColumnKind::Text | ColumnKind::Json => Ok(Self::Text(text.to_owned())),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

fn refused(reason: &str) -> StoreError {
    StoreError::Rejected { store: STORE, reason: reason.to_owned() }
}

impl MemoryDeltas {
    /// Loses a position, as no projection would.
    pub fn lose(&self, projection: &dyn DynDelta, key: &EntityKey) {
        self.lock().positions.remove(&(projection.name(), key.clone()));
    }

    /// What a reconciler asks of one projection's rows and positions.
    #[must_use]
    pub fn audit(&self, projection: Arc<dyn DynDelta>) -> MemoryPositions {
        MemoryPositions { deltas: self.clone(), projection }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn positions_of(
        &self,
        of: &dyn DynDelta,
        tenant: &TenantCode,
    ) -> impl Iterator<Item = (&EntityKey, &DeltaPosition)> {
        let is_of = move |name: &str, key: &EntityKey| name == of.name() && key.partition.tenant == *tenant;
        self.positions.iter().filter(move |((name, key), _)| is_of(name, key)).map(|((_, key), held)| (key, held))
    }

    /// The rows that a tenant's positions come to; none if one of them cannot be read.
    fn due(&self, of: &dyn DynDelta, tenant: &TenantCode) -> Option<Self> {
        let mut due = Self::default();
        for (_, position) in self.positions_of(of, tenant) {
            for change in of.adds(&position.memory)? {
                due.add(of.tables().get(change.table)?, tenant, &change).ok()?;
            }
        }
        Some(due)
    }

    fn rows_of(&self, table: &DeltaTable, tenant: &TenantCode) -> BTreeMap<Vec<KeyValue>, Vec<Decimal>> {
        let rows = self.rows.get(table.name).into_iter().flatten().filter(|((of, _), _)| of == tenant);
        rows.map(|((_, key), sums)| (key.clone(), sums.clone())).collect()
    }

    fn add(&mut self, table: &DeltaTable, tenant: &TenantCode, change: &DeltaChange) -> Result<(), StoreError> {
        if (change.key.len(), change.add.len()) != (table.key.len(), table.sums.len()) {
            return Err(refused("a change does not fit its table"));
        }
        let key = table.key.iter().zip(&change.key).map(|(column, text)| KeyValue::read(column.kind, text));
        let key = (tenant.clone(), key.collect::<Result<Vec<_>, _>>()?);
        let rows = self.rows.entry(table.name).or_default();
        let sums = rows.entry(key.clone()).or_insert_with(|| vec![Decimal::from(0); table.sums.len()]);
        for (sum, add) in sums.iter_mut().zip(&change.add) {
            *sum = sum.plus(add);
        }
        if sums.iter().all(|sum| *sum == Decimal::from(0)) {
            rows.remove(&key);
        }
        Ok(())
    }
}

#[async_trait]
impl DeltaSink for MemoryDeltas {
    async fn positions(
        &self,
        projection: &dyn DynDelta,
        keys: &[EntityKey],
    ) -> Result<BTreeMap<EntityKey, DeltaPosition>, StoreError> {
        let inner = self.lock();
        let held = keys
            .iter()
            .filter_map(|key| Some((key.clone(), inner.positions.get(&(projection.name(), key.clone()))?.clone())));
        Ok(held.collect())
    }

    async fn advance(&self, projection: &dyn DynDelta, moves: &[DeltaMove]) -> Result<Vec<EntityKey>, StoreError> {
        let mut inner = self.lock();
        let mut next = inner.clone();
        let mut lost = Vec::new();
        for moving in moves {
            let place = (projection.name(), moving.key.clone());
            if next.positions.get(&place) != moving.from.as_ref() {
                lost.push(moving.key.clone());
                continue;
            }
            next.positions.insert(place, moving.to.clone());
            for change in &moving.changes {
                let table = projection.tables().get(change.table).ok_or_else(|| refused("there is no such table"))?;
                next.add(table, &moving.key.partition.tenant, change)?;
            }
        }
        *inner = next;
        Ok(lost)
    }
}

#[async_trait]
impl SummaryRead for MemoryDeltas {
    async fn summary(
        &self,
        spec: &SummarySpec,
        tenant: &TenantCode,
        after: Option<&[String]>,
        limit: usize,
    ) -> Result<Vec<SummaryRow>, StoreError> {
        let inner = self.lock();
        let after = after.map(|after| {
            let values = spec.table.key.iter().zip(after).map(|(column, text)| KeyValue::read(column.kind, text));
            values.collect::<Result<Vec<_>, _>>()
        });
        let after = after.transpose()?;
        let rows = inner.rows.get(spec.table.name).into_iter().flatten();
        let rows = rows.filter(|((of, key), _)| of == tenant && after.as_ref().is_none_or(|after| key > after));
        let extremes = |key: &[KeyValue]| {
            let histogram = inner.rows.get(spec.histogram?.name)?;
            let mut values = histogram
                .keys()
                .filter(|(of, place)| of == tenant && place.starts_with(key))
                .filter_map(|(_, place)| place.last());
            let least = values.next()?;
            Some((least.to_text(), values.next_back().unwrap_or(least).to_text()))
        };
        let row = |((_, key), sums): (&(TenantCode, Vec<KeyValue>), &Vec<Decimal>)| SummaryRow {
            key: key.iter().map(KeyValue::to_text).collect(),
            sums: sums.iter().map(ToString::to_string).collect(),
            extremes: extremes(key),
        };
        Ok(rows.map(row).take(limit).collect())
    }
}

/// A delta projection's rows and positions as a reconciler sees them. Made by [`MemoryDeltas::audit`].
pub struct MemoryPositions {
    deltas: MemoryDeltas,
    projection: Arc<dyn DynDelta>,
}

#[async_trait]
impl ReadModelAudit for MemoryPositions {
    fn name(&self) -> &'static str {
        self.projection.name()
    }

    async fn held(
        &self,
        _: &dyn DynDomain,
        keys: &[EntityKey],
    ) -> Result<BTreeMap<EntityKey, (Version, Hash)>, StoreError> {
        let held = self.deltas.positions(self.projection.as_ref(), keys).await?;
        Ok(held.into_iter().map(|(key, position)| (key, (position.version, position.hash))).collect())
    }

    async fn digest(&self, _: &dyn DynDomain, tenant: &TenantCode) -> Result<Digest, StoreError> {
        let mut digest = Digest::default();
        let inner = self.deltas.lock();
        inner.positions_of(self.projection.as_ref(), tenant).for_each(|(_, position)| digest.add(&position.hash));
        Ok(digest)
    }

    async fn entities(
        &self,
        _: &dyn DynDomain,
        tenant: &TenantCode,
        after: Option<&SortKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        let inner = self.deltas.lock();
        let keys = inner.positions_of(self.projection.as_ref(), tenant).map(|(key, _)| key);
        Ok(keys.filter(|key| after.is_none_or(|after| key.sk > *after)).take(limit).cloned().collect())
    }

    async fn replace(&self, _: &dyn DynDomain, _: &VersionItem, _: Version) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn sums(&self, _: &dyn DynDomain, tenant: &TenantCode, correct: bool) -> Result<SumsFound, StoreError> {
        let mut inner = self.deltas.lock();
        let Some(due) = inner.due(self.projection.as_ref(), tenant) else { return Ok(SumsFound::Wrong(1)) };
        let mut wrong = 0;
        for table in self.projection.tables() {
            let (is, should) = (inner.rows_of(table, tenant), due.rows_of(table, tenant));
            let keys: BTreeSet<_> = is.keys().chain(should.keys()).collect();
            wrong += keys.into_iter().filter(|key| is.get(*key) != should.get(*key)).count() as u64;
            if correct {
                let rows = inner.rows.entry(table.name).or_default();
                rows.retain(|(of, _), _| of != tenant);
                rows.extend(should.into_iter().map(|(key, sums)| ((tenant.clone(), key), sums)));
            }
        }
        Ok(match wrong {
            0 => SumsFound::Right,
            rows if correct => SumsFound::Corrected(rows),
            rows => SumsFound::Wrong(rows),
        })
    }
}
