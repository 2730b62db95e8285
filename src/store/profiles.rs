//! What invoices say of a brand: its party in versions, and how it is taxed from which day. Rows are
//! added and never changed.

use std::collections::BTreeMap;

use billing::ids::BrandId;
use billing::party::{Field, Party, Role};
use billing::tax::{Category, Dated, Treatment, TreatmentError};
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::{FromRow, PgExecutor, PgPool};

use super::brands::{self, Scope};
use super::{Error, change};

/// A version of a brand's profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Counted from 1.
    pub version: i32,
    pub party: Party,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
}

/// How a brand is taxed, as it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaxRecord {
    pub tax_no: i64,
    pub dated: Dated,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
}

#[derive(FromRow)]
struct Row {
    version: i32,
    fields: String,
    made_at: DateTime<Utc>,
    made_by: String,
}

/// All versions of a brand's profile, oldest first.
///
/// # Errors
/// If the database is away, or what it holds cannot be read.
pub async fn versions(executor: impl PgExecutor<'_>, brand_no: i32) -> Result<Vec<Version>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select version, fields::text as fields, made_at, made_by from brand_profile \
         where brand_no = $1 \
         order by version",
    )
    .bind(brand_no)
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|Row { version, fields, made_at, made_by }| {
            let corrupt = |what| {
                Error::Corrupt(format!("profile {version} of brand number {brand_no}: {what}"))
            };
            let party = party(&fields).map_err(corrupt)?;
            Ok(Version { version, party, made_at, made_by })
        })
        .collect()
}

/// Adds a version of a brand's profile that `change` makes of the newest one, unless it is the same.
/// `change` may refuse. The answer is the newest version before and after.
///
/// # Errors
/// If the database is away; the inner error is that of `change`.
pub async fn change<E>(
    pool: &PgPool,
    brand: &BrandId,
    by: &str,
    change: impl FnOnce(Option<&Version>) -> Result<Party, E>,
) -> Result<Result<(i32, i32), E>, Error> {
    let mut transaction = change::begin(pool).await?;
    let brand = brands::lock(&mut transaction, brand).await?;
    let newest = versions(&mut *transaction, brand.no).await?.pop();
    let before = newest.as_ref().map_or(0, |newest| newest.version);
    let party = match change(newest.as_ref()) {
        Ok(party) => party,
        Err(refused) => return Ok(Err(refused)),
    };
    if newest.is_some_and(|newest| newest.party == party) {
        return Ok(Ok((before, before)));
    }
    let fields: BTreeMap<&str, &str> =
        party.values().map(|(field, text)| (field.as_str(), text)).collect();
    let fields = serde_json::to_string(&fields).expect("texts by name are JSON");
    let version = before.saturating_add(1);
    sqlx::query(
        "insert into brand_profile (brand_no, version, fields, made_by) values ($1, $2, $3::jsonb, $4)",
    )
    .bind(brand.no)
    .bind(version)
    .bind(fields)
    .bind(by)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Ok((before, version)))
}

/// The newest profile of each brand that has one, by brand number.
///
/// # Errors
/// If the database is away, or what it holds cannot be read.
pub async fn newest(
    executor: impl PgExecutor<'_>,
    scope: impl Into<Scope>,
) -> Result<BTreeMap<i32, Party>, Error> {
    let rows: Vec<(i32, String)> = sqlx::query_as(
        "select distinct on (brand_no) brand_no, fields::text from brand_profile \
         where $1::int[] is null or brand_no = any($1) order by brand_no, version desc",
    )
    .bind(scope.into().numbers())
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|(brand_no, fields)| {
            let corrupt = |what| Error::Corrupt(format!("profile of brand {brand_no}: {what}"));
            Ok((brand_no, party(&fields).map_err(corrupt)?))
        })
        .collect()
}

