//! The local issuer of tokens: one RSA key, tokens signed with it, and the key set that functions
//! verify them against, as a real issuer publishes it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::Utc;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

/// The `iss` of local tokens. A name, not an address: it stays the same whatever port is used.
pub const ISSUER: &str = "https://issuer.ledgerline.localhost";

/// The `aud` of local tokens.
pub const AUDIENCE: &str = "ledgerline";

/// Where in the data directory the key is kept.
const KEY_FILE: &str = "issuer.pem";

/// The public keys of the issuer of the tokens in `events/`, seen from the working directory.
const FIXTURE_KEYS: &str = "events/issuer-jwks.json";

/// A signing key of the local issuer.
pub struct IssuerKey {
    pem: String,
    signing: EncodingKey,
    public: Jwk,
}

/// Who a token is for.
#[derive(Debug, Clone)]
pub struct Claims {
    /// The tenant that its bearer acts for.
    pub tenant: String,
    /// The bearer's role.
    pub role: String,
    /// The bearer's name, `sub`.
    pub user: String,
    /// How long it is good for.
    pub expires_in: Duration,
}

impl IssuerKey {
    /// A new key, in memory only.
    ///
    /// # Errors
    /// If the machine yields no randomness.
    pub fn generate() -> anyhow::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("cannot generate an RSA key"))?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| anyhow!("cannot encode the RSA key"))?;
        let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
        let encoded = BASE64.encode(der.as_ref());
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Self::from_pem(pem)
    }

    /// The key of a data directory, which is made if there is none.
    ///
    /// # Errors
    /// If the key file cannot be read, written or understood.
    pub fn of_data_dir(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(KEY_FILE);
        if let Some(key) = Self::read(&path)? {
            return Ok(key);
        }
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let key = Self::generate()?;
        // Written aside and linked into place: of two processes that start at once, one key wins,
        // and neither reads half a file.
        let mut file = tempfile::NamedTempFile::new_in(dir).context("cannot write the issuer's key")?;
        file.write_all(key.pem.as_bytes()).context("cannot write the issuer's key")?;
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(key),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::read(&path)?.with_context(|| format!("{} is gone again", path.display()))
            }
            Err(error) => Err(error.error).with_context(|| format!("cannot write {}", path.display())),
        }
    }

    /// A token that functions accept as long as this key is published.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn token(&self, claims: &Claims) -> anyhow::Result<String> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid.clone_from(&self.public.common.key_id);
        let now = Utc::now().timestamp();
        let expires_in = i64::try_from(claims.expires_in.as_secs()).context("that is too far away")?;
        let body = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": claims.user,
            "iat": now,
            "exp": now.saturating_add(expires_in),
            "custom:tenant": claims.tenant,
            "custom:roles": claims.role,
        });
        jsonwebtoken::encode(&header, &body, &self.signing).context("cannot sign the token")
    }

    fn from_pem(pem: String) -> anyhow::Result<Self> {
        let signing = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let mut public = Jwk::from_encoding_key(&signing, Algorithm::RS256)?;
        public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { pem, signing, public })
    }

    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        match std::fs::read_to_string(path) {
            Ok(pem) => {
                let key = Self::from_pem(pem);
                key.map(Some)
                    .with_context(|| format!("{} holds no usable key; delete it for a new one", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

/// What is published at `/.well-known/jwks.json`.
pub struct KeySet {
    own: Jwk,
    data_dir: Option<PathBuf>,
    fixtures: Option<PathBuf>,
}

impl KeySet {
    /// The key set of a host that signs with `own`.
    #[must_use]
    pub fn new(own: &IssuerKey) -> Self {
        Self { own: own.public.clone(), data_dir: None, fixtures: None }
    }

    /// Publishes the key of this data directory as well, from when it has one: what makes a token
    /// for another host good here.
    #[must_use]
    pub fn with_data_dir(mut self, dir: PathBuf) -> Self {
        self.data_dir = Some(dir);
        self
    }

    /// Publishes the key behind the tokens in `events/` as well, if the working directory has it,
    /// so that `cargo lambda invoke` can send those files.
    #[must_use]
    pub fn with_fixtures(mut self) -> Self {
        self.fixtures = Some(PathBuf::from(FIXTURE_KEYS)).filter(|path| path.is_file());
        self
    }

    /// The file of fixture keys, where they are published.
    #[must_use]
    pub fn fixtures(&self) -> Option<&Path> {
        self.fixtures.as_deref()
    }

    /// The keys as they are now.
    #[must_use]
    pub fn current(&self) -> JwkSet {
        let mut keys = vec![self.own.clone()];
        if let Some(dir) = &self.data_dir {
            match IssuerKey::read(&dir.join(KEY_FILE)) {
                Ok(key) => keys.extend(key.map(|key| key.public)),
                Err(error) => tracing::warn!("the key of the data directory is not published: {error:#}"),
            }
        }
        if let Some(path) = &self.fixtures {
            match read_keys(path) {
                Ok(set) => keys.extend(set.keys),
                Err(error) => tracing::warn!("the keys of events/ are not published: {error:#}"),
            }
        }
        keys.dedup_by(|left, right| left.common.key_id == right.common.key_id);
        JwkSet { keys }
    }
}

fn read_keys(path: &Path) -> anyhow::Result<JwkSet> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a key set", path.display()))
}

#[cfg(test)]
#[path = "issuer_tests.rs"]
mod tests;
