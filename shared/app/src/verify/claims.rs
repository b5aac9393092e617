//! The unique values that entities have, against the claims that are stored.

use std::collections::{BTreeMap, BTreeSet};

use ledgerline_kernel::{Claim, EntityKey};

use super::UniqueValues;
use super::report::{Defect, DefectKind};

/// Stored claims, and who holds them.
pub(super) type Claims = BTreeMap<Claim, EntityKey>;

/// Who has which unique value.
#[derive(Debug, Default)]
pub(super) struct Holders {
    by_claim: BTreeMap<Claim, Vec<EntityKey>>,
    /// Entities whose values cannot be told.
    unknown: BTreeSet<EntityKey>,
}

impl Holders {
    /// Notes an entity's values. Entities come in the order of their keys.
    pub(super) fn note(&mut self, key: &EntityKey, unique: UniqueValues) {
        let Some(unique) = unique else {
            self.unknown.insert(key.clone());
            return;
        };
        for (field, value) in unique {
            let (tenant, entity_type) = (key.partition.tenant.clone(), key.partition.entity_type.clone());
            let claim = Claim { tenant, entity_type, field: field.to_owned(), value };
            self.by_claim.entry(claim).or_default().push(key.clone());
        }
    }

    pub(super) fn of(&self, claim: &Claim) -> &[EntityKey] {
        self.by_claim.get(claim).map_or(&[], Vec::as_slice)
    }
}

/// Every difference, with the claim it is about, in the order of claims.
pub(super) fn compare(claims: &Claims, holders: &Holders) -> Vec<(Claim, Defect)> {
    let all: BTreeSet<&Claim> = claims.keys().chain(holders.by_claim.keys()).collect();
    let mut found = Vec::new();
    for claim in all {
        let (stored, living) = (claims.get(claim), holders.of(claim));
        let mut add = |key: &EntityKey, kind, detail| found.push((claim.clone(), Defect::of(key, None, kind, detail)));
        if let Some(owner) = stored.filter(|key| living.contains(key)).or(living.first()) {
            match stored {
                Some(stored) if stored == owner => {}
                Some(stored) => add(owner, DefectKind::ClaimMissing, format!("{claim} is claimed for {stored}")),
                None => add(owner, DefectKind::ClaimMissing, format!("nobody claims {claim}")),
            }
            for other in living.iter().filter(|other| *other != owner) {
                add(other, DefectKind::ValueTakenTwice, format!("{claim} is that of {owner} too"));
            }
        }
        if let Some(stored) = stored.filter(|key| !living.contains(key) && !holders.unknown.contains(key)) {
            add(stored, DefectKind::ClaimOrphaned, format!("{claim} is claimed for it, but it does not have it"));
        }
    }
    found
}