/// Reads a party from its fields.
fn party(fields: &str) -> Result<Party, String> {
    let fields: BTreeMap<String, String> =
        serde_json::from_str(fields).map_err(|error| error.to_string())?;
    let values = fields
        .into_iter()
        .map(|(name, text)| {
            Ok((Field::from_name(&name).ok_or_else(|| format!("unknown field {name}"))?, text))
        })
        .collect::<Result<Vec<_>, String>>()?;
    Party::stored(Role::Buyer, values)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

#[derive(FromRow)]
struct TaxRow {
    brand_no: i32,
    tax_no: i64,
    from_day: NaiveDate,
    category: String,
    rate_percent: Decimal,
    exemption: Option<String>,
    made_at: DateTime<Utc>,
    made_by: String,
}

/// How brands are taxed, by brand number, as it was set, oldest first.
///
/// # Errors
/// If the database is away, or what it holds cannot be read.
pub async fn taxes(
    executor: impl PgExecutor<'_>,
    scope: impl Into<Scope>,
) -> Result<BTreeMap<i32, Vec<TaxRecord>>, Error> {
    let rows: Vec<TaxRow> = sqlx::query_as(
        "select brand_no, tax_no, from_day, category, rate_percent, exemption, made_at, made_by \
         from brand_tax where $1::int[] is null or brand_no = any($1) order by tax_no",
    )
    .bind(scope.into().numbers())
    .fetch_all(executor)
    .await?;
    let mut found: BTreeMap<i32, Vec<TaxRecord>> = BTreeMap::new();
    for row in rows {
        let corrupt = |why: String| Error::Corrupt(format!("tax number {}: {why}", row.tax_no));
        let category = Category::from_code(&row.category)
            .ok_or_else(|| corrupt(format!("unknown category {}", row.category)))?;
        let treatment = Treatment::new(category, row.rate_percent, row.exemption)
            .map_err(|error| corrupt(error.to_string()))?;
        found.entry(row.brand_no).or_default().push(TaxRecord {
            tax_no: row.tax_no,
            dated: Dated { from: row.from_day, treatment },
            made_at: row.made_at,
            made_by: row.made_by,
        });
    }
    Ok(found)
}

/// Longest reason why no tax is due, in characters.
const EXEMPTION_CHARS_MAX: usize = 1_000;

/// Why a brand cannot be taxed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaxRefused {
    #[error("there is no VAT category {0}: use S, Z, E, AE or O")]
    Category(String),
    #[error(
        "the exemption text has {0} characters; an invoice takes {EXEMPTION_CHARS_MAX} at most"
    )]
    ExemptionTooLong(usize),
    #[error(transparent)]
    Treatment(#[from] TreatmentError),
}

/// How a brand is to be taxed, from what a person wrote.
///
/// # Errors
/// If it does not fit together, or not on an invoice.
pub fn treatment(
    category: &str,
    rate_percent: Decimal,
    exemption: Option<String>,
) -> Result<Treatment, TaxRefused> {
    let known = Category::from_code(category)
        .ok_or_else(|| TaxRefused::Category(category.chars().take(20).collect()))?;
    let chars = exemption.as_deref().map_or(0, |text| text.chars().count());
    if chars > EXEMPTION_CHARS_MAX {
        return Err(TaxRefused::ExemptionTooLong(chars));
    }
    Ok(Treatment::new(known, rate_percent, exemption)?)
}

/// Sets how a brand is taxed from a day on; if it is said which row was `seen` as the newest (0 for none),
/// only while it still is. False if it is not.
///
/// # Errors
/// If the database is away.
pub async fn set_tax(
    pool: &PgPool,
    brand: &BrandId,
    dated: &Dated,
    seen: Option<i64>,
    by: &str,
) -> Result<bool, Error> {
    let mut transaction = change::begin(pool).await?;
    let brand = brands::lock(&mut transaction, brand).await?;
    let newest: i64 =
        sqlx::query_scalar("select coalesce(max(tax_no), 0) from brand_tax where brand_no = $1")
            .bind(brand.no)
            .fetch_one(&mut *transaction)
            .await?;
    if seen.is_some_and(|seen| seen != newest) {
        return Ok(false);
    }
    sqlx::query(
        "insert into brand_tax (brand_no, from_day, category, rate_percent, exemption, made_by) \
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(brand.no)
    .bind(dated.from)
    .bind(dated.treatment.category().code())
    .bind(dated.treatment.rate_percent())
    .bind(dated.treatment.exemption())
    .bind(by)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(true)
}
