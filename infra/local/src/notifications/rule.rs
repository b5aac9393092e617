use std::time::Duration;

use chrono::{DateTime, Utc};
use ledgerline_stores::CreatedObject;

use super::journal::Notification;
use crate::event_source::InvokeError;

/// Which objects a function is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The names of function and event in the template.
    pub id: String,
    /// The function.
    pub function: String,
    /// The local name of the bucket.
    pub bucket: String,
    /// `s3:ObjectCreated:*` or one of them.
    pub events: Vec<String>,
    /// How the keys begin.
    pub prefix: String,
    /// How the keys end.
    pub suffix: String,
    /// What becomes of invocations that fail.
    pub invoke: AsyncInvoke,
}

/// How a function is invoked asynchronously, named as in CloudFormation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsyncInvoke {
    /// `MaximumRetryAttempts`
    pub retries: u32,
    /// `MaximumEventAgeInSeconds`
    pub max_age: Duration,
    /// The local name of the queue that `DestinationConfig` names.
    pub on_failure: Option<String>,
    /// The local name of the queue that `DeadLetterQueue` names.
    pub dead_letters: Option<String>,
}

impl Default for AsyncInvoke {
    /// Two retries within six hours, and nobody is told of a failure.
    fn default() -> Self {
        Self { retries: 2, max_age: Duration::from_secs(6 * 60 * 60), on_failure: None, dead_letters: None }
    }
}

impl Rule {
    /// Whether it is of such an object.
    #[must_use]
    pub fn is_of(&self, object: &CreatedObject) -> bool {
        let is_event = |event: &String| {
            let wanted = event.strip_prefix("s3:").unwrap_or(event);
            wanted.strip_suffix('*').map_or(wanted == object.event, |start| object.event.starts_with(start))
        };
        let CreatedObject { bucket, key, .. } = object;
        *bucket == self.bucket
            && self.events.iter().any(is_event)
            && key.starts_with(&self.prefix)
            && key.ends_with(&self.suffix)
    }
}

/// What follows from an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It is done with.
    Done,
    /// Invoke the function again then, which has failed so often.
    Again {
        /// When.
        due: DateTime<Utc>,
        /// How often it has failed.
        failures: u32,
    },
    /// It is given up, for this reason as Lambda calls it.
    GivenUp(&'static str),
}

impl AsyncInvoke {
    /// Decides what follows from an answer, as "How Lambda handles errors and retries with asynchronous
    /// invocation" says: a failure is tried again after one minute and then after two; a function that cannot be
    /// invoked again and again, after one second at first and five minutes at last.
    #[must_use]
    pub fn next(
        &self,
        notification: &Notification,
        unreachable: u32,
        answer: &Result<String, InvokeError>,
        now: DateTime<Utc>,
    ) -> Next {
        let (delay, failures) = match answer {
            Ok(_) => return Next::Done,
            Err(InvokeError::Failed(_)) => (60 * u64::from(notification.failures + 1), notification.failures + 1),
            Err(InvokeError::Unavailable(_)) => ((1 << unreachable.min(9)).min(300), notification.failures),
        };
        if failures > self.retries {
            return Next::GivenUp("RetriesExhausted");
        }
        let due = now + Duration::from_secs(delay);
        let is_too_old = (due - notification.created).to_std().is_ok_and(|age| age > self.max_age);
        if is_too_old { Next::GivenUp("EventAgeExceeded") } else { Next::Again { due, failures } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        Rule {
            id: "Splitter.Uploaded".to_owned(),
            function: "splitter".to_owned(),
            bucket: "files".to_owned(),
            events: vec!["s3:ObjectCreated:Put".to_owned(), "s3:ObjectCreated:C*".to_owned()],
            prefix: "imports/".to_owned(),
            suffix: "/source".to_owned(),
            invoke: AsyncInvoke::default(),
        }
    }

    #[test]
    fn a_rule_is_of_its_bucket_its_events_and_its_keys() {
        let object = |event, bucket: &str, key: &str| CreatedObject {
            event,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            size: 1,
            etag: String::new(),
        };
        for (event, bucket, key, expected) in [
            ("ObjectCreated:Put", "files", "imports/a/source", true),
            ("ObjectCreated:Copy", "files", "imports/a/source", true),
            ("ObjectCreated:CompleteMultipartUpload", "files", "imports/a/source", true),
            ("ObjectCreated:Post", "files", "imports/a/source", false),
            ("ObjectCreated:Put", "others", "imports/a/source", false),
            ("ObjectCreated:Put", "files", "exports/a/source", false),
            ("ObjectCreated:Put", "files", "imports/a/source.csv", false),
        ] {
            assert_eq!(rule().is_of(&object(event, bucket, key)), expected, "{event} {bucket} {key}");
        }
        let all = Rule { events: vec!["s3:ObjectCreated:*".to_owned()], ..rule() };
        assert!(all.is_of(&object("ObjectCreated:Post", "files", "imports/a/source")));
    }

    #[test]
    fn a_function_that_fails_is_tried_twice_more_and_one_that_is_away_until_the_event_is_old() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let failing = |failures| Notification { failures, created: now, ..Notification::default() };
        let next = |failures, unreachable, answer: &Result<String, InvokeError>| {
            AsyncInvoke::default().next(&failing(failures), unreachable, answer, now)
        };
        let (failed, away) = (Err(InvokeError::Failed(String::new())), Err(InvokeError::Unavailable(String::new())));
        let again = |seconds, failures| Next::Again { due: now + Duration::from_secs(seconds), failures };
        assert_eq!(next(0, 0, &Ok(String::new())), Next::Done);
        assert_eq!([next(0, 0, &failed), next(1, 0, &failed)], [again(60, 1), again(120, 2)]);
        assert_eq!(next(2, 0, &failed), Next::GivenUp("RetriesExhausted"));
        assert_eq!([0, 1, 8, 99].map(|times| next(2, times, &away)), [1, 2, 256, 300].map(|wait| again(wait, 2)));
        let old = Notification { created: now - Duration::from_secs(6 * 60 * 60), ..failing(0) };
        assert_eq!(AsyncInvoke::default().next(&old, 0, &away, now), Next::GivenUp("EventAgeExceeded"));
    }
}
