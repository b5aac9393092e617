use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const POLL: Duration = Duration::from_millis(20);

fn pid_file(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

/// Whether the server with this process id takes connections on `data`. Its file may still be that
/// of a server before it.
pub(super) fn is_ready(data: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(pid_file(data)) else { return false };
    let mut lines = text.lines();
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6).is_some_and(|status| status.trim() == "ready")
}

/// Stops a server that was left running on `data`. Only for a directory that we hold the lock of: a
/// server on it has lost its owner.
pub(super) fn stop_orphan(data: &Path) -> anyhow::Result<()> {
    let Some(pid) = recorded_pid(data) else { return Ok(()) };
    if !is_server_of(pid, data) {
        // The number may be somebody else's by now, and PostgreSQL would refuse to start.
        if test_kill_process(pid).is_ok() {
            fs::remove_file(pid_file(data))?;
        }
        return Ok(());
    }
    tracing::info!("stopping the PostgreSQL (process {pid}) that was left running on {}", data.display());
    for (signal, seconds) in [(Signal::INT, 10), (Signal::QUIT, 5), (Signal::KILL, 5)] {
        // Fails if it has just ended by itself.
        let _ = kill_process(pid, signal);
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            if !is_server_of(pid, data) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
    }
    bail!("cannot stop the PostgreSQL (process {pid}) that was left running on {}; end it", data.display())
}

fn recorded_pid(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(pid_file(data)).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

/// Whether the process is a server running on `data`, and not another one with a reused number.
fn is_server_of(pid: Pid, data: &Path) -> bool {
    if Path::new("/proc/self").exists() {
        // A server's working directory is its data directory.
        let folder = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()));
        return folder.is_ok_and(|folder| Some(folder) == data.canonicalize().ok());
    }
    let pid = pid.as_raw_nonzero().to_string();
    let answer = Command::new("ps").args(["-o", "command=", "-p", &pid]).output();
    answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).contains(&*data.to_string_lossy()))
}
