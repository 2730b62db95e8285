//! What a token says of its holder: who it is, its roles here, and its brand.

use billing::plain;
use serde_json::Value;

use super::{Config, Refusal};
use crate::store::api_keys::Role;

/// Longer names of a subject do not fit where it is noted who did something.
const SUBJECT_CHARS_MAX: usize = 150;
const NAME_CHARS_MAX: usize = 200;

/// The holder of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub subject: String,
    /// For people, at most 200 characters: the subject, and how the provider calls it.
    pub name: String,
    /// At least one.
    pub roles: Vec<Role>,
    /// The id of the brand that it belongs to and sees alone; then it reads.
    pub brand: Option<String>,
}

impl Holder {
    /// # Errors
    /// If the claims do not say who it is, or give it nothing to do here.
    pub fn of(claims: &Value, config: &Config) -> Result<Self, Refusal> {
        // Keycloak marks tokens for other uses by this claim; other providers have none of this name.
        if claims.get("typ").is_some_and(|kind| kind.as_str() != Some("Bearer")) {
            return Err(Refusal::Claims("it is no access token"));
        }
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let is_good = (1..=SUBJECT_CHARS_MAX).contains(&subject.chars().count())
            && plain::fault(subject).is_none();
        if !is_good {
            return Err(Refusal::Claims("its sub is missing or too long"));
        }
        let brand = brand(claims, &config.claims.brand)?;
        let named = names(at(claims, &config.claims.roles));
        let has = |role: Role| config.roles.of(role).iter().any(|name| named.contains(&&**name));
        let mut roles: Vec<Role> = Role::ALL.into_iter().filter(|role| has(*role)).collect();
        if brand.is_some() {
            let sees_books = roles.iter().any(|role| *role != Role::Operator);
            let is_of_brand = config.roles.brand.iter().any(|name| named.contains(&&**name));
            roles = if sees_books || is_of_brand { vec![Role::FinanceRead] } else { Vec::new() };
        }
        if roles.is_empty() {
            return Err(Refusal::Claims("its roles are none of those that are configured"));
        }
        let called = at(claims, &config.claims.name).and_then(Value::as_str);
        Ok(Self { subject: subject.to_owned(), name: name(subject, called), roles, brand })
    }
}

/// The claim of this name, or the one that this path of names leads to.
fn at<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    let whole = claims.get(path);
    whole.or_else(|| path.split('.').try_fold(claims, |value, name| value.get(name)))
}

/// The texts of a list; a text is split at its spaces, as in `scope`.
fn names(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => text.split_whitespace().collect(),
        _ => Vec::new(),
    }
}

/// `None` only if the claim is not there: one that cannot be read must not open all brands.
fn brand(claims: &Value, path: &str) -> Result<Option<String>, Refusal> {
    let value = match at(claims, path) {
        None => return Ok(None),
        Some(Value::Array(list)) if list.len() == 1 => &list[0],
        Some(value) => value,
    };
    let brand = value.as_str().filter(|brand| !brand.is_empty());
    let brand = brand.ok_or(Refusal::Claims("its brand is not one name"))?;
    Ok(Some(brand.to_owned()))
}

fn name(subject: &str, called: Option<&str>) -> String {
    let called = called.filter(|called| *called != subject).map(|called| {
        let plain =
            called.chars().filter(|letter| plain::fault(letter.encode_utf8(&mut [0; 4])).is_none());
        plain.take(NAME_CHARS_MAX).collect::<String>()
    });
    let whole = match called {
        Some(called) if !called.is_empty() => format!("oidc {subject} ({called})"),
        _ => format!("oidc {subject}"),
    };
    whole.chars().take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::config;
    use super::*;

    fn holder(mut claims: Value) -> Result<Holder, Refusal> {
        let given = claims.as_object_mut().unwrap();
        given.entry("sub").or_insert_with(|| json!("u-1"));
        Holder::of(&claims, &config())
    }

    fn roles(claims: Value) -> Vec<Role> {
        holder(claims).map(|holder| holder.roles).unwrap_or_default()
    }

    #[test]
    fn roles_are_those_that_are_mapped() {
        let with = |names: Value| roles(json!({"realm_access": {"roles": names}}));
        assert_eq!(with(json!(["offline", "money"])), [Role::Finance]);
        assert_eq!(with(json!(["money", "operator"])), [Role::Finance, Role::Operator]);
        assert_eq!(with(json!("admin other")), [Role::Admin]);
        assert_eq!(with(json!(["brand"])), [], "no brand is named");
        assert_eq!(with(json!([])), []);
        assert_eq!(with(json!([1, null])), []);
        assert_eq!(with(json!({"admin": true})), []);
        assert_eq!(roles(json!({"realm_access.roles": ["admin"]})), [Role::Admin]);
        assert_eq!(roles(json!({"roles": ["admin"]})), [], "another claim");
    }

    #[test]
    fn who_belongs_to_a_brand_reads() {
        let with = |names: Value, brand: Value| {
            holder(json!({"realm_access": {"roles": names}, "organization_id": brand}))
        };
        for names in [json!(["brand"]), json!(["admin"]), json!(["finance_read", "operator"])] {
            let holder = with(names, json!("acme")).unwrap();
            assert_eq!(
                (holder.roles, holder.brand),
                (vec![Role::FinanceRead], Some("acme".into()))
            );
        }
        assert!(with(json!(["brand"]), json!(["acme"])).is_ok());
        assert!(with(json!(["operator"]), json!("acme")).is_err(), "it sees no books");
        // What cannot be read must not be taken for no brand at all.
        for brand in [json!(""), json!(null), json!(7), json!(["a", "b"]), json!({"a": {}})] {
            assert!(with(json!(["admin"]), brand.clone()).is_err(), "{brand}");
        }
    }

    #[test]
    fn the_name_is_the_subject_and_how_it_is_called() {
        let name = |claims: Value| {
            let mut claims = claims;
            claims["realm_access"] = json!({"roles": ["admin"]});
            holder(claims).map(|holder| holder.name)
        };
        let called = json!({"sub": "u-1", "preferred_username": "jane\ndoe"});
        assert_eq!(name(called).unwrap(), "oidc u-1 (janedoe)");
        assert_eq!(name(json!({"preferred_username": 7})).unwrap(), "oidc u-1");
        let long = json!({"sub": "u".repeat(150), "preferred_username": "x".repeat(500)});
        assert_eq!(name(long).unwrap().chars().count(), 200);
        for claims in [json!({"sub": ""}), json!({"sub": 1}), json!({"sub": "u".repeat(151)})] {
            assert!(name(claims).is_err());
        }
        assert!(name(json!({"typ": "ID"})).is_err());
        assert!(name(json!({"typ": "Bearer"})).is_ok());
    }
}
