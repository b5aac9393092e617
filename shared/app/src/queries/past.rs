use ledgerline_kernel::{DynDomain, Entity, EntityKey, SortKey, TenantCode, Timestamp, Version, VersionItem};

use super::{Queries, QueryError};

impl Queries {
    /// The entity as it was at a moment: its newest version that was made then or before, deleted or
    /// not. One read where that is the newest, and otherwise about as many as the history's length
    /// has binary digits.
    ///
    /// Versions are found by when they were made, and clocks of different machines disagree by a
    /// little: of two commands within that little, either may be the last before the moment.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] before the first version, and where the version of that moment is not
    /// kept any longer; [`QueryError::Store`].
    pub async fn as_of(
        &self,
        domain: &dyn DynDomain,
        tenant: TenantCode,
        sk: SortKey,
        moment: Timestamp,
    ) -> Result<Entity, QueryError> {
        let key = EntityKey::new(domain.entity_type().clone(), tenant, sk);
        match self.version_at(&key, moment).await? {
            Some(item) => Ok(Entity::from(&item)),
            None => Err(QueryError::NotFound(key)),
        }
    }

    async fn version_at(&self, key: &EntityKey, moment: Timestamp) -> Result<Option<VersionItem>, QueryError> {
        let Some(newest) = self.ledger.newest(key).await? else { return Ok(None) };
        if newest.updated.at <= moment {
            return Ok(Some(newest));
        }
        let Some(first) = self.ledger.at(key, Version::FIRST).await? else { return Ok(None) };
        if first.updated.at > moment {
            return Ok(None);
        }
        // What was looked for is `before`, or between `passed` and `after`: no version between
        // `before` and `passed` is kept.
        let (mut before, mut passed, mut after) = (first, Version::FIRST.number(), newest.version.number());
        while after - passed > 1 {
            let middle = passed + (after - passed) / 2;
            match self.newest_up_to(key, middle).await? {
                Some(item) if item.updated.at > moment => after = item.version.number(),
                Some(item) => {
                    before = item;
                    passed = middle;
                }
                None => passed = middle,
            }
        }
        Ok((before.version.number() + 1 == after).then_some(before))
    }

    async fn newest_up_to(&self, key: &EntityKey, number: u64) -> Result<Option<VersionItem>, QueryError> {
        let above = Version::new(number + 1).ok();
        Ok(self.ledger.history(key, above, 1).await?.pop())
    }
}
