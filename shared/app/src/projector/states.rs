use std::collections::BTreeMap;

use async_trait::async_trait;
use ledgerline_kernel::ports::{Applied, StateSink, StoreError};
use ledgerline_kernel::{DynDomain, EntityKey, VersionItem};

use super::parts::{Takes, in_parts};
use super::{InTime, ReadModelReport, Versions};

struct Rows<'a> {
    sink: &'a dyn StateSink,
    domain: &'a dyn DynDomain,
}

#[async_trait]
impl<'a> Takes for Rows<'a> {
    type Piece = &'a VersionItem;
    type Answer = Applied;

    async fn take(&self, items: &[&'a VersionItem]) -> Result<Applied, StoreError> {
        self.sink.apply(self.domain, items).await
    }
}

/// Applies the newest version of each entity; of one that is refused, those before it, so that the
/// row is as new as it can be.
pub(super) async fn apply<'a>(
    sink: &'a dyn StateSink,
    domain: &'a dyn DynDomain,
    entities: &BTreeMap<&'a EntityKey, Versions<'a>>,
    in_time: InTime<'_>,
) -> ReadModelReport {
    let rows = Rows { sink, domain };
    let mut report = ReadModelReport::of(sink.name());
    let newest: Vec<&VersionItem> = entities.values().filter_map(|versions| versions.last().copied()).collect();
    let parts = in_parts(&rows, &newest, in_time).await;
    for applied in parts.taken {
        count(&mut report, applied);
    }
    report.leave(parts.left.iter().map(|item| &item.key), parts.unavailable);
    for (item, reason) in parts.refused {
        let older =
            entities.get(&item.key).map_or(&[][..], |versions| versions.split_last().map_or(&[], |(_, older)| older));
        match take_one_by_one(&rows, older, in_time).await {
            OneByOne::Taken => report.refuse(&item.key, item.version, reason),
            OneByOne::Refused(version, reason) => report.refuse(&item.key, version, reason),
            OneByOne::Left(because) => report.leave([&item.key], because),
        }
    }
    report
}

enum OneByOne {
    Taken,
    /// The first that was refused.
    Refused(ledgerline_kernel::Version, String),
    Left(Option<StoreError>),
}

/// Applies the versions of one entity, oldest first.
async fn take_one_by_one(rows: &Rows<'_>, versions: &[&VersionItem], in_time: InTime<'_>) -> OneByOne {
    let mut outcome = OneByOne::Taken;
    for item in versions {
        let pieces = [*item];
        let mut parts = in_parts(rows, &pieces, in_time).await;
        match (parts.refused.pop(), &outcome) {
            (Some((_, reason)), OneByOne::Taken) => outcome = OneByOne::Refused(item.version, reason),
            _ if !parts.left.is_empty() => return OneByOne::Left(parts.unavailable),
            _ => {}
        }
    }
    outcome
}

fn count(report: &mut ReadModelReport, applied: Applied) {
    report.written += applied.written;
    report.unchanged += applied.unchanged;
    report.forks.extend(applied.forks);
}
