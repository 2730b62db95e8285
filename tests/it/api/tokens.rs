//! Tokens of an identity provider: which are accepted, and that all others are refused in the same words.

use prooftally::config::Config;
use serde_json::{Value, json};

use super::Desk;
use super::client::{Answer, Client};
use super::issuer::{self, Issuer, Key, base64, now, unsigned};
use crate::harness::{World, wait_for};

/// A provider with a key of each kind, and an API that accepts its tokens.
struct Realm {
    desk: Desk,
    issuer: Issuer,
    keys: Vec<Key>,
}

impl Realm {
    async fn new() -> Self {
        Self::configured(|_| ()).await
    }

    async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        let keys = vec![Key::rsa("rsa"), Key::ec("ec"), Key::ed("ed")];
        let issuer = Issuer::start(&keys).await;
        let name = issuer.name();
        let world = World::configured(|config| {
            config.api.oidc.issuer = name;
            change(config);
        });
        Self { desk: Desk::in_world(world.await).await, issuer, keys }
    }

    /// What a good token of this role says.
    fn claims(&self, role: &str) -> Value {
        json!({
            "iss": self.issuer.name(), "aud": ["account", "prooftally"], "sub": "u-1", "typ": "Bearer",
            "preferred_username": "jane", "iat": now(), "exp": now() + 300,
            "realm_access": {"roles": ["offline_access", role]},
        })
    }

    /// A good token of this role, with other claims.
    fn claims_with(&self, role: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut claims = self.claims(role);
        change(&mut claims);
        claims
    }

    fn client(&self, token: &str) -> Client {
        Client::new(self.desk.address(), token)
    }

    async fn me(&self, token: &str) -> Answer {
        self.client(token).get("/v1/me").await
    }
}

