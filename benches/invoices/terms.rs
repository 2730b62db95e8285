//! What documents are issued by: an issuer, a plan, and what is known of each brand.

use chrono::NaiveDate;
use prooftally::config::{Config, Source};
use prooftally::store::{Store, plans};

const ISSUER: &str = r#"
[[issuer]]
from = "2020-01-01"
zone = "Europe/Berlin"
legal_name = "Passport Network eG"
street = "Hafen 1"
city = "Hamburg"
postcode = "20457"
country = "DE"
vat_id = "DE123456789"
electronic_scheme = "EM"
electronic_address = "billing@network.example"
contact_name = "Billing"
contact_email = "billing@network.example"
contact_phone = "+49 40 1"
iban = "DE89370400440532013000"
"#;

const PROFILE: &str = r#"{"legal_name": "Acme GmbH", "street": "Ring 1", "city": "Bonn",
    "postcode": "53111", "country": "DE", "vat_id": "DE987654321", "electronic_scheme": "EM",
    "electronic_address": "in@acme.example", "buyer_reference": "PO-77", "terms_days": "14"}"#;

/// The one plan.
pub const PLAN: &str = "bench";

/// A configuration with an issuer.
pub fn config() -> anyhow::Result<Config> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("config.toml");
    std::fs::write(&file, ISSUER)?;
    let source = Source { file: Some(file), environment_variables: std::iter::empty() };
    Ok(Config::load(source)?.config)
}

/// Three charges with tiers.
pub fn tiered_plan() -> String {
    let tiers = "tiers = [{ up_to = 10, unit_price = \"0.05\" }, { up_to = 50, unit_price = \"0.04\" }, \
        { unit_price = \"0.03\" }]";
    let charge = |name: &str, predicate: &str, model: &str| {
        format!(
            "[[charge]]\nname = \"{name}\"\npredicate = \"{predicate}\"\nmodel = \"{model}\"\n{tiers}\n"
        )
    };
    format!(
        "name = \"{PLAN}\"\ncurrency = \"EUR\"\ncadence = \"monthly\"\n\n{}\n{}\n{}",
        charge("Certificates", "CERT_VALID@*", "graduated"),
        charge("Footprints", "CARBON_FOOTPRINT_LTE@*", "volume"),
        charge("Others", "*@*", "graduated"),
    )
}

/// Applies `plan`; every brand has it from `first` until `end`, and a profile and a tax.
pub async fn give(
    store: &Store,
    plan: &str,
    first: NaiveDate,
    end: Option<NaiveDate>,
) -> anyhow::Result<()> {
    plans::apply(&store.pool, PLAN, plan, first, "bench").await?;
    sqlx::query(
        "insert into assignment (brand_no, plan_name, from_day, until_day, is_split, made_by) \
         select brand_no, $1, $2, $3, false, 'bench' from brand",
    )
    .bind(PLAN)
    .bind(first)
    .bind(end)
    .execute(&store.pool)
    .await?;
    sqlx::query(
        "insert into brand_profile (brand_no, version, fields, made_by) \
         select brand_no, 1, $1::jsonb, 'bench' from brand",
    )
    .bind(PROFILE)
    .execute(&store.pool)
    .await?;
    sqlx::query(
        "insert into brand_tax (brand_no, from_day, category, rate_percent, made_by) \
         select brand_no, $1, 'S', 19, 'bench' from brand",
    )
    .bind(first)
    .execute(&store.pool)
    .await?;
    Ok(())
}
