//! The issuer's public keys: fetched on demand, kept, and asked for again when a token names a key
//! that is not among them.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;

/// Where the issuer's key set comes from.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// The key set as it is now. Bounded in time and size.
    ///
    /// # Errors
    /// [`KeySourceError`] if it cannot be had.
    async fn fetch(&self) -> Result<JwkSet, KeySourceError>;
}

/// Why a key set could not be had; for logs, never for callers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the issuer's keys cannot be fetched: {0}")]
pub struct KeySourceError(pub String);

/// At most one fetch per so many seconds as long as there are no keys at all and nobody can be let in.
const SECONDS_BETWEEN_FIRST_FETCHES: i64 = 1;

/// After so many seconds the keys are looked at again even if no token asks for a new one: a key
/// that the issuer has withdrawn must not be good for ever.
const SECONDS_OF_TRUST: i64 = 3600;

/// A key and the one algorithm it is good for.
#[derive(Debug)]
pub(crate) struct VerificationKey {
    id: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

impl VerificationKey {
    /// `None` for keys of other kinds and purposes; a symmetric key is never one.
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            _ => return None,
        };
        let common = &jwk.common;
        let for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let for_algorithm = common.key_algorithm.is_none_or(|stated| stated == KeyAlgorithm::from(algorithm));
        if !(for_signatures && for_algorithm) {
            return None;
        }
        Some(Self { id: common.key_id.clone()?, algorithm, key: DecodingKey::from_jwk(jwk).ok()? })
    }
}

/// Why there is no key of that id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// The issuer has none.
    Unknown,
    /// The issuer could not be asked.
    Unavailable(String),
}

/// The keys as last fetched.
#[derive(Default)]
struct Kept {
    keys: Vec<Arc<VerificationKey>>,
    fetched_at: Option<i64>,
}

/// The last attempt to fetch; held while one is on its way, so that there is only ever one.
#[derive(Default)]
struct LastAttempt {
    at: Option<i64>,
    failure: Option<String>,
}

pub(crate) struct KeyRing {
    source: Arc<dyn KeySource>,
    seconds_between_fetches: i64,
    kept: RwLock<Kept>,
    last: Mutex<LastAttempt>,
}

impl KeyRing {
    /// Keys of that source, fetched at most once in so many seconds.
    pub(crate) fn new(source: Arc<dyn KeySource>, seconds_between_fetches: u32) -> Self {
        Self {
            source,
            seconds_between_fetches: seconds_between_fetches.into(),
            kept: RwLock::default(),
            last: Mutex::default(),
        }
    }

    /// The key of that id; `now` is in seconds since 1970.
    pub(crate) async fn key(&self, id: &str, now: i64) -> Result<Arc<VerificationKey>, NoKey> {
        match self.kept_key(id, now) {
            (Some(key), true) => Ok(key),
            (Some(key), false) => {
                // Not to keep anyone waiting, only the first asks; the others go on with what there is.
                let Ok(mut last) = self.last.try_lock() else { return Ok(key) };
                match self.refresh(&mut last, now).await {
                    Ok(()) => self.kept_key(id, now).0.ok_or(NoKey::Unknown),
                    Err(_) => Ok(key),
                }
            }
            (None, _) => {
                let mut last = self.last.lock().await;
                // Whoever had the lock may have brought it.
                if let (Some(key), _) = self.kept_key(id, now) {
                    return Ok(key);
                }
                self.refresh(&mut last, now).await?;
                self.kept_key(id, now).0.ok_or(NoKey::Unknown)
            }
        }
    }

    /// The key of that id, and whether the keys are fresh.
    fn kept_key(&self, id: &str, now: i64) -> (Option<Arc<VerificationKey>>, bool) {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = kept.fetched_at.is_some_and(|at| now.saturating_sub(at) < SECONDS_OF_TRUST);
        (kept.keys.iter().find(|key| key.id == id).cloned(), fresh)
    }

    fn has_keys(&self) -> bool {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).fetched_at.is_some()
    }

    /// Fetches, unless that was tried a moment ago; then the outcome of that attempt stands.
    async fn refresh(&self, last: &mut LastAttempt, now: i64) -> Result<(), NoKey> {
        let usual = self.seconds_between_fetches;
        let pause = if self.has_keys() { usual } else { usual.min(SECONDS_BETWEEN_FIRST_FETCHES) };
        let lately = last.at.is_some_and(|at| now.saturating_sub(at) < pause);
        if !lately {
            last.at = Some(now);
            // In place before the await, for a caller that goes away in the middle of it.
            last.failure = Some("the last attempt was abandoned".to_owned());
            last.failure = match self.source.fetch().await {
                Ok(set) => {
                    let keys = set.keys.iter().filter_map(VerificationKey::from_jwk).map(Arc::new).collect();
                    let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
                    *kept = Kept { keys, fetched_at: Some(now) };
                    None
                }
                Err(error) => {
                    // Without any keys the request itself fails, and says so in the log.
                    if self.has_keys() {
                        tracing::warn!("{error}");
                    }
                    Some(error.to_string())
                }
            };
        }
        last.failure.clone().map_or(Ok(()), |failure| Err(NoKey::Unavailable(failure)))
    }
}
