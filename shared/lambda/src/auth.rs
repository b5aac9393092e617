use std::sync::Arc;

use ledgerline_web::{AuthConfig, Authenticator};

use crate::{Config, JwksUrl, StartupError};

/// Verifies tokens as `JWT_ISSUER`, `JWT_AUDIENCE` and `JWKS_URL` say. `JWT_TENANT_CLAIM` and
/// `JWT_ROLE_CLAIMS` (separated by commas) replace the claim names of Amazon Cognito.
///
/// # Errors
/// [`StartupError`] names the variable that is missing or makes no sense.
pub fn authenticator(config: &Config) -> Result<Arc<Authenticator>, StartupError> {
    let mut auth = AuthConfig::new(config.required("JWT_ISSUER")?, config.required("JWT_AUDIENCE")?);
    if let Some(claim) = config.optional("JWT_TENANT_CLAIM") {
        auth.tenant_claim = claim;
    }
    if let Some(claims) = config.optional("JWT_ROLE_CLAIMS") {
        auth.role_claims = claims.split(',').map(|claim| claim.trim().to_owned()).collect();
    }
    let keys = JwksUrl::new(&config.required("JWKS_URL")?)?;
    Ok(Arc::new(Authenticator::new(auth, Arc::new(keys))))
}
