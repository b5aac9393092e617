//! A local host as a child process, measured from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A running `ledgerline`, ended when dropped.
pub(crate) struct Host {
    child: Child,
    port: u16,
    started: Instant,
}

impl Host {
    /// Starts it on a free port and a data directory of its own.
    pub(crate) fn start(
        binary: &Path,
        data_dir: &Path,
        arguments: &[&str],
        postgres: Postgres,
    ) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(binary);
        command.args(["--data-dir", &data_dir.to_string_lossy(), "--port", &port.to_string()]).args(arguments);
        if postgres == Postgres::Embedded {
            command.env("LEDGERLINE_POSTGRES", "embedded");
        }
        let started = Instant::now();
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}; build it with `cargo build`", binary.display()))?;
        Ok(Self { child, port, started })
    }

    /// Waits for the first 200 of `/healthz`; answers the time since the process was started.
    pub(crate) fn wait_until_healthy(&mut self) -> anyhow::Result<Duration> {
        while self.started.elapsed() < Duration::from_secs(120) {
            if self.is_healthy() {
                return Ok(self.started.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the host ended with {status}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        bail!("the host was not healthy within two minutes")
    }

    /// Waits for the line that a host started with `--json` prints once it is up, seeded if asked to.
    pub(crate) fn wait_for_summary(&mut self) -> anyhow::Result<serde_json::Value> {
        let output = self.child.stdout.take().context("the host's output was read already")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the host said {line:?}"))
    }

    fn is_healthy(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = [0; 12];
        let asked = stream
            .set_read_timeout(Some(Duration::from_secs(2)))
            .and_then(|()| stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
            .and_then(|()| stream.read_exact(&mut answer));
        asked.is_ok() && answer.ends_with(b" 200")
    }

    /// Resident memory now and at its highest, in MiB. Linux only.
    pub(crate) fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find(|line| line.starts_with(name)).context("no such field in /proc")?;
            let kib: u64 = line.split_whitespace().nth(1).context("no figure in /proc")?.parse()?;
            Ok(kib / 1024)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let asked = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        if asked.is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Which Postgres the host is to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Postgres {
    /// Its own choice: the machine's binaries where there are any.
    Default,
    /// The embedded one.
    Embedded,
}
