//! How fast, and at what cost to the client.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;

/// What a number of operations took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Operations per second.
    pub(crate) rate: f64,
    /// CPU time of this process for each operation, in microseconds.
    pub(crate) cpu_us: f64,
}

/// Runs an operation on each of these requests, `in_flight` at a time. Making the requests is not
/// measured: that is the work of whoever sends them.
pub(crate) async fn measure<'a, R, F, T>(requests: &'a [R], in_flight: usize, operation: F) -> anyhow::Result<Cost>
where
    F: Fn(&'a R) -> T,
    T: Future<Output = anyhow::Result<()>>,
{
    let (wall, cpu) = (Instant::now(), cpu_time()?);
    futures::stream::iter(requests.iter().map(|request| Ok(operation(request))))
        .try_buffer_unordered(in_flight)
        .try_collect::<()>()
        .await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
    let count = requests.len() as f64;
    let cpu = cpu_time()?.saturating_sub(cpu);
    Ok(Cost { rate: count / wall.elapsed().as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / count })
}

/// The CPU time that this process has used, all of its threads together.
#[cfg(unix)]
fn cpu_time() -> anyhow::Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}

#[cfg(not(unix))]
fn cpu_time() -> anyhow::Result<Duration> {
    anyhow::bail!("CPU time is measured on Unix only")
}