/// The body without what differs between any two requests.
fn body(answer: &Answer) -> Value {
    assert_eq!(answer.problem(), "unauthenticated");
    let mut body = answer.json();
    body["instance"] = Value::Null;
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_has_the_roles_that_its_claims_are_mapped_to() {
    let realm = Realm::new().await;
    for key in &realm.keys {
        for role in ["finance_read", "finance", "operator", "admin"] {
            let me = realm.me(&key.token(&realm.claims(role))).await.ok();
            assert_eq!(me, json!({"name": "oidc u-1 (jane)", "roles": [role], "brand": null}));
        }
    }
    let reader = realm.client(&realm.keys[0].token(&realm.claims("finance_read")));
    reader.get("/v1/invoices").await.ok();
    assert_eq!(reader.get("/v1/keys").await.problem(), "forbidden");
    let operator = realm.client(&realm.keys[1].token(&realm.claims("operator")));
    assert_eq!(operator.get("/v1/invoices").await.problem(), "forbidden");

    // What the holder of a token does is noted under its name.
    let admin = realm.client(&realm.keys[2].token(&realm.claims("admin")));
    let made = admin.post("/v1/keys", json!({"name": "books", "role": "finance"})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let log = admin.get("/v1/activity?subject=api_key").await.ok();
    assert_eq!(log["data"][0]["made_by"], "oidc u-1 (jane)");
    // Keys are accepted as before.
    let key = made.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(realm.me(&key).await.ok()["roles"], json!(["finance"]));
    assert_eq!(realm.issuer.served(), 1, "the keys are fetched once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "it is a table of tokens")]
async fn every_other_token_is_refused_in_the_same_words() {
    let realm = Realm::new().await;
    let key = &realm.keys[0];
    let claims = realm.claims("admin");
    realm.me(&key.token(&claims)).await.ok();
    let with = |change: fn(&mut Value)| key.token(&realm.claims_with("admin", change));
    let header = |header: Value| key.token_of(&header, &claims);
    let none =
        format!("{}.", unsigned(&json!({"typ": "JWT", "alg": "none", "kid": "rsa"}), &claims));
    let shared = |kid: &str, secret: &[u8]| {
        let message = unsigned(&json!({"typ": "JWT", "alg": "HS256", "kid": kid}), &claims);
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let tag = ring::hmac::sign(&secret, message.as_bytes());
        format!("{message}.{}", base64(tag.as_ref()))
    };
    let good = key.token(&claims);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = good.rsplit_once('.').unwrap();
    let other =
        unsigned(&json!({"typ": "JWT", "alg": "RS256", "kid": "rsa"}), &realm.claims("finance"));
    let cases = [
        ("expired", with(|claims| claims["exp"] = json!(now() - 31))),
        ("no end", with(|claims| claims["exp"] = Value::Null)),
        ("an end that is a text", with(|claims| claims["exp"] = json!("9999999999"))),
        ("not yet", with(|claims| claims["nbf"] = json!(now() + 60))),
        ("a beginning that is a text", with(|claims| claims["nbf"] = json!("0"))),
        ("another audience", with(|claims| claims["aud"] = json!("account"))),
        ("no audience", with(|claims| claims["aud"] = Value::Null)),
        ("another issuer", with(|claims| claims["iss"] = json!("http://127.0.0.1/realms/other"))),
        ("no issuer", with(|claims| claims["iss"] = Value::Null)),
        ("nobody", with(|claims| claims["sub"] = Value::Null)),
        ("no role of ours", with(|claims| claims["realm_access"] = json!({"roles": ["user"]}))),
        ("no roles", with(|claims| claims["realm_access"] = Value::Null)),
        ("a brand that is not there", with(|claims| claims["organization_id"] = json!("brand-z"))),
        ("a brand that is no name", with(|claims| claims["organization_id"] = json!(["a", "b"]))),
        (
            "a role of a brand without one",
            with(|claims| claims["realm_access"] = json!({"roles": ["brand"]})),
        ),
        ("an ID token", with(|claims| claims["typ"] = json!("ID"))),
        ("a logout token", header(json!({"typ": "logout+jwt", "alg": "RS256", "kid": "rsa"}))),
        ("no algorithm", none),
        ("signed with the public key", shared("rsa", &key.public_bytes())),
        ("signed with a shared key", shared("shared", b"known to both")),
        ("an unknown key", header(json!({"typ": "JWT", "alg": "RS256", "kid": "other"}))),
        ("no key", header(json!({"typ": "JWT", "alg": "RS256"}))),
        (
            "the algorithm of another key",
            header(json!({"typ": "JWT", "alg": "ES256", "kid": "ec"})),
        ),
        (
            "another algorithm of the key",
            header(json!({"typ": "JWT", "alg": "RS512", "kid": "rsa"})),
        ),
        (
            "a header to be understood",
            header(json!({"alg": "RS256", "kid": "rsa", "crit": ["exp"]})),
        ),
        ("somebody else's key", Key::ec("ec").token(&claims)),
        ("somebody else's key, and where it is", {
            let to = "http://127.0.0.1:1/jwks";
            Key::ec("ec").token_of(&json!({"alg": "ES256", "kid": "ec", "jku": to}), &claims)
        }),
        ("other claims under the signature", format!("{other}.{signature}")),
        ("no signature", format!("{signed}.")),
        ("no token", "token".to_owned()),
        ("a key that is none", "pt_000000000000_0".to_owned()),
        ("a long one", format!("{good}{}", "A".repeat(20_000))),
    ];
    let nobody = body(&realm.desk.anybody().get("/v1/me").await);
    for (what, token) in &cases {
        let answer = realm.me(token).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        assert_eq!(body(&answer), nobody, "{what}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    realm.me(&with(|claims| claims["exp"] = json!(now() - 10))).await.ok();
    realm.me(&with(|claims| claims["nbf"] = json!(now() + 10))).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_fetched_and_an_unknown_one_not_again_and_again() {
    let realm = Realm::configured(|config| config.api.oidc.refetch_seconds_min = 1).await;
    let old = realm.keys[1].token(&realm.claims("finance"));
    realm.me(&old).await.ok();
    let new = Key::ec("new");
    realm.issuer.rotate(std::slice::from_ref(&new));
    let token = new.token(&realm.claims("finance"));
    wait_for("the new key is fetched", async || {
        (realm.me(&token).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(realm.me(&old).await.problem(), "unauthenticated", "its key was withdrawn");

    let (before, started) = (realm.issuer.served(), std::time::Instant::now());
    for number in 0..100 {
        let foreign = Key::ed(&format!("foreign-{number}"));
        let token = foreign.token(&realm.claims("admin"));
        assert_eq!(realm.me(&token).await.problem(), "unauthenticated");
    }
    let most = started.elapsed().as_secs() as u32 + 1;
    let fetched = realm.issuer.served() - before;
    assert!(fetched <= most, "fetched {fetched} times");
    realm.me(&token).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_kept_for_a_time_while_the_provider_is_away() {
    let realm = Realm::configured(|config| {
        config.api.oidc.refetch_seconds_min = 1;
        config.api.oidc.keys_fresh_seconds = 1;
        config.api.oidc.keys_kept_seconds = 6;
        config.api.requests_per_second = 10_000;
        config.api.requests_burst = 10_000;
    })
    .await;
    let Realm { desk, issuer, keys } = realm;
    let claims = |role: &str| {
        json!({"iss": issuer.name(), "aud": "prooftally", "sub": "u-1", "exp": now() + 300,
            "realm_access": {"roles": [role]}})
    };
    let (token, foreign) =
        (keys[2].token(&claims("finance")), Key::ed("x").token(&claims("admin")));
    let client = Client::new(desk.address(), &token);
    client.get("/v1/me").await.ok();
    let fetched = issuer.served();
    // Old keys are fetched again by the requests that use them.
    let fetched_at = wait_for("the keys are fetched again", async || {
        client.get("/v1/me").await.ok();
        (issuer.served() > fetched).then(std::time::Instant::now)
    })
    .await;
    issuer.stop().await;
    while fetched_at.elapsed().as_secs() < 3 {
        client.get("/v1/me").await.ok();
        let unknown = Client::new(desk.address(), &foreign).get("/v1/me").await;
        assert_eq!(unknown.problem(), "unauthenticated");
    }
    wait_for("the keys are too old", async || {
        let answer = client.get("/v1/me").await;
        (answer.status == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_a_brand_sees_that_brand_alone() {
    let realm = Realm::new().await;
    realm.desk.count(&[("r1", "brand-a", "2026-03-01"), ("r2", "brand-b", "2026-03-01")]).await;
    let of = |role: &str, brand: &str| {
        let claims = realm.claims_with(role, |claims| claims["organization_id"] = json!(brand));
        realm.client(&realm.keys[1].token(&claims))
    };
    let own = of("brand", "brand-a");
    let me = own.get("/v1/me").await.ok();
    assert_eq!((&me["roles"], &me["brand"]), (&json!(["finance_read"]), &json!("brand-a")));
    let usage = own.get("/v1/usage?by=brand").await.ok();
    assert_eq!(usage["data"], json!([{"brand": "brand-a", "receipts": "1", "duplicates": "0"}]));
    let foreign = own.get("/v1/brands/brand-b").await;
    let missing = own.get("/v1/brands/brand-z").await;
    assert_eq!((foreign.problem(), missing.problem()), ("not-found".into(), "not-found".into()));
    assert_eq!(own.get("/v1/rejections").await.problem(), "forbidden");
    // An administrator who belongs to a brand reads it, and nothing else.
    let admin = of("admin", "brand-b");
    assert_eq!(admin.get("/v1/me").await.ok()["roles"], json!(["finance_read"]));
    assert_eq!(admin.get("/v1/keys").await.problem(), "forbidden");
    assert_eq!(of("operator", "brand-b").get("/v1/me").await.problem(), "unauthenticated");
    assert_eq!(of("admin", "brand-z").get("/v1/me").await.problem(), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_provider_only_keys_are_accepted() {
    let desk = Desk::new().await;
    let key = Key::ed("ed");
    let claims = json!({"iss": "", "aud": "prooftally", "sub": "u-1", "exp": issuer::now() + 300,
        "realm_access": {"roles": ["admin"]}});
    let answer = Client::new(desk.address(), &key.token(&claims)).get("/v1/me").await;
    assert_eq!(answer.problem(), "unauthenticated");
}
