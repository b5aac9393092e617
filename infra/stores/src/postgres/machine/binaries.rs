use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Older ones are passed over: the read models are written for this one and later.
const OLDEST_MAJOR: u32 = 14;

/// An installed PostgreSQL.
#[derive(Debug, Clone)]
pub(in crate::postgres) struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    /// The first on the `PATH`, else the newest in the places where packages put it.
    pub(in crate::postgres) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).chain(installed()).find_map(Self::in_folder)
    }

    fn in_folder(folder: PathBuf) -> Option<Self> {
        let initdb = folder.join("initdb");
        if !initdb.is_file() || !folder.join("postgres").is_file() {
            return None;
        }
        let answer = Command::new(initdb).arg("--version").output().ok()?;
        let major = parse_major(&String::from_utf8_lossy(&answer.stdout))?;
        (major >= OLDEST_MAJOR).then_some(Self { folder, major })
    }

    pub(in crate::postgres) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(in crate::postgres) fn major(&self) -> u32 {
        self.major
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }
}

/// Where packages put PostgreSQL: parent, how the name of a version's folder begins, and where its
/// programs are in it.
const PLACES: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/local", "pgsql", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

fn installed() -> impl Iterator<Item = PathBuf> {
    PLACES.into_iter().flat_map(|(parent, prefix, programs)| {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let version = name.strip_prefix(prefix)?.trim_start_matches(['@', '-']).parse().unwrap_or(0);
                Some((version, entry.path().join(programs)))
            })
            .collect();
        versions.sort_unstable_by(|one, other| other.cmp(one));
        versions.into_iter().map(|(_, folder)| folder)
    })
}

/// Reads `initdb (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn parse_major(answer: &str) -> Option<u32> {
    let version = answer.split_once("(PostgreSQL) ")?.1;
    let digits = version.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_whatever_follows_it() {
        for (answer, major) in [
            ("initdb (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some(15)),
            ("initdb (PostgreSQL) 18beta1\n", Some(18)),
            ("initdb (PostgreSQL) 17\n", Some(17)),
            ("initdb 9\n", None),
        ] {
            assert_eq!(parse_major(answer), major, "{answer}");
        }
    }
}
