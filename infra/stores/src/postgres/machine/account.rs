use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The account that runs PostgreSQL: our own, or, since PostgreSQL refuses to run as root, an
/// unprivileged one of the system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    uid: u32,
    /// Where it is not our own account.
    gid: Option<u32>,
}

impl Account {
    pub(super) fn unprivileged() -> anyhow::Result<Self> {
        let own = rustix::process::geteuid();
        if !own.is_root() {
            return Ok(Self { uid: own.as_raw(), gid: None });
        }
        let accounts = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        for name in ["postgres", "nobody"] {
            if let Some(account) = accounts.lines().find_map(|line| parse(line, name)) {
                return Ok(account);
            }
        }
        bail!("PostgreSQL does not run as root, and there is no account postgres or nobody to run it as")
    }

    /// A command that runs as this account, untouched by our surroundings.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        // Messages are matched in English; and our own folder may be out of the account's reach.
        command.env("LC_ALL", "C").current_dir("/");
        if let Some(gid) = self.gid {
            command.uid(self.uid).gid(gid);
        }
        command
    }

    /// Makes the account the owner of a folder.
    pub(super) fn give(self, folder: &Path) -> anyhow::Result<()> {
        match self.gid {
            Some(gid) => chown(folder, Some(self.uid), Some(gid))
                .with_context(|| format!("cannot change the owner of {}", folder.display())),
            None => Ok(()),
        }
    }

    pub(super) fn owns(self, folder: &Path) -> bool {
        fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == self.uid)
    }

    /// Whether the account can enter a folder: all of its parents let it through.
    pub(super) fn reaches(self, folder: &Path) -> bool {
        if self.gid.is_none() {
            return true;
        }
        let mut enter = self.command(Path::new("/bin/sh"));
        enter.args(["-c", "cd -- \"$1\"", "sh"]).arg(folder).stdin(Stdio::null()).stderr(Stdio::null());
        enter.status().is_ok_and(|status| status.success())
    }
}

/// Reads `name:password:uid:gid:…`.
fn parse(line: &str, name: &str) -> Option<Account> {
    let mut fields = line.split(':');
    if fields.next() != Some(name) {
        return None;
    }
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { uid, gid: Some(gid) })
}
