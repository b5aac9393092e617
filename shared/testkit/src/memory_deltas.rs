use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ledgerline_kernel::ports::{DeltaMove, DeltaPosition, DeltaSink, StoreError, SummaryRead, SummaryRow};
use ledgerline_kernel::{ColumnKind, Decimal, DeltaChange, DeltaTable, DynDelta, EntityKey, SummarySpec, TenantCode};

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
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
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
