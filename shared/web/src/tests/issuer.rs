//! An issuer of tokens, good ones and others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::{AuthConfig, Authenticator, KeySource, KeySourceError};

pub(crate) const ISSUER: &str = "https://issuer.example/pool";
pub(crate) const AUDIENCE: &str = "ledgerline";

/// What the clock says in these tests, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;

/// A key pair under an id.
pub(crate) struct SigningKey {
    pub(crate) id: &'static str,
    pub(crate) algorithm: Algorithm,
    pub(crate) private: EncodingKey,
}

impl SigningKey {
    fn elliptic(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let private = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
        Self { id, algorithm: Algorithm::ES256, private }
    }

    fn rsa(id: &'static str) -> Self {
        let der: Pkcs8V1Der<'_> = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
        Self { id, algorithm: Algorithm::RS256, private: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap() }
    }

    pub(crate) fn public(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        jwk
    }
}

pub(crate) static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::rsa("rsa-1"));
pub(crate) static ELLIPTIC: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::elliptic("ec-1"));
pub(crate) static STRANGER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::elliptic("ec-2"));

/// A key set that can fail and change, and counts how often it was asked for.
#[derive(Clone)]
pub(crate) struct Keys {
    set: Arc<Mutex<Result<JwkSet, KeySourceError>>>,
    fetches: Arc<AtomicUsize>,
}

impl Keys {
    pub(crate) fn of(keys: &[&SigningKey]) -> Self {
        let set = JwkSet { keys: keys.iter().map(|key| key.public()).collect() };
        Self { set: Arc::new(Mutex::new(Ok(set))), fetches: Arc::default() }
    }

    pub(crate) fn become_of(&self, keys: &[&SigningKey]) {
        *self.set.lock().unwrap() = Ok(JwkSet { keys: keys.iter().map(|key| key.public()).collect() });
    }

    pub(crate) fn fail(&self) {
        *self.set.lock().unwrap() = Err(KeySourceError("the issuer is down".to_owned()));
    }

    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl KeySource for Keys {
    async fn fetch(&self) -> Result<JwkSet, KeySourceError> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        self.set.lock().unwrap().clone()
    }
}

/// Verifies with these keys at a time that a test can move.
pub(crate) fn authenticator(keys: &Keys, seconds_later: &Arc<AtomicUsize>) -> Authenticator {
    authenticator_with(AuthConfig::new(ISSUER, AUDIENCE), keys, seconds_later)
}

/// The same, configured differently.
pub(crate) fn authenticator_with(config: AuthConfig, keys: &Keys, seconds_later: &Arc<AtomicUsize>) -> Authenticator {
    let later = Arc::clone(seconds_later);
    let clock = move || -> SystemTime { UNIX_EPOCH + Duration::from_secs(NOW + later.load(Ordering::Relaxed) as u64) };
    Authenticator::new(config, Arc::new(keys.clone())).with_clock(clock)
}

/// The claims of a good token.
pub(crate) fn claims(tenant: &str, roles: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "exp": NOW + 300,
        "custom:tenant": tenant, "custom:roles": roles,
    })
}

/// Good claims with one of them changed, or removed by `null`.
pub(crate) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims("acme", "admin");
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

pub(crate) fn header(key: &SigningKey) -> Value {
    json!({"alg": key.algorithm, "kid": key.id, "typ": "JWT"})
}

/// Signs any header and claims, whatever they say.
pub(crate) fn signed_text(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub(crate) fn signed(claims: &Value, key: &SigningKey) -> String {
    signed_text(&header(key).to_string(), &claims.to_string(), &key.private, key.algorithm)
}

/// A good token.
pub(crate) fn token(tenant: &str, roles: &str) -> String {
    signed(&claims(tenant, roles), &ELLIPTIC)
}
