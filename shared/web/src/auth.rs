//! Who is calling: a bearer token (JWT), verified here whatever a gateway did before.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jsonwebtoken::Algorithm;
use ledgerline_app::Caller;
use ledgerline_kernel::TenantCode;

use crate::claims::{Claims, WrongType};
use crate::jwks::{KeyRing, KeySource, NoKey};
use crate::permission::{Permission, Role};
use crate::problem::{ApiError, RequestError};
use crate::respond::SourceIp;

/// Longer tokens are refused unread.
const TOKEN_LIMIT_BYTES: usize = 8 * 1024;

/// How far the issuer's clock and ours may be apart, in seconds.
const LEEWAY_SECONDS: f64 = 60.0;

/// What makes a token one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// `iss`, exactly.
    pub issuer: String,
    /// What `aud` must name or, in a token without `aud`, what `client_id` must be.
    pub audience: String,
    /// The claim that holds the tenant.
    pub tenant_claim: String,
    /// The claims that may hold the roles; the first that a token has counts.
    pub role_claims: Vec<String>,
    /// A token with an unknown key makes the keys be fetched again, at most once in so many seconds:
    /// forged key ids must not make us hammer the issuer. 10 unless set.
    pub seconds_between_key_fetches: u32,
}

impl AuthConfig {
    /// With the claim names that Amazon Cognito uses.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            tenant_claim: "custom:tenant".to_owned(),
            role_claims: vec!["custom:roles".to_owned(), "cognito:groups".to_owned()],
            seconds_between_key_fetches: 10,
        }
    }
}

/// Why a caller is turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AuthError {
    /// No bearer token.
    NoToken,
    /// A token that does not hold; why is for the log.
    InvalidToken(&'static str),
    /// A good token of somebody who may not do this.
    Forbidden(&'static str),
    /// The issuer's keys are not to be had.
    KeysUnavailable(String),
}

impl From<WrongType> for AuthError {
    fn from(_: WrongType) -> Self {
        Self::InvalidToken("a claim has the wrong type")
    }
}

/// Verifies tokens against the issuer's keys.
pub struct Authenticator {
    config: AuthConfig,
    keys: KeyRing,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
}

/// A verified token, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    user: String,
    tenant: Option<String>,
    roles: Vec<Role>,
}

impl Authenticator {
    /// Verifies tokens as `config` says with the keys of `keys`.
    pub fn new(config: AuthConfig, keys: Arc<dyn KeySource>) -> Self {
        let keys = KeyRing::new(keys, config.seconds_between_key_fetches);
        Self { config, keys, clock: Box::new(SystemTime::now) }
    }

