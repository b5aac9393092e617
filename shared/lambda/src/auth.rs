use std::sync::Arc;

use ledgerline_web::{AuthConfig, Authenticator};

use crate::{Config, JwksUrl, StartupError};

/// Verifies tokens as `JWT_ISSUER`, `JWT_AUDIENCE` and `JWKS_URL` say. `JWT_TENANT_CLAIM` and
/// `JWT_ROLE_CLAIMS` (separated by commas) replace the claim names of Amazon Cognito,
/// `JWKS_MIN_REFETCH_SECONDS` the pause between two fetches of the issuer's keys.
///
/// # Errors
/// [`StartupError`] names the variable that is missing or makes no sense.
pub fn authenticator(config: &Config) -> Result<Arc<Authenticator>, StartupError> {
    let auth = auth_config(config)?;
    let keys = JwksUrl::new(&config.required("JWKS_URL")?)?;
    Ok(Arc::new(Authenticator::new(auth, Arc::new(keys))))
}

fn auth_config(config: &Config) -> Result<AuthConfig, StartupError> {
    let mut auth = AuthConfig::new(config.required("JWT_ISSUER")?, config.required("JWT_AUDIENCE")?);
    if let Some(claim) = config.optional("JWT_TENANT_CLAIM") {
        auth.tenant_claim = claim;
    }
    if let Some(claims) = config.optional("JWT_ROLE_CLAIMS") {
        auth.role_claims = claims.split(',').map(|claim| claim.trim().to_owned()).collect();
    }
    if let Some(seconds) = config.optional("JWKS_MIN_REFETCH_SECONDS") {
        let refused = |_| StartupError::invalid("JWKS_MIN_REFETCH_SECONDS", "is not a whole number of seconds");
        auth.seconds_between_key_fetches = seconds.parse().map_err(refused)?;
    }
    Ok(auth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &'static [(&'static str, &'static str)]) -> Result<AuthConfig, StartupError> {
        auth_config(&Config::new(move |name| {
            let known = [("JWT_ISSUER", "issuer"), ("JWT_AUDIENCE", "audience")];
            let mut all = known.iter().chain(variables);
            all.find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        }))
    }

    #[test]
    fn what_is_not_set_is_as_usual() {
        assert_eq!(read(&[]), Ok(AuthConfig::new("issuer", "audience")));
    }

    #[test]
    fn claims_and_the_pause_between_fetches_can_be_set() {
        let auth = read(&[
            ("JWT_TENANT_CLAIM", "org"),
            ("JWT_ROLE_CLAIMS", "roles, groups"),
            ("JWKS_MIN_REFETCH_SECONDS", "0"),
        ])
        .unwrap();
        assert_eq!((auth.tenant_claim.as_str(), auth.seconds_between_key_fetches), ("org", 0));
        assert_eq!(auth.role_claims, ["roles", "groups"]);
        for nonsense in [&[("JWKS_MIN_REFETCH_SECONDS", "soon")], &[("JWKS_MIN_REFETCH_SECONDS", "-1")]] {
            let error = read(nonsense).unwrap_err().to_string();
            assert_eq!(error, "the environment variable JWKS_MIN_REFETCH_SECONDS is not a whole number of seconds");
        }
    }
}
