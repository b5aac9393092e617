//! The stall that MBC CQRS Serverless has published: a version that comes before its predecessor waits
//! for it, and when that one's message is lost, it waits for ever, and everything after it.

use ledgerline_kernel::VersionItem;

use super::{Stage, announce, histories, scale, seed};

const VERSIONS: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn chains_whose_second_version_comes_first_and_whose_first_is_lost_stall_nobody() {
    let (stage, _database) = Stage::new().await;
    let chains = histories("acme", scale(1_000), VERSIONS, seed());
    let begun = std::time::Instant::now();
    let mut records: Vec<&VersionItem> = Vec::new();
    for chain in &chains {
        stage.write(chain);
    }
    // Every chain's second version, then its third, and so on; nobody's first, ever.
    for version in 1..VERSIONS as usize {
        records.extend(chains.iter().map(|chain| &chain[version]));
    }
    let mut most = 0;
    for batch in records.chunks(200) {
        most = most.max(stage.deliver(batch).await);
    }
    assert_eq!(most, 1, "a record was asked for again: something waited");
    let all: Vec<VersionItem> = chains.into_iter().flatten().collect();
    stage.assert_is_the_fold_of("acme", &all).await;
    announce(
        "stall replayed",
        &format!(
            "{} chains to v{VERSIONS}, 0 waits, all converged; {:.1} s",
            scale(1_000),
            begun.elapsed().as_secs_f64()
        ),
    );
}
