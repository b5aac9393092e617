use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;

/// Each line of the input is the process to guard now. At the end of the input, which comes however
/// our process ends, that one is stopped ("fast": sessions are ended, data is saved; after 5 s
/// "immediate"; after 2 more it is killed, which ends even one that hangs) and the folder removed.
const SCRIPT: &str = r#"
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -INT "$pid"
    tenths=0
    while kill -0 "$pid" && [ "$tenths" -lt 70 ]; do
        sleep 0.1
        tenths=$((tenths + 1))
        [ "$tenths" -ne 50 ] || kill -QUIT "$pid"
    done
    [ "$tenths" -lt 70 ] || kill -KILL "$pid"
fi
[ -z "$1" ] || rm -rf -- "$1"
"#;

/// A small process that outlives ours just long enough to clean up after it.
#[derive(Debug)]
pub(super) struct Watchdog {
    process: Child,
    /// Open as long as our process lives. No other process has it.
    input: Option<ChildStdin>,
}

impl Watchdog {
    /// Begins to watch over our process; `folder` is removed after it.
    pub(super) fn start(folder: Option<&Path>) -> anyhow::Result<Self> {
        let mut process = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(folder.map_or(OsStr::new(""), Path::as_os_str))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal must not end it before us.
            .process_group(0)
            .spawn()
            .context("cannot run /bin/sh")?;
        let input = process.stdin.take();
        Ok(Self { process, input })
    }

    /// From now on guards this process instead of the one before.
    pub(super) fn guard(&mut self, pid: u32) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("the watchdog was released")?;
        writeln!(input, "{pid}").context("the watchdog is gone")
    }

    /// Lets it clean up now.
    pub(super) fn release(&mut self) {
        self.input = None;
    }

    /// Waits until it has cleaned up.
    pub(super) fn wait(&mut self) -> anyhow::Result<()> {
        self.process.wait().context("cannot wait for the watchdog")?;
        Ok(())
    }
}
