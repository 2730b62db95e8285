//! Brands and predicates: the dictionaries that the ledger's numbers stand for.

use std::ops::Bound;
use std::str::FromStr;

use billing::ids::{BrandId, Predicate};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool, Row};

use super::{Error, change};

/// A brand as the engine needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brand {
    /// The brand's number in the ledger.
    pub no: i32,
    pub id: BrandId,
    pub zone: Tz,
    /// Its events are parked.
    pub is_parked: bool,
}

/// A brand as people see it.
#[derive(Clone, Debug)]
pub struct Profile {
    pub brand: Brand,
    pub display_name: Option<String>,
    pub created_at: DateTime<Utc>,
    pub receipts: i64,
    /// Events that are parked.
    pub parked: i64,
    /// Since when its events are parked.
    pub parked_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Brand {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let id: String = row.try_get("brand_id")?;
        let zone: String = row.try_get("zone")?;
        Ok(Self {
            no: row.try_get("brand_no")?,
            id: BrandId::new(&id)
                .ok_or_else(|| sqlx::Error::Decode(format!("brand id {id:?}").into()))?,
            zone: Tz::from_str(&zone)
                .map_err(|_| sqlx::Error::Decode(format!("zone {zone:?}").into()))?,
            is_parked: row.try_get("is_parked")?,
        })
    }
}

impl FromRow<'_, PgRow> for Profile {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            brand: Brand::from_row(row)?,
            display_name: row.try_get("display_name")?,
            created_at: row.try_get("created_at")?,
            receipts: row.try_get("receipts")?,
            parked: row.try_get("parked")?,
            parked_at: row.try_get("parked_at")?,
        })
    }
}

/// Which brands are meant: all, or only those of these numbers.
#[derive(Clone, Debug, Default)]
pub struct Scope(Option<Vec<i32>>);

impl Scope {
    pub fn these(numbers: Vec<i32>) -> Self {
        Self(Some(numbers))
    }

    /// The numbers; `None` for all.
    pub fn numbers(&self) -> Option<&[i32]> {
        self.0.as_deref()
    }
}

/// All, or the one of this number.
impl From<Option<i32>> for Scope {
    fn from(brand_no: Option<i32>) -> Self {
        Self(brand_no.map(|no| vec![no]))
    }
}

impl From<&Scope> for Scope {
    fn from(scope: &Scope) -> Self {
        scope.clone()
    }
}

/// Every brand that is meant, in the order of the ids' bytes.
///
/// # Errors
/// If the database is away.
pub async fn within(executor: impl PgExecutor<'_>, scope: &Scope) -> Result<Vec<Brand>, Error> {
    Ok(sqlx::query_as(
        "select brand_no, brand_id, zone, parked_at is not null as is_parked from brand \
         where $1::int[] is null or brand_no = any($1) order by brand_id collate \"C\"",
    )
    .bind(scope.numbers())
    .fetch_all(executor)
    .await?)
}

/// At most `limit` brands in the order of the ids' bytes, from this id on or after it; of one brand's number
/// that one alone.
///
/// # Errors
/// If the database is away.
pub async fn some(
    executor: impl PgExecutor<'_>,
    brand_no: Option<i32>,
    from: Bound<&str>,
    limit: i64,
) -> Result<Vec<Brand>, Error> {
    let (id, is_included) = match from {
        Bound::Included(id) => (Some(id), true),
        Bound::Excluded(id) => (Some(id), false),
        Bound::Unbounded => (None, false),
    };
    Ok(sqlx::query_as(
        "select brand_no, brand_id, zone, parked_at is not null as is_parked from brand \
         where ($1::int is null or brand_no = $1) \
            and ($2::text is null or brand_id collate \"C\" > $2 or ($3 and brand_id = $2)) \
         order by brand_id collate \"C\" limit $4",
    )
    .bind(brand_no)
    .bind(id)
    .bind(is_included)
    .bind(limit)
    .fetch_all(executor)
    .await?)
}

/// Every brand.
///
/// # Errors
/// If the database is away.
pub async fn all(executor: impl PgExecutor<'_>) -> Result<Vec<Brand>, Error> {
    within(executor, &Scope::default()).await
}

/// Creates the brands of `ids` that do not exist and returns all of them. Called outside the chunk's
/// transaction: a brand without usage harms nobody, and doing it twice does nothing.
///
/// # Errors
/// If the database is away.
pub async fn ensure(
    executor: impl PgExecutor<'_>,
    ids: &[&str],
    zone: Tz,
) -> Result<Vec<Brand>, Error> {
    let brands = sqlx::query_as(
        "with created as ( \
            insert into brand (brand_id, zone) select id, $2 from unnest($1::text[]) as id \
            on conflict (brand_id) do nothing returning brand_no, brand_id, zone) \
         select brand_no, brand_id, zone, false as is_parked from created union all \
         select brand_no, brand_id, zone, parked_at is not null from brand \
         where brand_id = any($1)",
    )
    .bind(ids)
    .bind(zone.name())
    .fetch_all(executor)
    .await?;
    Ok(brands)
}

