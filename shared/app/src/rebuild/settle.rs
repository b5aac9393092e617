//! Who is right where the new tables and the live ones differ.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use ledgerline_kernel::ports::Difference;
use ledgerline_kernel::{EntityKey, Version, VersionItem};

use super::{NAMED, RebuildStep, RebuildStopped, Work};

/// Differences looked at in one go.
const PAGE: u32 = 2000;

/// Entities looked up at once.
const IN_FLIGHT: usize = 16;

/// What the ledger says of a difference.
enum Verdict {
    /// The new tables are right.
    Right,
    /// They lack what the ledger has.
    Behind(Box<VersionItem>),
    /// They hold what the ledger does not.
    Wrong,
}

impl Work<'_> {
    /// Goes on until every difference is one in which the new tables are right.
    pub(super) async fn settle(&self, looked_up: &mut u64) -> Result<(), RebuildStopped> {
        // What was behind, and up to which version it was brought then.
        let mut brought: BTreeMap<(String, String), Version> = BTreeMap::new();
        loop {
            let differences = self.views.differences(PAGE).await?;
            if differences.is_empty() {
                return Ok(());
            }
            let (mut right, mut wrong, mut behind) = (Vec::new(), Vec::new(), BTreeMap::new());
            let mut verdicts =
                futures::stream::iter(differences).map(|difference| self.judge(difference)).buffer_unordered(IN_FLIGHT);
            while let Some((difference, verdict)) = verdicts.try_next().await? {
                *looked_up += 1;
                let place = (difference.of.clone(), difference.id.clone());
                match verdict {
                    Verdict::Right => right.push(difference),
                    Verdict::Wrong => wrong.push(describe(&difference)),
                    Verdict::Behind(newest) if brought.get(&place) == Some(&newest.version) => {
                        // It was tried, and refused. Its rows may be as new as they can be.
                        match self.is_of_the_ledger(&difference, &newest.key).await? {
                            true => right.push(difference),
                            false => wrong.push(describe(&difference)),
                        }
                    }
                    Verdict::Behind(newest) => {
                        brought.insert(place, newest.version);
                        behind.insert(newest.key.clone(), *newest);
                    }
                }
            }
            drop(verdicts);
            if !wrong.is_empty() {
                wrong.truncate(NAMED);
                return Err(RebuildStopped::Wrong(wrong));
            }
            self.views.confirm(&right).await?;
            self.bring(behind.into_values().collect()).await?;
            (self.progress)(RebuildStep::Comparing { looked_up: *looked_up });
        }
    }

    async fn judge(&self, difference: Difference) -> Result<(Difference, Verdict), RebuildStopped> {
        let newest = match difference.id.parse::<EntityKey>() {
            Ok(key) => self.ledger.newest(&key).await?,
            // No entity has such an id.
            Err(_) => None,
        };
        let verdict = match (&difference.rebuilt, newest) {
            (None, None) => Verdict::Right,
            (Some((version, hash)), Some(newest)) if *version == newest.version && *hash == newest.hash => {
                Verdict::Right
            }
            (None, Some(newest)) => Verdict::Behind(Box::new(newest)),
            (Some((version, _)), Some(newest)) if *version < newest.version => Verdict::Behind(Box::new(newest)),
            _ => Verdict::Wrong,
        };
        Ok((difference, verdict))
    }

    async fn is_of_the_ledger(&self, difference: &Difference, key: &EntityKey) -> Result<bool, RebuildStopped> {
        let Some((version, hash)) = &difference.rebuilt else { return Ok(difference.live.is_none()) };
        Ok(self.ledger.at(key, *version).await?.is_some_and(|item| item.hash == *hash))
    }

    async fn bring(&self, items: Vec<VersionItem>) -> Result<(), RebuildStopped> {
        let good: Vec<VersionItem> = items.into_iter().filter(|item| self.projector.check(item).is_ok()).collect();
        for page in good.chunks(usize::try_from(self.options.page_rows.max(1)).unwrap_or(1)) {
            for read_model in self.projector.project(page, &|| true).await.read_models {
                if let Some(error) = read_model.unavailable {
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}

fn describe(difference: &Difference) -> String {
    let side = |side: &Option<_>| match side {
        Some((version, hash)) => format!("version {version} ({hash})"),
        None => "nothing".to_owned(),
    };
    format!(
        "{}: {} has {}, the live one {}",
        difference.of,
        difference.id,
        side(&difference.rebuilt),
        side(&difference.live)
    )
}
