//! A tenant that was named and that there is not: most likely a slip of the pen, and not all well.

use anyhow::Context as _;
use ledgerline_kernel::TenantCode;

use crate::failure::Failure;
use crate::operate::Site;

/// How many tenants are named instead.
const NAMED: usize = 10;

/// Fails if the ledger has nothing of `tenant`. For when nothing was found of it elsewhere.
///
/// # Errors
/// [`Failure::NO_SUCH_TENANT`] names those that there are, if they are few.
pub(crate) async fn ensure_known(site: &Site, tenant: &TenantCode) -> anyhow::Result<()> {
    let reconciler = &site.upkeep.reconciler;
    if reconciler.knows(tenant).await.context("cannot read the ledger")? {
        return Ok(());
    }
    let known = reconciler.tenants(NAMED + 1).await.context("cannot read the ledger")?;
    anyhow::ensure!(!known.contains(tenant), "the ledger has things of {tenant} that no domain here knows");
    Err(unknown(tenant, known).into())
}

/// Says that there is no such tenant, and which there are; beyond a few, that there are more.
pub(crate) fn unknown(tenant: &TenantCode, known: impl IntoIterator<Item = TenantCode>) -> Failure {
    let mut known: Vec<String> = known.into_iter().map(|tenant| tenant.to_string()).collect();
    let has_more = known.len() > NAMED;
    known.truncate(NAMED);
    let instead = match known.as_slice() {
        [] => "; it is empty".to_owned(),
        known => format!("; it has {}{}", known.join(", "), if has_more { " and others" } else { "" }),
    };
    Failure::new(Failure::NO_SUCH_TENANT, format!("the ledger has nothing of the tenant {tenant}{instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenants_that_there_are_are_named_if_they_are_few() {
        let said = |count: usize| {
            let known = (0..count).map(|number| format!("t{number}").parse().unwrap());
            unknown(&"akme".parse().unwrap(), known).message
        };
        assert_eq!(said(0), "the ledger has nothing of the tenant akme; it is empty");
        assert_eq!(said(2), "the ledger has nothing of the tenant akme; it has t0, t1");
        assert!(said(10).ends_with("t8, t9") && said(11).ends_with("t9 and others"), "{}", said(11));
    }
}
