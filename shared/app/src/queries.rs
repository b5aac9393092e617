use std::sync::Arc;

use ledgerline_kernel::ports::{
    Comparison, EntityList, EntityRead, Filter, LedgerRead, ListPage, ListQuery, Position, Sort, StoreError,
};
use ledgerline_kernel::{ColumnKind, Decimal, DynDomain, Entity, EntityKey, SortKey, TenantCode, Version, VersionItem};

/// The read path: by key from the data table, lists from Postgres, history from the ledger.
#[derive(Clone)]
pub struct Queries {
    ledger: Arc<dyn LedgerRead>,
    entities: Arc<dyn EntityRead>,
    lists: Arc<dyn EntityList>,
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No such entity, or no such version of it.
    #[error("there is no {0}")]
    NotFound(EntityKey),
    /// Parameters that make no sense.
    #[error("{} parameters are not understood", .0.len())]
    Parameters(Vec<ParameterProblem>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One query parameter that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterProblem {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub message: String,
}

/// A list as it was asked for: names not yet checked against the domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListRequest {
    /// `field`, `field.gte`, … with their values.
    pub filters: Vec<(String, String)>,
    /// `-price,name`; empty for the order of ids.
    pub sort: String,
    /// Where the page before this one ended.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: usize,
    /// Whether deleted entities are listed too.
    pub include_deleted: bool,
    /// Whether to count all that match.
    pub with_total: bool,
}

/// A page of a list.
pub type Listed = ListPage;

impl Queries {
    /// A read path over these stores.
    pub fn new(ledger: Arc<dyn LedgerRead>, entities: Arc<dyn EntityRead>, lists: Arc<dyn EntityList>) -> Self {
        Self { ledger, entities, lists }
    }

    /// The entity as the read model has it; with `strong`, as the ledger has it now. `min_version`
    /// never answers from before that version: behind it, the ledger is asked.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] and [`QueryError::Store`].
    pub async fn get(
        &self,
        domain: &dyn DynDomain,
        tenant: TenantCode,
        sk: SortKey,
        strong: bool,
        min_version: Option<Version>,
    ) -> Result<Entity, QueryError> {
        let key = EntityKey::new(domain.entity_type().clone(), tenant, sk);
        if !strong
            && let Some(entity) = self.entities.get(&key).await?
            && min_version.is_none_or(|min| entity.version >= min)
        {
            return Ok(entity);
        }
        // Not projected yet is not the same as not there: the ledger knows.
        match self.ledger.newest(&key).await? {
            Some(item) => Ok(Entity::from(&item)),
            None => Err(QueryError::NotFound(key)),
        }
    }

    /// The entity as it was at one version.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] and [`QueryError::Store`].
    pub async fn at_version(
        &self,
        domain: &dyn DynDomain,
        tenant: TenantCode,
        sk: SortKey,
        version: Version,
    ) -> Result<Entity, QueryError> {
        let key = EntityKey::new(domain.entity_type().clone(), tenant, sk);
        match self.ledger.at(&key, version).await? {
            Some(item) => Ok(Entity::from(&item)),
            None => Err(QueryError::NotFound(key)),
        }
    }

    /// Up to `limit` versions with their events, newest first, below `before`. The second value
    /// is where the next page begins.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] for an entity without any version, and [`QueryError::Store`].
    pub async fn history(
        &self,
        domain: &dyn DynDomain,
        tenant: TenantCode,
        sk: SortKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<(Vec<VersionItem>, Option<Version>), QueryError> {
        let key = EntityKey::new(domain.entity_type().clone(), tenant, sk);
        let items = self.ledger.history(&key, before, limit).await?;
        if items.is_empty() && before.is_none() {
            return Err(QueryError::NotFound(key));
        }
        let next = items.last().map(|item| item.version).filter(|last| items.len() == limit && *last > Version::FIRST);
        Ok((items, next))
    }

    /// A page of the tenant's entities.
    ///
    /// # Errors
    /// [`QueryError::Parameters`] names every field, filter or sort that the domain does not have.
    pub async fn list(
        &self,
        domain: &dyn DynDomain,
        tenant: TenantCode,
        request: ListRequest,
    ) -> Result<Listed, QueryError> {
        let mut problems = Vec::new();
        let filters = request.filters.iter().filter_map(|(name, value)| {
            read_filter(domain, name, value)
                .map_err(|message| problems.push(ParameterProblem { name: name.clone(), message }))
                .ok()
        });
        let filters = filters.collect();
        let sort = read_sort(domain, &request.sort).unwrap_or_else(|message| {
            problems.push(ParameterProblem { name: "sort".to_owned(), message });
            Vec::new()
        });
        if !problems.is_empty() {
            return Err(QueryError::Parameters(problems));
        }
        let query = ListQuery {
            tenant,
            filters,
            sort,
            after: request.after,
            limit: request.limit,
            include_deleted: request.include_deleted,
            with_total: request.with_total,
        };
        Ok(self.lists.list(domain, &query).await?)
    }
}

fn read_filter(domain: &dyn DynDomain, name: &str, value: &str) -> Result<Filter, String> {
    let (field, comparison) = match name.rsplit_once('.') {
        Some((field, "gt")) => (field, Comparison::Greater),
        Some((field, "gte")) => (field, Comparison::GreaterOrEqual),
        Some((field, "lt")) => (field, Comparison::Less),
        Some((field, "lte")) => (field, Comparison::LessOrEqual),
        _ => (name, Comparison::Equal),
    };
    let kind = match field {
        "code" | "name" => ColumnKind::Text,
        _ => domain.table().column(field).ok_or_else(|| "is not a parameter of this list".to_owned())?.kind,
    };
    let value = match kind {
        ColumnKind::Text if value.contains('\0') => return Err("must not hold a NUL character".to_owned()),
        ColumnKind::Text => value.to_owned(),
        ColumnKind::Numeric => value.parse::<Decimal>().map_err(|error| error.to_string())?.to_string(),
        ColumnKind::Json => return Err("cannot be filtered by".to_owned()),
    };
    Ok(Filter { field: field.to_owned(), comparison, value })
}

fn read_sort(domain: &dyn DynDomain, text: &str) -> Result<Vec<Sort>, String> {
    let mut sorts: Vec<Sort> = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (field, descending) = part.strip_prefix('-').map_or((part, false), |field| (field, true));
        let sortable = matches!(field, "code" | "name" | "createdAt" | "updatedAt")
            || domain.table().column(field).is_some_and(|column| column.kind != ColumnKind::Json);
        if !sortable {
            return Err(format!("cannot sort by {field:?}"));
        }
        if sorts.iter().any(|sort| sort.field == field) {
            return Err(format!("names {field:?} twice"));
        }
        sorts.push(Sort { field: field.to_owned(), descending });
    }
    Ok(sorts)
}

#[cfg(test)]
#[path = "queries_tests.rs"]
mod tests;
