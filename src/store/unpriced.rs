//! Reads usage of certain kinds only: what no charge takes.

use chrono::NaiveDate;
use sqlx::{FromRow, PgPool};

use super::Error;

/// A kind of usage. Where `has_product` or `has_supplier` matters to the plan, the ledger is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub predicate_no: i32,
    /// The billed result.
    pub result: bool,
    /// Only receipts with (or without) a product and a supplier; all if `None`.
    pub carries: Option<Carries>,
}

/// What receipts carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carries {
    pub product: bool,
    pub supplier: bool,
}

/// Receipts of one kind and brand.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Row {
    pub brand: String,
    pub predicate: String,
    pub result: bool,
    pub receipts: i64,
    pub first_day: NaiveDate,
    pub last_day: NaiveDate,
}

/// The usage of `kinds` of all brands, or of those with these numbers, from the usage day `from` on and before `until`, by brand, predicate and
/// result.
///
/// # Errors
/// If the database is away.
pub async fn usage(
    pool: &PgPool,
    kinds: &[Kind],
    brands: Option<&[i32]>,
    from: Option<NaiveDate>,
    until: Option<NaiveDate>,
) -> Result<Vec<Row>, Error> {
    let (some, whole): (Vec<Kind>, Vec<Kind>) =
        kinds.iter().partition(|kind| kind.carries.is_some());
    let mut rows = Vec::new();
    if !whole.is_empty() {
        rows.extend(of_usage_days(pool, &whole, brands, from, until).await?);
    }
    if !some.is_empty() {
        rows.extend(of_ledger(pool, &some, brands, from, until).await?);
    }
    Ok(rows)
}

async fn of_usage_days(
    pool: &PgPool,
    kinds: &[Kind],
    brands: Option<&[i32]>,
    from: Option<NaiveDate>,
    until: Option<NaiveDate>,
) -> Result<Vec<Row>, Error> {
    Ok(sqlx::query_as(
        "select b.brand_id as brand, p.name || '@' || p.version as predicate, u.result, \
            sum(u.receipts - u.voided)::bigint as receipts, \
            min(u.usage_day) as first_day, max(u.usage_day) as last_day \
         from usage_day u \
         join unnest($1::int[], $2::bool[]) as k (predicate_no, result) \
            using (predicate_no, result) \
         join brand b using (brand_no) join predicate p using (predicate_no) \
         where u.receipts > u.voided and ($3::date is null or u.usage_day >= $3) \
            and ($4::date is null or u.usage_day < $4) \
            and ($5::int[] is null or u.brand_no = any($5)) \
         group by 1, 2, 3",
    )
    .bind(kinds.iter().map(|kind| kind.predicate_no).collect::<Vec<_>>())
    .bind(kinds.iter().map(|kind| kind.result).collect::<Vec<_>>())
    .bind(from)
    .bind(until)
    .bind(brands)
    .fetch_all(pool)
    .await?)
}

async fn of_ledger(
    pool: &PgPool,
    kinds: &[Kind],
    brands: Option<&[i32]>,
    from: Option<NaiveDate>,
    until: Option<NaiveDate>,
) -> Result<Vec<Row>, Error> {
    let carries = |what: fn(Carries) -> bool| {
        kinds.iter().map(|kind| kind.carries.map(what)).collect::<Vec<_>>()
    };
    Ok(sqlx::query_as(
        "select b.brand_id as brand, p.name || '@' || p.version as predicate, k.result, \
            sum(case l.source when 4 then -1 else 1 end)::bigint as receipts, \
            min(l.usage_day) as first_day, max(l.usage_day) as last_day \
         from ledger l \
         join unnest($1::int[], $2::bool[], $3::bool[], $4::bool[]) \
            as k (predicate_no, result, has_product, has_supplier) \
            on k.predicate_no = l.predicate_no and k.result = coalesce(l.result, true) \
                and k.has_product = (l.product is not null) \
                and k.has_supplier = (l.supplier is not null) \
         join brand b using (brand_no) join predicate p on p.predicate_no = l.predicate_no \
         where ($5::date is null or l.usage_day >= $5) and ($6::date is null or l.usage_day < $6) \
            and ($7::int[] is null or l.brand_no = any($7)) \
         group by 1, 2, 3 having sum(case l.source when 4 then -1 else 1 end) > 0",
    )
    .bind(kinds.iter().map(|kind| kind.predicate_no).collect::<Vec<_>>())
    .bind(kinds.iter().map(|kind| kind.result).collect::<Vec<_>>())
    .bind(carries(|carries| carries.product))
    .bind(carries(|carries| carries.supplier))
    .bind(from)
    .bind(until)
    .bind(brands)
    .fetch_all(pool)
    .await?)
}
