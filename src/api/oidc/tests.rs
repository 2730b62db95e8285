use super::*;

/// As the defaults have it, but for the name of one role.
pub fn config() -> Config {
    let one = |name: &str| vec![name.to_owned()];
    Config {
        issuer: "https://id.example/realms/network".to_owned(),
        audience: "prooftally".to_owned(),
        jwks_url: None,
        ca_file: None,
        algorithms: ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec(),
        leeway: Duration::from_secs(30),
        keys_fresh: Duration::from_secs(600),
        keys_kept: Duration::from_secs(86_400),
        refetch_min: Duration::from_secs(10),
        claims: Claims {
            roles: "realm_access.roles".to_owned(),
            brand: "organization_id".to_owned(),
            name: "preferred_username".to_owned(),
        },
        roles: Roles {
            finance_read: one("finance_read"),
            finance: one("money"),
            operator: one("operator"),
            admin: one("admin"),
            brand: one("brand"),
        },
    }
}

#[test]
fn a_shared_secret_is_no_algorithm() {
    for name in ["HS256", "HS384", "none", "", "RS1"] {
        let mut config = config();
        config.algorithms.push(name.to_owned());
        assert!(Oidc::new(config).is_err(), "{name}");
    }
    assert!(Oidc::new(config()).is_ok());
}

#[test]
fn addresses_are_https_or_stay_on_the_machine() {
    let is_good = |text: &str| fetch::is_good(&text.parse().unwrap());
    for url in ["https://id.example/keys", "http://127.0.0.1:80/keys", "http://localhost/keys"] {
        assert!(is_good(url), "{url}");
    }
    for url in [
        "http://id.example/keys",
        "http://169.254.169.254/keys",
        "ftp://localhost/keys",
        "https://user:pass@id.example/keys",
        "/keys",
    ] {
        assert!(!is_good(url), "{url}");
    }
}
