use std::sync::atomic::{AtomicUsize, Ordering};

use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;
use crate::tests::issuer::{
    AUDIENCE, ELLIPTIC, ISSUER, Keys, NOW, RSA, STRANGER, SigningKey, authenticator, authenticator_with, claims,
    claims_with, header, signed, signed_text, token,
};

/// What becomes of a token where the issuer has the keys `RSA` and `ELLIPTIC`.
async fn verified(token: &str) -> Result<Identity, AuthError> {
    authenticator(&Keys::of(&[&RSA, &ELLIPTIC]), &Arc::default()).verify(token).await
}

#[track_caller]
fn assert_refused(outcome: &Result<Identity, AuthError>, what: &str) {
    assert!(matches!(outcome, Err(AuthError::InvalidToken(_))), "{what}: {outcome:?}");
}

#[tokio::test]
async fn a_good_token_names_its_user_tenant_and_roles() {
    for key in [&*RSA, &*ELLIPTIC] {
        let identity = verified(&signed(&claims("acme", "editor,viewer"), key)).await.unwrap();
        assert_eq!(identity.user, "user-1");
        assert_eq!(identity.tenant.as_deref(), Some("acme"));
        assert_eq!(identity.roles, [Role::Editor, Role::Viewer]);
    }
}

#[tokio::test]
async fn claims_outside_the_contract_are_refused() {
    for (name, value) in [
        ("exp", Value::Null),
        ("exp", json!(NOW - 60)),
        ("exp", json!((NOW + 300).to_string())),
        ("exp", json!(true)),
        ("exp", json!([NOW + 300])),
        ("nbf", json!(NOW + 61)),
        ("nbf", json!("0")),
        ("iat", json!("0")),
        ("iss", Value::Null),
        ("iss", json!("https://issuer.example/pool/")),
        ("iss", json!("https://issuer.example")),
        ("iss", json!(["https://issuer.example/pool"])),
        ("aud", Value::Null),
        ("aud", json!("another")),
        ("aud", json!([])),
        ("aud", json!(["another", 7])),
        ("aud", json!({"ledgerline": 1})),
        ("client_id", json!(7)),
        ("token_use", json!("refresh")),
        ("token_use", json!(1)),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!("a\u{0}b")),
        ("sub", json!(7)),
        ("custom:tenant", json!(7)),
        ("custom:tenant", json!(["acme"])),
        ("custom:roles", json!(7)),
        ("custom:roles", json!(["admin", 7])),
    ] {
        let what = format!("{name} = {value}");
        assert_refused(&verified(&signed(&claims_with(name, value), &ELLIPTIC)).await, &what);
    }
}

#[tokio::test]
async fn a_minute_of_clock_difference_is_allowed() {
    for (name, value) in [("exp", json!(NOW - 59)), ("nbf", json!(NOW + 60)), ("exp", json!(NOW as f64 + 0.5))] {
        let what = format!("{name} = {value}");
        assert!(verified(&signed(&claims_with(name, value), &ELLIPTIC)).await.is_ok(), "{what}");
    }
}

#[tokio::test]
async fn the_audience_may_be_in_a_list_or_a_client_id() {
    let listed = claims_with("aud", json!(["other", "ledgerline"]));
    assert!(verified(&signed(&listed, &ELLIPTIC)).await.is_ok());
    let mut client = claims_with("aud", Value::Null);
    client["client_id"] = json!("ledgerline");
    client["token_use"] = json!("access");
    assert!(verified(&signed(&client, &ELLIPTIC)).await.is_ok());
    client["aud"] = json!("another");
    assert_refused(&verified(&signed(&client, &ELLIPTIC)).await, "the client's token for another audience");
}

#[tokio::test]
async fn roles_come_from_the_first_claim_that_there_is() {
    for (name, value, roles) in [
        ("custom:roles", json!("admin  viewer,nobody"), vec![Role::Admin, Role::Viewer]),
        ("custom:roles", json!(["system_admin"]), vec![Role::SystemAdmin]),
        ("custom:roles", json!(""), vec![]),
    ] {
        let mut claims = claims_with(name, value);
        claims["cognito:groups"] = json!(["editor"]);
        assert_eq!(verified(&signed(&claims, &ELLIPTIC)).await.unwrap().roles, roles);
    }
    let mut groups = claims_with("custom:roles", Value::Null);
    groups["cognito:groups"] = json!(["editor", "staff"]);
    assert_eq!(verified(&signed(&groups, &ELLIPTIC)).await.unwrap().roles, [Role::Editor]);
    assert_eq!(verified(&signed(&claims_with("custom:roles", Value::Null), &ELLIPTIC)).await.unwrap().roles, []);
}

