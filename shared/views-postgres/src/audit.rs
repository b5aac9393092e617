//! What the tables have, for comparing them with the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use ledgerline_kernel::ports::{Digest, ReadModelAudit, StateSink, StoreError, SumsFound};
use ledgerline_kernel::{DynDelta, DynDomain, EntityKey, EntityType, Hash, SortKey, TenantCode, Version, VersionItem};
use sqlx::AssertSqlSafe;

use crate::PostgresViews;
use crate::apply::{Batch, upsert};
use crate::failure::Failure;
use crate::session::{Role, within};
use crate::sums;
use crate::table_sql::identifier;

/// The sum of the first 16 hexadecimal digits of all hashes, as text. A hash that is none counts as
/// nothing, so that it shows.
const SUM: &str = "coalesce(sum(CASE WHEN {hash} ~ '^[0-9a-f]{64}$' \
                   THEN ('x' || left({hash}, 16))::bit(64)::bigint ELSE 0 END), 0)::text";

impl PostgresViews {
    /// Everything in here that can be compared with the ledger: the tables of states, and the
    /// positions of these domains' delta projections.
    #[must_use]
    pub fn audits<'a>(
        &self,
        domains: impl IntoIterator<Item = &'a Arc<dyn DynDomain>>,
    ) -> Vec<Arc<dyn ReadModelAudit>> {
        let mut audits: Vec<Arc<dyn ReadModelAudit>> = vec![Arc::new(self.clone())];
        for domain in domains {
            for delta in domain.deltas() {
                let (views, entity_type) = (self.clone(), domain.entity_type().clone());
                audits.push(Arc::new(Positions { views, entity_type, delta }));
            }
        }
        audits
    }

    async fn pairs(&self, sql: &str, projection: Option<&str>, ids: &[String]) -> Result<Held, StoreError> {
        within(self.write_limit, async {
            let mut session = self.begin(Role::Projector, self.write_limit).await?;
            // Safe: see `identifier`; the same goes for the other statements.
            let rows = sqlx::query_as::<_, (String, i64, String)>(AssertSqlSafe(sql)).bind(ids).bind(projection);
            let rows = rows.fetch_all(session.connection()).await?;
            session.commit().await?;
            Ok(rows.into_iter().filter_map(held).collect())
        })
        .await
    }

    async fn sum(&self, sql: &str, bound: [&str; 3]) -> Result<Digest, StoreError> {
        within(self.write_limit, async {
            let mut session = self.begin(Role::Projector, self.write_limit).await?;
            let mut row = sqlx::query_as::<_, (i64, String)>(AssertSqlSafe(sql));
            for value in bound {
                row = row.bind(value.to_owned());
            }
            let (entities, sum) = row.fetch_one(session.connection()).await?;
            session.commit().await?;
            let sum: i128 = sum.parse().map_err(|_| Failure::Nonsense("a sum that is no number".to_owned()))?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^64 is what is meant")]
            let sum = sum as u64;
            Ok(Digest { entities: u64::try_from(entities).unwrap_or(0), sum })
        })
        .await
    }

    async fn ids(&self, sql: &str, bound: [&str; 3], limit: usize) -> Result<Vec<EntityKey>, StoreError> {
        within(self.write_limit, async {
            let mut session = self.begin(Role::Projector, self.write_limit).await?;
            let mut ids = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql));
            for value in bound {
                ids = ids.bind(value.to_owned());
            }
            let ids = ids.bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(session.connection()).await?;
            session.commit().await?;
            // One that is no key is no entity's, and cannot be looked up; the sum shows it.
            Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
        })
        .await
    }
}

type Held = BTreeMap<EntityKey, (Version, Hash)>;

fn held((id, version, hash): (String, i64, String)) -> Option<(EntityKey, (Version, Hash))> {
    let version = Version::new(u64::try_from(version).ok()?).ok()?;
    Some((id.parse().ok()?, (version, hash.parse().unwrap_or_else(|_| Hash::of(&hash)))))
}

