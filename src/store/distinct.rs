//! Distinct products and suppliers, exact, from the ledger. It is read only for the predicates of which
//! a plan counts them.

use std::collections::HashMap;

use billing::period::Period;
use billing::plan::Meter;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, PgExecutor, Row};

use super::Error;

/// Receipts of a brand in a period that are alike in what matters to a plan.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Kind {
    pub predicate_no: i32,
    /// The billed result.
    pub result: bool,
    pub has_product: bool,
    pub has_supplier: bool,
    pub receipts: i64,
}

/// What counts when `cutoff` is the last entry: not what takes an entry back, nor what was taken back.
fn counts(cutoff: impl std::fmt::Display) -> String {
    format!(
        "l.entry <= {cutoff} and l.source <> 4 and not exists (select from correction c \
         where c.of_entry = l.entry and c.kind = 'void' and c.entry <= {cutoff})"
    )
}

/// The receipts of these predicates by kind, of the entries up to `cutoff`.
///
/// # Errors
/// If the database is away.
pub async fn kinds(
    executor: impl PgExecutor<'_>,
    brand_no: i32,
    period: Period,
    predicates: &[i32],
    cutoff: i64,
) -> Result<Vec<Kind>, Error> {
    let counts = counts(cutoff);
    let statement = format!(
        "select predicate_no, coalesce(result, true) as result, product is not null as has_product, \
            supplier is not null as has_supplier, count(*) as receipts \
         from ledger l \
         where brand_no = $1 and usage_day >= $2 and usage_day < $3 and predicate_no = any($4) \
            and {counts} group by 1, 2, 3, 4"
    );
    Ok(sqlx::query_as(AssertSqlSafe(statement))
        .bind(brand_no)
        .bind(period.start())
        .bind(period.end())
        .bind(predicates)
        .fetch_all(executor)
        .await?)
}

/// A brand's period, and the last entry that counts.
pub type AsOf = (i32, Period, i64);

/// The receipts of many periods by kind, each up to its own cutoff, in one pass over the ledger.
///
/// # Errors
/// If the database is away.
pub async fn kinds_as_of(
    executor: impl PgExecutor<'_>,
    wanted: &[AsOf],
) -> Result<HashMap<AsOf, Vec<Kind>>, Error> {
    let mut found: HashMap<AsOf, Vec<Kind>> =
        wanted.iter().map(|wanted| (*wanted, Vec::new())).collect();
    let wanted: Vec<AsOf> = found.keys().copied().collect();
    let counts = counts("w.cutoff");
    // Segments above every cutoff are not read.
    let statement = format!(
        "select w.n, l.predicate_no, coalesce(l.result, true) as result, \
            l.product is not null as has_product, l.supplier is not null as has_supplier, \
            count(*) as receipts \
         from unnest($1::int[], $2::date[], $3::date[], $4::bigint[]) with ordinality \
            as w (brand_no, first, until, cutoff, n) \
         join ledger l on l.brand_no = w.brand_no \
            and l.usage_day >= w.first and l.usage_day < w.until \
         where l.entry <= $5 and {counts} group by 1, 2, 3, 4, 5"
    );
    let rows: Vec<(i64, Kind)> = sqlx::query(AssertSqlSafe(statement))
        .bind(wanted.iter().map(|(brand_no, ..)| *brand_no).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, days, _)| days.start()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, days, _)| days.end()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(.., cutoff)| *cutoff).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(.., cutoff)| *cutoff).max().unwrap_or(0))
        .try_map(|row: PgRow| Ok((row.try_get("n")?, Kind::from_row(&row)?)))
        .fetch_all(executor)
        .await?;
    for (place, kind) in rows {
        let index = usize::try_from(place - 1).expect("an ordinality is at least 1");
        found.entry(wanted[index]).or_default().push(kind);
    }
    Ok(found)
}

/// How many values the receipts of `kinds` have of what `meter` counts, of the entries up to `cutoff`.
///
/// # Errors
/// If the database is away.
pub async fn values(
    executor: impl PgExecutor<'_>,
    brand_no: i32,
    period: Period,
    meter: Meter,
    kinds: &[&Kind],
    cutoff: i64,
) -> Result<i64, Error> {
    let column = match meter {
        Meter::DistinctProducts => "product",
        Meter::DistinctSuppliers => "supplier",
        Meter::Receipts => return Ok(kinds.iter().map(|kind| kind.receipts).sum()),
    };
    let counts = counts(cutoff);
    // The column's name is one of the two above. A hashed `distinct` is much faster than a sorted
    // `count(distinct …)`.
    let statement = format!(
        "select count(*) from (select distinct l.{column} \
            from ledger l \
            join unnest($4::int[], $5::bool[], $6::bool[], $7::bool[]) \
                as k (predicate_no, result, has_product, has_supplier) \
                on k.predicate_no = l.predicate_no and k.result = coalesce(l.result, true) \
                    and k.has_product = (l.product is not null) \
                    and k.has_supplier = (l.supplier is not null) \
            where l.brand_no = $1 and l.usage_day >= $2 and l.usage_day < $3 and {counts}) found"
    );
    let column = |what: fn(&Kind) -> bool| kinds.iter().map(|kind| what(kind)).collect::<Vec<_>>();
    Ok(sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(brand_no)
        .bind(period.start())
        .bind(period.end())
        .bind(kinds.iter().map(|kind| kind.predicate_no).collect::<Vec<_>>())
        .bind(column(|kind| kind.result))
        .bind(column(|kind| kind.has_product))
        .bind(column(|kind| kind.has_supplier))
        .fetch_one(executor)
        .await?)
}
