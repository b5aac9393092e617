use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ledgerline_kernel::ports::{
    Applied, Comparison, EntityList, EntityRead, Filter, ListPage, ListQuery, Position, StateSink, StoreError,
};
use ledgerline_kernel::{ColumnKind, Decimal, DynDomain, Entity, EntityKey, VersionItem};
use serde_json::Value;

/// A read model in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryEntities {
    entities: Arc<Mutex<BTreeMap<EntityKey, Entity>>>,
}

impl MemoryEntities {
    /// All rows, by key.
    #[must_use]
    pub fn all(&self) -> Vec<Entity> {
        self.entities().values().cloned().collect()
    }

    fn entities(&self) -> MutexGuard<'_, BTreeMap<EntityKey, Entity>> {
        // A test that panicked while it held the lock fails by itself; others need not follow.
        self.entities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StateSink for MemoryEntities {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn apply(&self, _: &dyn DynDomain, items: &[&VersionItem]) -> Result<Applied, StoreError> {
        let mut entities = self.entities();
        let mut applied = Applied::default();
        for item in items {
            match entities.get(&item.key) {
                Some(held) if held.version == item.version && held.hash != item.hash => {
                    applied.forks.push(item.key.clone());
                }
                Some(held) if held.version >= item.version => applied.unchanged += 1,
                _ => {
                    entities.insert(item.key.clone(), Entity::from(*item));
                    applied.written += 1;
                }
            }
        }
        Ok(applied)
    }
}

#[async_trait]
impl EntityRead for MemoryEntities {
    async fn get(&self, key: &EntityKey) -> Result<Option<Entity>, StoreError> {
        Ok(self.entities().get(key).cloned())
    }
}

#[async_trait]
impl EntityList for MemoryEntities {
    async fn list(&self, domain: &dyn DynDomain, query: &ListQuery) -> Result<ListPage, StoreError> {
        let entities = self.entities();
        let mut matching: Vec<Row<'_>> = entities
            .values()
            .filter(|entity| {
                entity.key.partition.entity_type == *domain.entity_type()
                    && entity.key.partition.tenant == query.tenant
                    && (query.include_deleted || !entity.is_deleted)
                    && query.filters.iter().all(|filter| matches(domain, entity, filter))
            })
            .map(|entity| Row::new(domain, entity, query))
            .collect();
        let in_order = |a: &Place, b: &Place| a.cmp(b, query);
        matching.sort_by(|a, b| in_order(&a.place, &b.place));
        let total = query.with_total.then_some(matching.len() as u64);
        if let Some(after) = &query.after {
            let after = Place::of_position(domain, after, query);
            matching.retain(|row| in_order(&row.place, &after) == Ordering::Greater);
        }
        let more = matching.len() > query.limit;
        matching.truncate(query.limit);
        let next = matching.last().filter(|_| more).map(|row| row.place.position());
        Ok(ListPage { entities: matching.into_iter().map(|row| row.entity.clone()).collect(), next, total })
    }
}

struct Row<'a> {
    entity: &'a Entity,
    place: Place,
}

impl<'a> Row<'a> {
    fn new(domain: &dyn DynDomain, entity: &'a Entity, query: &ListQuery) -> Self {
        let values = query.sort.iter().map(|sort| value_of(domain, entity, &sort.field)).collect();
        Self { entity, place: Place { values, id: entity.key.to_string() } }
    }
}

/// Where a row stands in the order asked for.
struct Place {
    values: Vec<Option<FieldValue>>,
    id: String,
}

impl Place {
    fn of_position(domain: &dyn DynDomain, position: &Position, query: &ListQuery) -> Self {
        let values = query.sort.iter().zip(&position.values);
        let values = values.map(|(sort, text)| FieldValue::read(domain, &sort.field, text.as_deref()?)).collect();
        Self { values, id: position.id.clone() }
    }

    fn position(&self) -> Position {
        let values = self.values.iter().map(|value| value.as_ref().map(FieldValue::to_text)).collect();
        Position { values, id: self.id.clone() }
    }

    fn cmp(&self, other: &Self, query: &ListQuery) -> Ordering {
        let by_fields = query.sort.iter().zip(self.values.iter().zip(&other.values)).map(|(sort, pair)| match pair {
            (Some(a), Some(b)) if sort.descending => b.cmp(a),
            (Some(a), Some(b)) => a.cmp(b),
            // Without a value comes last, in either direction.
            (a, b) => b.is_some().cmp(&a.is_some()),
        });
        by_fields.fold(Ordering::Equal, Ordering::then).then_with(|| self.id.cmp(&other.id))
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum FieldValue {
    Text(String),
    Number(Decimal),
}

impl FieldValue {
    fn read(domain: &dyn DynDomain, field: &str, text: &str) -> Option<Self> {
        match domain.table().column(field).map(|column| column.kind) {
            Some(ColumnKind::Numeric) => text.parse().ok().map(Self::Number),
            _ => Some(Self::Text(text.to_owned())),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

fn value_of(domain: &dyn DynDomain, entity: &Entity, field: &str) -> Option<FieldValue> {
    match field {
        "code" => Some(FieldValue::Text(entity.code.clone())),
        "name" => Some(FieldValue::Text(entity.name.clone())),
        "createdAt" => Some(FieldValue::Text(entity.created.at.to_string())),
        "updatedAt" => Some(FieldValue::Text(entity.updated.at.to_string())),
        _ => FieldValue::read(domain, field, entity.attributes.get(field).and_then(Value::as_str)?),
    }
}

fn matches(domain: &dyn DynDomain, entity: &Entity, filter: &Filter) -> bool {
    let value = value_of(domain, entity, &filter.field);
    let wanted = FieldValue::read(domain, &filter.field, &filter.value);
    let (Some(value), Some(wanted)) = (value, wanted) else { return false };
    let order = value.cmp(&wanted);
    match filter.comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
    }
}