fn ids_of(keys: &[EntityKey]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

/// What the id of every entity of this kind and tenant begins with, and of no other; and where the
/// next one may be.
pub(crate) fn range(entity_type: &EntityType, tenant: &TenantCode, after: Option<&SortKey>) -> [String; 2] {
    let start = after.map(SortKey::encoded).unwrap_or_default();
    // `$` follows `#`, and no tenant code holds either.
    [format!("{entity_type}#{tenant}#{start}"), format!("{entity_type}#{tenant}$")]
}

fn sum_of(hash: &str) -> String {
    SUM.replace("{hash}", hash)
}

#[async_trait]
impl ReadModelAudit for PostgresViews {
    fn name(&self) -> &'static str {
        StateSink::name(self)
    }

    async fn held(&self, domain: &dyn DynDomain, keys: &[EntityKey]) -> Result<Held, StoreError> {
        let table = identifier(domain.table().name)?;
        let sql =
            format!("SELECT id, version, payload_hash FROM {table} WHERE id = ANY($1::text[]) AND $2::text IS NULL");
        self.pairs(&sql, None, &ids_of(keys)).await
    }

    async fn digest(&self, domain: &dyn DynDomain, tenant: &TenantCode) -> Result<Digest, StoreError> {
        let table = identifier(domain.table().name)?;
        let sql = format!(
            "SELECT count(*), {} FROM {table} WHERE tenant_code = $1 AND id > $2 AND id < $3",
            sum_of("payload_hash")
        );
        let [from, to] = range(domain.entity_type(), tenant, None);
        self.sum(&sql, [tenant.as_str(), &from, &to]).await
    }

    async fn entities(
        &self,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        after: Option<&SortKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        let table = identifier(domain.table().name)?;
        let sql = format!("SELECT id FROM {table} WHERE tenant_code = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4");
        let [from, to] = range(domain.entity_type(), tenant, after);
        self.ids(&sql, [tenant.as_str(), &from, &to], limit).await
    }

    /// In one transaction, so that nobody sees the step back.
    async fn replace(&self, domain: &dyn DynDomain, item: &VersionItem, held: Version) -> Result<bool, StoreError> {
        let sql = self.table_sql(domain.table())?;
        let batch = Batch::new(domain.table(), &[item])?;
        let table = identifier(domain.table().name)?;
        let step_back = format!("UPDATE {table} SET version = 0 WHERE id = $1 AND version = $2");
        within(self.write_limit, async {
            let mut session = self.begin(Role::Projector, self.write_limit).await?;
            let stepped = sqlx::query(AssertSqlSafe(step_back))
                .bind(item.key.to_string())
                .bind(i64::try_from(held.number()).unwrap_or(i64::MAX))
                .execute(session.connection())
                .await?;
            let replaced = stepped.rows_affected() == 1 && upsert(&mut session, &sql, &batch).await? == 1;
            session.commit().await?;
            Ok(replaced)
        })
        .await
    }
}

/// The positions of a delta projection: how far its sums are with each entity.
pub(crate) struct Positions {
    pub(crate) views: PostgresViews,
    pub(crate) entity_type: EntityType,
    pub(crate) delta: Arc<dyn DynDelta>,
}

#[async_trait]
impl ReadModelAudit for Positions {
    fn name(&self) -> &'static str {
        self.delta.name()
    }

    fn concerns(&self, domain: &dyn DynDomain) -> bool {
        *domain.entity_type() == self.entity_type
    }

    async fn held(&self, _: &dyn DynDomain, keys: &[EntityKey]) -> Result<Held, StoreError> {
        let sql = "SELECT entity_id, version, hash FROM projection_position \
                   WHERE entity_id = ANY($1::text[]) AND projection = $2";
        self.views.pairs(sql, Some(self.delta.name()), &ids_of(keys)).await
    }

    async fn digest(&self, _: &dyn DynDomain, tenant: &TenantCode) -> Result<Digest, StoreError> {
        let sql = format!(
            "SELECT count(*), {} FROM projection_position WHERE projection = $1 AND entity_id > $2 AND entity_id < $3",
            sum_of("hash")
        );
        let [from, to] = range(&self.entity_type, tenant, None);
        self.views.sum(&sql, [self.delta.name(), &from, &to]).await
    }

    async fn entities(
        &self,
        _: &dyn DynDomain,
        tenant: &TenantCode,
        after: Option<&SortKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        let sql = "SELECT entity_id FROM projection_position \
                   WHERE projection = $1 AND entity_id > $2 AND entity_id < $3 ORDER BY entity_id LIMIT $4";
        let [from, to] = range(&self.entity_type, tenant, after);
        self.views.ids(sql, [self.delta.name(), &from, &to], limit).await
    }

    /// Sums hold what many entities have added: what one of them should not have cannot be taken out.
    async fn replace(&self, _: &dyn DynDomain, _: &VersionItem, _: Version) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn sums(&self, _: &dyn DynDomain, tenant: &TenantCode, correct: bool) -> Result<SumsFound, StoreError> {
        sums::compare(self, tenant, correct).await
    }
}
