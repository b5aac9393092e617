use std::sync::Arc;

use ledgerline_domain::Product;
use ledgerline_kernel::{Domain, DynDomain, EntityType, KeyError, erase};

/// Why a domain cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Its type is not a valid one.
    #[error(transparent)]
    Type(#[from] KeyError),
    /// Its type begins the keys of something else in the ledger table.
    #[error("{0} is the type of no domain: imports have its keys")]
    Reserved(&'static str),
    /// It has delta projections, which take in every version, and lets versions expire. A projection
    /// that is made again, or was away for longer than versions stay, would count wrongly for good.
    #[error("{resource} has delta projections and lets versions expire: its delta projections need all of them")]
    Forgets {
        /// The domain's resource.
        resource: &'static str,
    },
}

/// The domains that a deployment serves.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    domains: Vec<Arc<dyn DynDomain>>,
}

impl Registry {
    /// Every domain of this repository. A new one is registered here, in one line.
    ///
    /// # Errors
    /// [`RegistryError`] if a domain cannot be served; a test rules that out.
    pub fn shipped() -> Result<Self, RegistryError> {
        Self::default().with::<Product>()
    }

    /// Adds a domain.
    ///
    /// # Errors
    /// [`RegistryError`] if it cannot be served.
    pub fn with<D: Domain>(mut self) -> Result<Self, RegistryError> {
        let domain = erase::<D>()?;
        if D::TYPE == "IMPORT" {
            return Err(RegistryError::Reserved(D::TYPE));
        }
        if domain.retention_days().is_some() && !domain.deltas().is_empty() {
            return Err(RegistryError::Forgets { resource: D::RESOURCE });
        }
        self.domains.push(domain);
        Ok(self)
    }

    /// All of them.
    pub fn domains(&self) -> impl Iterator<Item = &Arc<dyn DynDomain>> {
        self.domains.iter()
    }

    /// The domain behind a URL's resource, such as `products`.
    #[must_use]
    pub fn by_resource(&self, resource: &str) -> Option<&Arc<dyn DynDomain>> {
        self.domains.iter().find(|domain| domain.resource() == resource)
    }

    /// The domain of an entity type, such as `PRODUCT`.
    #[must_use]
    pub fn by_type(&self, entity_type: &EntityType) -> Option<&Arc<dyn DynDomain>> {
        self.domains.iter().find(|domain| domain.entity_type() == entity_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_domain_has_a_type_a_resource_and_a_table_of_its_own() {
        let registry = Registry::shipped().unwrap();
        for domain in registry.domains() {
            let same_name = |other: &&Arc<dyn DynDomain>| {
                other.resource() == domain.resource()
                    || other.entity_type() == domain.entity_type()
                    || other.table().name == domain.table().name
            };
            assert_eq!(registry.domains().filter(same_name).count(), 1, "{}", domain.resource());
        }
    }
}
