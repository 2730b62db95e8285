//! The issuer's versions: what is taken, what is refused, and which one holds on a day.

use expect_test::expect;

use super::{check, load};
use crate::config::issuer_in_force;

const GOOD: &str = r#"
[[issuer]]
from = "2026-01-01"
zone = "Europe/Berlin"
legal_name = "Network GmbH"
street = "Ring 1"
city = "Berlin"
postcode = "10117"
country = "DE"
vat_id = "DE123456789"
electronic_scheme = "0088"
electronic_address = "4012345000009"
contact_name = "Billing"
contact_email = "billing@network.example"
contact_phone = "+49 30 1"
iban = "DE89370400440532013000"
"#;

#[test]
fn the_version_of_a_day_is_the_last_one_that_began() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("config.toml");
    let later = GOOD.replace("2026-01-01", "2026-07-01").replace("GmbH", "SE");
    std::fs::write(&file, later + GOOD).unwrap();
    let loaded = load(Some(&file), &[]).unwrap();
    let name = |day: &str| {
        let issuer = issuer_in_force(&loaded.config.issuer, day.parse().unwrap())?;
        issuer.fields.get("legal_name").cloned()
    };
    assert_eq!(name("2025-12-31"), None);
    assert_eq!(name("2026-06-30").as_deref(), Some("Network GmbH"));
    assert_eq!(name("2026-07-01").as_deref(), Some("Network SE"));
    loaded.config.validate().unwrap();
    // What is shown can be loaded again.
    std::fs::write(&file, loaded.render()).unwrap();
    assert_eq!(load(Some(&file), &[]).unwrap().config.issuer, loaded.config.issuer);
}

#[test]
fn all_that_is_wrong_with_a_version_is_told() {
    let wrong = GOOD
        .replace("\"DE\"", "\"UK\"")
        .replace("DE89", "DE88")
        .replace("Europe/Berlin", "Berlin")
        .replace("city", "town")
        .replace("legal_name = \"Network GmbH\"", "terms_days = 14");
    check(
        &(wrong + GOOD + GOOD),
        &[],
        expect![[r#"
            the configuration is refused:
            - config.toml: [[issuer]] number 1: zone must be an IANA time zone, such as "Europe/Berlin"
            - config.toml: [[issuer]] number 1: terms_days must be a text in quotes
            - config.toml: [[issuer]] number 1: unknown key town; there are from, zone, legal_name, street, street_more, city, postcode, country, vat_id, registration_id, electronic_scheme, electronic_address, contact_name, contact_email, contact_phone, iban, bic
            - config.toml: [[issuer]] number 1: country is no country code of ISO 3166-1 (two capital letters, such as DE)
            - config.toml: [[issuer]] number 1: iban has check digits that do not fit: look for a typing error
            - config.toml: [[issuer]] number 2: from 2026-01-01 is that of another version
            - config.toml: [[issuer]] number 3: from 2026-01-01 is that of another version
        "#]],
    );
    check(
        "[issuer]\nlegal_name = 'x'",
        &[],
        expect![[r#"
            the configuration is refused:
            - config.toml: `issuer` must be versions, each under a line [[issuer]]
        "#]],
    );
    check(
        "[[issuer]]\nfrom = '2026-01-01'\nzone = 'UTC'\nlegal_name = 'Network'",
        &[],
        expect![[r#"
            the configuration is refused:
            - config.toml: [[issuer]] number 1: street is missing, which an invoice needs
            - config.toml: [[issuer]] number 1: city is missing, which an invoice needs
            - config.toml: [[issuer]] number 1: postcode is missing, which an invoice needs
            - config.toml: [[issuer]] number 1: country is missing, which an invoice needs
            - config.toml: [[issuer]] number 1: electronic_address is missing, which an invoice needs
            - config.toml: [[issuer]] number 1: vat_id or registration_id is missing, which an invoice needs
            - config.toml: [[issuer]] number 1: contact_name is missing, which an invoice needs
            - config.toml: [[issuer]] number 1: contact_email is missing, which an invoice needs
            - config.toml: [[issuer]] number 1: contact_phone is missing, which an invoice needs
            - config.toml: [[issuer]] number 1: iban is missing, which an invoice needs
        "#]],
    );
}