#[tokio::test]
async fn an_algorithm_that_is_not_the_keys_is_refused() {
    let body = claims("acme", "admin").to_string();
    let unsigned = |algorithm: &str, kid: &str| {
        let token = signed_text(
            &json!({"alg": algorithm, "kid": kid}).to_string(),
            &body,
            &ELLIPTIC.private,
            ELLIPTIC.algorithm,
        );
        token.rsplit_once('.').unwrap().0.to_owned()
    };
    for algorithm in ["none", "None", "NONE", ""] {
        assert_refused(&verified(&format!("{}.", unsigned(algorithm, "ec-1"))).await, algorithm);
        assert_refused(&verified(&unsigned(algorithm, "ec-1")).await, algorithm);
    }
    // The public key as an HMAC secret, in the spellings that a confused verifier would use.
    let jwk = serde_json::to_value(RSA.public()).unwrap();
    for secret in [jwk["n"].as_str().unwrap().to_owned(), jwk.to_string()] {
        let key = EncodingKey::from_secret(secret.as_bytes());
        for alg in ["HS256", "RS256"] {
            let header = json!({"alg": alg, "kid": "rsa-1"}).to_string();
            assert_refused(&verified(&signed_text(&header, &body, &key, Algorithm::HS256)).await, alg);
        }
    }
    // Good signatures under another name than the key's.
    for (key, alg) in
        [(&*RSA, "ES256"), (&*ELLIPTIC, "RS256"), (&*RSA, "RS512"), (&*RSA, "PS256"), (&*ELLIPTIC, "ES384")]
    {
        let header = json!({"alg": alg, "kid": key.id}).to_string();
        assert_refused(&verified(&signed_text(&header, &body, &key.private, key.algorithm)).await, alg);
    }
}

#[tokio::test]
async fn a_key_in_the_header_is_not_looked_at() {
    let body = claims("acme", "admin").to_string();
    let forged = |extra: Value| {
        let mut header = header(&STRANGER);
        header["kid"] = json!("ec-1");
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        signed_text(&header.to_string(), &body, &STRANGER.private, STRANGER.algorithm)
    };
    for extra in [
        json!({}),
        json!({"jku": "https://evil.example/jwks.json"}),
        json!({"x5u": "https://evil.example/cert.pem"}),
        json!({"jwk": STRANGER.public()}),
    ] {
        assert_refused(&verified(&forged(extra.clone())).await, &extra.to_string());
    }
    let mut harmless = header(&ELLIPTIC);
    harmless["jku"] = json!("https://evil.example/jwks.json");
    assert!(verified(&signed_text(&harmless.to_string(), &body, &ELLIPTIC.private, ELLIPTIC.algorithm)).await.is_ok());
}

#[tokio::test]
async fn a_header_with_critical_extensions_is_refused_whatever_they_are() {
    let body = claims("acme", "admin").to_string();
    let with = |critical: Value| {
        let mut header = header(&ELLIPTIC);
        header.as_object_mut().unwrap().extend(critical.as_object().unwrap().clone());
        signed_text(&header.to_string(), &body, &ELLIPTIC.private, ELLIPTIC.algorithm)
    };
    assert!(verified(&with(json!({}))).await.is_ok(), "nothing else is wrong with it");
    for critical in [json!(["b64"]), json!(["exp"]), json!([]), json!("b64"), json!(true), Value::Null] {
        let extension = json!({"crit": critical, "b64": true});
        assert_refused(&verified(&with(extension.clone())).await, &extension.to_string());
    }
}

