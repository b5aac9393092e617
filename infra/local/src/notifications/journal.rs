use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ledgerline_stores::{CreatedObject, ObjectListener};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;
use ulid::Ulid;

use super::Rule;
use super::event::event_of;

/// What a function is to be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Its name, by which they are in order.
    pub id: String,
    /// The rule that it is of.
    pub rule: String,
    /// The function.
    pub function: String,
    /// The event that it is invoked with.
    pub event: Value,
    /// When the object was created.
    pub created: DateTime<Utc>,
    /// When it is delivered, or tried again.
    pub due: DateTime<Utc>,
    /// How often the function has failed on it.
    pub failures: u32,
}

/// Notifications that are not delivered yet: a small file each, so that they outlive the process.
pub struct Journal {
    directory: PathBuf,
    rules: Vec<Rule>,
    waiting: Mutex<BTreeMap<String, Notification>>,
    changed: Notify,
}

impl Journal {
    /// Opens what an earlier process has left in a directory, which is made if need be.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(directory: &Path, rules: &[Rule]) -> anyhow::Result<Self> {
        let open = || -> anyhow::Result<_> {
            std::fs::create_dir_all(directory)?;
            let mut waiting = BTreeMap::new();
            for entry in std::fs::read_dir(directory)? {
                let path = entry?.path();
                // Others were not finished: whoever created the object was not answered.
                if path.extension().is_some_and(|extension| extension == "json") {
                    let text = std::fs::read_to_string(&path)?;
                    let read =
                        serde_json::from_str(&text).with_context(|| format!("{} is no notification", path.display()));
                    let notification: Notification = read?;
                    waiting.insert(notification.id.clone(), notification);
                }
            }
            Ok(waiting)
        };
        let waiting = open().with_context(|| format!("the notifications in {}", directory.display()))?;
        if !waiting.is_empty() {
            tracing::info!("{} notifications of an earlier run are still to be delivered", waiting.len());
        }
        let (directory, rules) = (directory.to_owned(), rules.to_vec());
        Ok(Self { directory, rules, waiting: Mutex::new(waiting), changed: Notify::new() })
    }

    /// The rules by which notifications are made.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// All that wait, oldest first.
    #[must_use]
    pub fn waiting(&self) -> Vec<Notification> {
        self.lock().values().cloned().collect()
    }

    /// Whether a notification waits.
    pub(super) fn has(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Waits until there may be another one.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Keeps a notification, or what has become of it.
    pub(super) async fn keep(&self, notification: Notification) -> anyhow::Result<()> {
        let (path, text) = (self.path(&notification.id), serde_json::to_vec(&notification)?);
        let new = path.with_extension("new");
        let write = move || -> anyhow::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            if let Some(directory) = path.parent() {
                // Makes the rename itself durable. Not every platform can open a directory.
                File::open(directory).and_then(|directory| directory.sync_all()).ok();
            }
            Ok(())
        };
        tokio::task::spawn_blocking(write).await?.context("a notification cannot be kept")?;
        self.lock().insert(notification.id.clone(), notification);
        self.changed.notify_one();
        Ok(())
    }

    /// Forgets a notification that is done with.
    pub(super) async fn forget(&self, id: &str) -> anyhow::Result<()> {
        let path = self.path(id);
        let removed = tokio::fs::remove_file(&path).await;
        if let Err(error) = removed
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("{} cannot be removed", path.display()));
        }
        self.lock().remove(id);
        Ok(())
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Notification>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ObjectListener for Journal {
    async fn created(&self, object: &CreatedObject) -> anyhow::Result<()> {
        for rule in self.rules.iter().filter(|rule| rule.is_of(object)) {
            let now = Utc::now();
            let sequencer = now.timestamp_nanos_opt().unwrap_or_default().unsigned_abs();
            let notification = Notification {
                id: Ulid::generate().to_string(),
                rule: rule.id.clone(),
                function: rule.function.clone(),
                event: event_of(&rule.id, object, sequencer, now),
                created: now,
                due: now,
                failures: 0,
            };
            self.keep(notification).await?;
        }
        Ok(())
    }
}
