//! Read models that hold sums: whether these are what their entities add.
//!
//! An entity that such a read model lacks may be one whose position was lost, and its part may be in
//! the sums already. So the sums are looked at before anything is taken in. Where they are wrong, what
//! is taken in adds nothing, and they are made to say what all entities add at the end: at once, so
//! that nobody sees them wrong in another way in between.

use ledgerline_kernel::ports::{ReadModelAudit, StoreError, SumsFound};
use ledgerline_kernel::{DynDomain, TenantCode};

use super::compare::Model;
use super::confirm::Finding;
use super::{Reconciler, Repair};

/// What is to become of an entity that a read model lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakeIn {
    /// It is taken in like any other.
    Whole,
    /// Its position alone: the sums are made right at the end.
    Place,
    /// Not at all: nobody knows whether the sums hold it already.
    Not,
}

impl Reconciler {
    /// Looks at the sums, if they have not been looked at, where something is about to be taken in that
    /// they may hold already.
    pub(super) async fn before_taking_in(
        &self,
        domain: &dyn DynDomain,
        audit: &dyn ReadModelAudit,
        findings: &[Finding],
        model: &mut Model,
    ) -> Result<TakeIn, StoreError> {
        if model.sums.is_none()
            && let Some(lacked) = findings.iter().find(|finding| finding.held.is_none())
        {
            model.sums = Some(audit.sums(domain, &lacked.key.partition.tenant, false).await?);
        }
        Ok(match model.sums {
            Some(SumsFound::Wrong(_)) => TakeIn::Place,
            Some(SumsFound::Unknown) => TakeIn::Not,
            Some(SumsFound::Right | SumsFound::Corrected(_)) | None => TakeIn::Whole,
        })
    }

    /// Compares the sums with the entities, once everything else is as right as it can be.
    pub(super) async fn settle_sums(
        &self,
        domain: &dyn DynDomain,
        audit: &dyn ReadModelAudit,
        tenant: &TenantCode,
        repair: Repair,
        model: &mut Model,
    ) -> Result<(), StoreError> {
        let found = match model.sums {
            Some(known @ (SumsFound::Right | SumsFound::Corrected(_) | SumsFound::Unknown)) => known,
            Some(SumsFound::Wrong(_)) | None => audit.sums(domain, tenant, repair != Repair::No).await?,
        };
        model.sums = Some(found);
        let (read_model, resource) = (audit.name(), domain.resource());
        match found {
            SumsFound::Right => {}
            SumsFound::Wrong(rows) => {
                model.counts.wrong_sums += rows;
                tracing::error!(%tenant, resource, read_model, rows, "sums are not what their entities add");
            }
            SumsFound::Corrected(rows) => {
                model.counts.wrong_sums += rows;
                model.counts.repaired += rows;
                tracing::warn!(%tenant, resource, read_model, rows, "sums were not what their entities add, and are now");
            }
            SumsFound::Unknown => {
                tracing::warn!(%tenant, resource, read_model, "sums are too much to be compared with their entities");
            }
        }
        Ok(())
    }
}