#[tokio::test]
async fn duplicate_names_are_refused() {
    let plain = claims("acme", "viewer").to_string();
    for (header, body) in [
        (r#"{"alg":"ES256","kid":"ec-1"}"#.to_owned(), plain.replacen('{', r#"{"custom:roles":"admin","#, 1)),
        (r#"{"alg":"ES256","kid":"ec-1"}"#.to_owned(), plain.replacen('{', r#"{"custom\u003atenant":"globex","#, 1)),
        (r#"{"alg":"none","alg":"ES256","kid":"ec-1"}"#.to_owned(), plain.clone()),
    ] {
        let token = signed_text(&header, &body, &ELLIPTIC.private, ELLIPTIC.algorithm);
        assert_refused(&verified(&token).await, &format!("{header} {body}"));
    }
}

#[tokio::test]
async fn garbage_is_refused() {
    let good = token("acme", "admin");
    let [head, body, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let nameless = signed_text(r#"{"alg":"ES256"}"#, "{}", &ELLIPTIC.private, ELLIPTIC.algorithm);
    let numbered = signed_text(r#"{"alg":"ES256","kid":1}"#, "{}", &ELLIPTIC.private, ELLIPTIC.algorithm);
    let list = signed_text(&header(&ELLIPTIC).to_string(), "[]", &ELLIPTIC.private, ELLIPTIC.algorithm);
    let tail = if signature.ends_with('A') { 'B' } else { 'A' };
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "ä.ö.ü",
        head,
        &format!("{head}.{body}"),
        &format!("{head}.{body}."),
        &format!("{good}.x"),
        &format!("{good}="),
        &format!("{head}.{body}.{}{tail}", &signature[..signature.len() - 2]),
        &format!("{head}.{}.{signature}", signed(&claims("globex", "admin"), &STRANGER).split('.').nth(1).unwrap()),
        &nameless,
        &numbered,
        &list,
    ] {
        assert_refused(&verified(token).await, token);
    }
    assert_refused(&verified(&signed(&claims_with("padding", json!("x".repeat(9000))), &ELLIPTIC)).await, "too long");
}

#[tokio::test]
async fn a_token_is_read_from_one_bearer_header_only() {
    let mut headers = HeaderMap::new();
    assert_eq!(bearer_token(&headers), Err(AuthError::NoToken));
    for (value, expected) in [
        ("Bearer abc", Ok("abc")),
        ("bearer abc", Ok("abc")),
        ("Basic abc", Err(AuthError::NoToken)),
        ("abc", Err(AuthError::NoToken)),
        ("", Err(AuthError::NoToken)),
    ] {
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        assert_eq!(bearer_token(&headers), expected, "{value:?}");
    }
    headers.append(AUTHORIZATION, "Bearer abc".parse().unwrap());
    assert_eq!(bearer_token(&headers), Err(AuthError::NoToken));
}

#[tokio::test]
async fn keys_for_other_purposes_and_algorithms_are_not_used() {
    struct Fixed(Value);
    #[async_trait::async_trait]
    impl KeySource for Fixed {
        async fn fetch(&self) -> Result<jsonwebtoken::jwk::JwkSet, crate::KeySourceError> {
            Ok(serde_json::from_value(json!({"keys": [self.0]})).unwrap())
        }
    }
    /// Whether a good token of the key is accepted where the issuer says this of it.
    async fn accepts(key: &SigningKey, said: &[(&str, Value)]) -> bool {
        let mut jwk = serde_json::to_value(key.public()).unwrap();
        for (name, value) in said {
            jwk[*name] = value.clone();
        }
        jwk.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let clock = || UNIX_EPOCH + std::time::Duration::from_secs(NOW);
        let authenticator = Authenticator::new(AuthConfig::new(ISSUER, AUDIENCE), Arc::new(Fixed(jwk)));
        authenticator.with_clock(clock).verify(&signed(&claims("acme", "admin"), key)).await.is_ok()
    }
    let algorithms = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256", "RSA-OAEP"];
    for (key, own) in [(&*RSA, "RS256"), (&*ELLIPTIC, "ES256")] {
        for algorithm in algorithms {
            assert_eq!(accepts(key, &[("alg", json!(algorithm))]).await, algorithm == own, "{own} {algorithm}");
        }
        assert!(accepts(key, &[("alg", Value::Null)]).await, "{own}: an issuer need not say");
        assert!(accepts(key, &[("use", json!("sig"))]).await, "{own}");
        assert!(!accepts(key, &[("use", json!("enc"))]).await, "{own}");
        assert!(!accepts(key, &[("kid", Value::Null)]).await, "{own}");
    }
    assert!(!accepts(&ELLIPTIC, &[("crv", json!("P-384"))]).await);
    assert!(!accepts(&ELLIPTIC, &[("kty", json!("oct")), ("k", json!("c2VjcmV0"))]).await);
}

struct Rotation {
    keys: Keys,
    later: Arc<AtomicUsize>,
    authenticator: Authenticator,
}

impl Rotation {
    fn of(keys: &[&SigningKey]) -> Self {
        let (keys, later) = (Keys::of(keys), Arc::default());
        let authenticator = authenticator(&keys, &later);
        Self { keys, later, authenticator }
    }

    async fn outcome(&self, key: &SigningKey) -> &'static str {
        let mut claims = claims("acme", "admin");
        claims["exp"] = json!(NOW + 100_000);
        match self.authenticator.verify(&signed(&claims, key)).await {
            Ok(_) => "accepted",
            Err(AuthError::InvalidToken(_)) => "refused",
            Err(AuthError::KeysUnavailable(_)) => "unavailable",
            Err(other) => panic!("{other:?}"),
        }
    }

    fn pass(&self, seconds: usize) {
        self.later.fetch_add(seconds, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_for_an_unknown_id_at_most_every_10_seconds() {
    let rotation = Rotation::of(&[&RSA]);
    for _ in 0..3 {
        assert_eq!(rotation.outcome(&RSA).await, "accepted");
    }
    assert_eq!(rotation.keys.fetches(), 1);
    rotation.keys.become_of(&[&RSA, &STRANGER]);
    assert_eq!(rotation.outcome(&STRANGER).await, "refused", "looked a moment ago");
    assert_eq!(rotation.keys.fetches(), 1);
    rotation.pass(10);
    assert_eq!(rotation.outcome(&STRANGER).await, "accepted");
    for _ in 0..3 {
        assert_eq!(rotation.outcome(&ELLIPTIC).await, "refused");
    }
    assert_eq!(rotation.keys.fetches(), 2);
}

#[tokio::test]
async fn known_keys_keep_working_while_the_issuer_is_down() {
    let rotation = Rotation::of(&[&RSA]);
    assert_eq!(rotation.outcome(&RSA).await, "accepted");
    rotation.keys.fail();
    rotation.pass(4000);
    assert_eq!(rotation.outcome(&RSA).await, "accepted");
    assert_eq!(rotation.outcome(&STRANGER).await, "unavailable", "whether there is such a key is not known");
    assert_eq!(rotation.keys.fetches(), 2);
}

#[tokio::test]
async fn without_any_keys_nobody_can_be_verified() {
    let rotation = Rotation::of(&[&RSA]);
    rotation.keys.fail();
    for _ in 0..3 {
        assert_eq!(rotation.outcome(&RSA).await, "unavailable");
    }
    assert_eq!(rotation.keys.fetches(), 1);
    rotation.keys.become_of(&[&RSA]);
    rotation.pass(1);
    assert_eq!(rotation.outcome(&RSA).await, "accepted");
}

#[tokio::test]
async fn a_withdrawn_key_is_forgotten_within_the_hour() {
    let rotation = Rotation::of(&[&RSA, &ELLIPTIC]);
    assert_eq!(rotation.outcome(&RSA).await, "accepted");
    rotation.keys.become_of(&[&ELLIPTIC]);
    rotation.pass(3600);
    assert_eq!(rotation.outcome(&RSA).await, "refused");
    assert_eq!(rotation.outcome(&ELLIPTIC).await, "accepted");
}

#[tokio::test]
async fn with_no_pause_between_fetches_a_new_key_is_good_at_once() {
    let mut rotation = Rotation::of(&[&RSA]);
    let config = AuthConfig { seconds_between_key_fetches: 0, ..AuthConfig::new(ISSUER, AUDIENCE) };
    rotation.authenticator = authenticator_with(config, &rotation.keys, &rotation.later);
    assert_eq!(rotation.outcome(&RSA).await, "accepted");
    assert_eq!(rotation.outcome(&STRANGER).await, "refused");
    rotation.keys.become_of(&[&RSA, &STRANGER]);
    assert_eq!(rotation.outcome(&STRANGER).await, "accepted");
    assert_eq!(rotation.outcome(&RSA).await, "accepted");
    assert_eq!(rotation.keys.fetches(), 3);
}