/// The brand named `id`.
///
/// # Errors
/// If the database is away.
pub async fn find(executor: impl PgExecutor<'_>, id: &BrandId) -> Result<Option<Brand>, Error> {
    Ok(sqlx::query_as(
        "select brand_no, brand_id, zone, parked_at is not null as is_parked from brand \
         where brand_id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(executor)
    .await?)
}

/// Locks a brand's row until the end of the transaction, against others who change what is recorded
/// of it. Metering, which only refers to the row, does not wait.
///
/// # Errors
/// If the database is away, or there is no such brand.
pub async fn lock(connection: &mut PgConnection, id: &BrandId) -> Result<Brand, Error> {
    let brand = sqlx::query_as(
        "select brand_no, brand_id, zone, parked_at is not null as is_parked from brand \
         where brand_id = $1 for no key update",
    )
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?;
    brand.ok_or_else(|| Error::Corrupt(format!("there is no brand {id}")))
}

/// The profiles of all brands, or of the one named `id`, by id.
///
/// # Errors
/// If the database is away.
pub async fn profiles(
    executor: impl PgExecutor<'_>,
    id: Option<&str>,
) -> Result<Vec<Profile>, Error> {
    let profiles = sqlx::query_as(
        "select b.brand_no, b.brand_id, b.zone, b.display_name, b.created_at, \
            b.parked_at is not null as is_parked, b.parked_at, \
            (select count(*) from parked_event e \
             where e.brand_no = b.brand_no and e.outcome is null) as parked, \
            (select coalesce(sum(u.receipts - u.voided), 0)::bigint from usage_day u \
             where u.brand_no = b.brand_no) as receipts \
         from brand b where $1::text is null or b.brand_id = $1 order by b.brand_id",
    )
    .bind(id)
    .fetch_all(executor)
    .await?;
    Ok(profiles)
}

/// Brands after the id `after`, by id; of one brand's number that one alone.
///
/// # Errors
/// If the database is away.
pub async fn page(
    executor: impl PgExecutor<'_>,
    brand_no: Option<i32>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Profile>, Error> {
    Ok(sqlx::query_as(
        "select b.brand_no, b.brand_id, b.zone, b.display_name, b.created_at, \
            b.parked_at is not null as is_parked, b.parked_at, \
            (select count(*) from parked_event e \
             where e.brand_no = b.brand_no and e.outcome is null) as parked, \
            (select coalesce(sum(u.receipts - u.voided), 0)::bigint from usage_day u \
             where u.brand_no = b.brand_no) as receipts \
         from (select * from brand where ($1::int is null or brand_no = $1) \
            and ($2::text is null or brand_id > $2) order by brand_id limit $3) b \
         order by b.brand_id",
    )
    .bind(brand_no)
    .bind(after)
    .bind(limit)
    .fetch_all(executor)
    .await?)
}

/// What people call the brand of this id.
///
/// # Errors
/// If the database is away.
pub async fn display_name(
    executor: impl PgExecutor<'_>,
    id: &str,
) -> Result<Option<String>, Error> {
    let name: Option<Option<String>> =
        sqlx::query_scalar("select display_name from brand where brand_id = $1")
            .bind(id)
            .fetch_optional(executor)
            .await?;
    Ok(name.flatten())
}

/// Another name for a brand.
#[derive(Clone, Copy, Debug)]
pub struct Rename<'a> {
    pub name: &'a str,
    /// The name that was seen before, if that matters.
    pub seen: Option<Option<&'a str>>,
}

/// Sets what people call the brand. False if there is no such brand, or it has another name than was seen.
///
/// # Errors
/// If the database is away.
pub async fn set_display_name(
    pool: &PgPool,
    id: &BrandId,
    Rename { name, seen }: Rename<'_>,
    by: &str,
) -> Result<bool, Error> {
    let mut transaction = change::begin(pool).await?;
    sqlx::query("select set_config('prooftally.actor', $1, true)")
        .bind(by)
        .execute(&mut *transaction)
        .await?;
    let done = sqlx::query(
        "update brand set display_name = $2 where brand_id = $1 \
            and ($3 or display_name is not distinct from $4)",
    )
    .bind(id.as_str())
    .bind(name)
    .bind(seen.is_none())
    .bind(seen.flatten())
    .execute(&mut *transaction)
    .await?;
    change::commit_if(transaction, done.rows_affected() == 1).await
}

/// A predicate with its number in the ledger.
#[derive(Clone, Debug, FromRow)]
pub struct NumberedPredicate {
    pub predicate_no: i32,
    pub name: String,
    pub version: String,
}

/// Every predicate that was ever seen.
///
/// # Errors
/// If the database is away.
pub async fn predicates(executor: impl PgExecutor<'_>) -> Result<Vec<NumberedPredicate>, Error> {
    Ok(sqlx::query_as("select predicate_no, name, version from predicate")
        .fetch_all(executor)
        .await?)
}

/// Numbers the predicates of `wanted` that have none and returns all of them; like [`ensure`].
///
/// # Errors
/// If the database is away.
pub async fn ensure_predicates(
    executor: impl PgExecutor<'_>,
    wanted: &[Predicate<'_>],
) -> Result<Vec<NumberedPredicate>, Error> {
    let names: Vec<&str> = wanted.iter().map(|predicate| predicate.name).collect();
    let versions: Vec<&str> = wanted.iter().map(|predicate| predicate.version).collect();
    let predicates = sqlx::query_as(
        "with wanted as (select * from unnest($1::text[], $2::text[]) as w (name, version)), \
         created as ( \
            insert into predicate (name, version) select name, version from wanted \
            on conflict (name, version) do nothing returning predicate_no, name, version) \
         select predicate_no, name, version from created union all \
         select p.predicate_no, p.name, p.version from predicate p join wanted using (name, version)",
    )
    .bind(names)
    .bind(versions)
    .fetch_all(executor)
    .await?;
    Ok(predicates)
}