    /// The same with another clock, for tests.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), ..self }
    }

    async fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        use AuthError::InvalidToken;
        if token.len() > TOKEN_LIMIT_BYTES {
            return Err(InvalidToken("too long"));
        }
        let (message, signature) = token.rsplit_once('.').ok_or(InvalidToken("not three parts"))?;
        let (header, payload) = message.split_once('.').ok_or(InvalidToken("not three parts"))?;
        let header = Claims::decode(header).ok_or(InvalidToken("unreadable header"))?;
        // The header chooses among the issuer's keys and names the key's algorithm, nothing else: `jku`, `x5u`
        // and `jwk` are not looked at, and what it says is critical we do not know.
        let algorithm = match header.text("alg")? {
            Some("RS256") => Algorithm::RS256,
            Some("ES256") => Algorithm::ES256,
            _ => return Err(InvalidToken("another algorithm")),
        };
        if header.has("crit") {
            return Err(InvalidToken("critical extensions"));
        }
        let now = self.now();
        let id = header.text("kid")?.ok_or(InvalidToken("no key id"))?;
        let key = self.keys.key(id, now as i64).await.map_err(|error| match error {
            NoKey::Unknown => InvalidToken("unknown key"),
            NoKey::Unavailable(reason) => AuthError::KeysUnavailable(reason),
        })?;
        if key.algorithm != algorithm
            || !jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, key.algorithm).unwrap_or(false)
        {
            return Err(InvalidToken("the signature does not hold"));
        }
        self.identity(&Claims::decode(payload).ok_or(InvalidToken("unreadable claims"))?, now)
    }

    /// Seconds since 1970.
    fn now(&self) -> f64 {
        (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    fn identity(&self, claims: &Claims, now: f64) -> Result<Identity, AuthError> {
        use AuthError::InvalidToken;
        if claims.text("iss")? != Some(&self.config.issuer) {
            return Err(InvalidToken("another issuer"));
        }
        let client = claims.text("client_id")?;
        let for_us = match claims.texts("aud")? {
            Some(audience) => audience.contains(&self.config.audience.as_str()),
            // Cognito's access tokens name the client instead.
            None => client == Some(&self.config.audience),
        };
        if !for_us {
            return Err(InvalidToken("another audience"));
        }
        if claims.moment("exp")?.ok_or(InvalidToken("no expiry"))? + LEEWAY_SECONDS <= now {
            return Err(InvalidToken("expired"));
        }
        if claims.moment("nbf")?.is_some_and(|not_before| not_before > now + LEEWAY_SECONDS) {
            return Err(InvalidToken("not valid yet"));
        }
        claims.moment("iat")?;
        if !matches!(claims.text("token_use")?, None | Some("access" | "id")) {
            return Err(InvalidToken("another use"));
        }
        let user = claims.text("sub")?.filter(|user| !user.is_empty() && !user.contains(char::is_control));
        Ok(Identity {
            user: user.ok_or(InvalidToken("no subject"))?.to_owned(),
            tenant: claims.text(&self.config.tenant_claim)?.map(str::to_owned),
            roles: self.roles(claims)?,
        })
    }

    fn roles(&self, claims: &Claims) -> Result<Vec<Role>, WrongType> {
        for name in &self.config.role_claims {
            if let Some(texts) = claims.texts(name)? {
                let names = texts.into_iter().flat_map(|text| text.split([',', ' ']));
                return Ok(names.filter_map(Role::named).collect());
            }
        }
        Ok(Vec::new())
    }
}

/// The bearer token, if there is exactly one.
fn bearer_token(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(AuthError::NoToken) };
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(AuthError::NoToken)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(AuthError::NoToken) }
}

/// The tenant to act for: the token's, or with `tenant:any` the one in `x-tenant-code`.
fn acting_tenant(identity: &Identity, headers: &HeaderMap) -> Result<TenantCode, ApiError> {
    let mut asked = headers.get_all("x-tenant-code").iter();
    let claimed = identity.tenant.as_deref();
    match (asked.next(), asked.next()) {
        (None, _) => {}
        (Some(asked), None) if claimed.is_some_and(|claimed| asked.as_bytes() == claimed.as_bytes()) => {}
        (Some(asked), None) if identity.roles.iter().any(|role| role.grants(Permission::AnyTenant)) => {
            return asked
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| RequestError::parameter("x-tenant-code", "is not a tenant code").into());
        }
        _ => return Err(AuthError::Forbidden("you may not act for that tenant").into()),
    }
    claimed
        .and_then(|claimed| claimed.parse().ok())
        .ok_or_else(|| AuthError::Forbidden("the token names no tenant").into())
}

/// Stands before a route: verifies the caller and leaves a [`Caller`] for the handler.
pub(crate) async fn authorise(
    State((authenticator, permission)): State<(Arc<Authenticator>, Permission)>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let identity = match bearer_token(request.headers()) {
        Ok(token) => authenticator.verify(token).await,
        Err(error) => Err(error),
    };
    let identity = identity.inspect_err(|error| {
        if let AuthError::InvalidToken(reason) = error {
            tracing::info!(reason, "a token was refused");
        }
    })?;
    let tenant = acting_tenant(&identity, request.headers())?;
    if !identity.roles.iter().any(|role| role.grants(permission)) {
        tracing::info!(%permission, "a caller lacks a permission");
        return Err(AuthError::Forbidden("your roles do not allow this").into());
    }
    let ip = request.extensions().get::<SourceIp>().map(|ip| ip.0.clone()).unwrap_or_default();
    request.extensions_mut().insert(Verified(Caller { tenant, user: identity.user, ip }));
    Ok(next.run(request).await)
}

/// The caller, verified by [`authorise`]. A route that forgot to ask answers 401 to everybody.
#[derive(Debug, Clone)]
pub(crate) struct Verified(pub(crate) Caller);

impl<S: Sync> FromRequestParts<S> for Verified {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| AuthError::NoToken.into())
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
