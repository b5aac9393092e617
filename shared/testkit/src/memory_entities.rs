use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ledgerline_kernel::ports::{
    Applied, Comparison, EntityList, EntityRead, Filter, KeyPage, KeyQuery, KeyRange, ListPage, ListQuery, Position,
    StateSink, StoreError,
};
use ledgerline_kernel::search::words;
use ledgerline_kernel::{ColumnKind, Decimal, DynDomain, Entity, EntityKey, SortKey, TenantCode, Version, VersionItem};
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
        self.rows().values().cloned().collect()
    }

    pub(crate) fn rows(&self) -> MutexGuard<'_, BTreeMap<EntityKey, Entity>> {
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
        let mut entities = self.rows();
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
        Ok(self.rows().get(key).cloned())
    }

    async fn range(&self, query: &KeyQuery) -> Result<KeyPage, StoreError> {
        let within = |sk: &str| match &query.keys {
            KeyRange::Prefix(prefix) => sk.starts_with(&prefix.encoded()),
            KeyRange::Between(from, below) => {
                from.as_ref().is_none_or(|from| *sk >= *from.encoded())
                    && below.as_ref().is_none_or(|below| *sk < *below.encoded())
            }
        };
        let mut found: Vec<(String, Entity)> = self
            .rows()
            .values()
            .filter(|entity| entity.key.partition == query.partition && (query.include_deleted || !entity.is_deleted))
            .map(|entity| (entity.key.sk.encoded(), entity.clone()))
            .filter(|(sk, _)| within(sk) && query.after.as_ref().is_none_or(|after| sk > after))
            .collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let next = found.last().filter(|_| more).map(|(sk, _)| sk.clone());
        Ok(KeyPage { entities: found.into_iter().map(|(_, entity)| entity).collect(), unreadable: 0, next })
    }
}

#[async_trait]
impl EntityList for MemoryEntities {
    async fn list(&self, domain: &dyn DynDomain, query: &ListQuery) -> Result<ListPage, StoreError> {
        let entities = self.rows();
        let mut matching: Vec<Row<'_>> = entities
            .values()
            .filter(|entity| {
                entity.key.partition.entity_type == *domain.entity_type()
                    && entity.key.partition.tenant == query.tenant
                    && (query.include_deleted || !entity.is_deleted)
                    && query.filters.iter().all(|filter| matches(domain, entity, filter))
                    && has_words(domain, entity, &query.words)
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

    async fn versions(
        &self,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        sks: &[SortKey],
    ) -> Result<Vec<(SortKey, Version)>, StoreError> {
        let entities = self.rows();
        let held =
            |sk: &SortKey| entities.get(&EntityKey::new(domain.entity_type().clone(), tenant.clone(), sk.clone()));
        Ok(sks.iter().filter_map(|sk| Some((sk.clone(), held(sk)?.version))).collect())
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
        let by_id = self.id.cmp(&other.id);
        let ids_descend = query.sort.last().is_some_and(|last| last.descending);
        by_fields.fold(Ordering::Equal, Ordering::then).then(if ids_descend { by_id.reverse() } else { by_id })
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

/// Whether each word begins one of the entity's.
fn has_words(domain: &dyn DynDomain, entity: &Entity, wanted: &[String]) -> bool {
    let fields = domain.table().searched.iter().filter_map(|field| match value_of(domain, entity, field)? {
        FieldValue::Text(text) => Some(words(&text)),
        FieldValue::Number(_) => None,
    });
    let held: BTreeSet<String> = fields.flatten().collect();
    wanted.iter().all(|word| held.iter().any(|held| held.starts_with(word)))
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
