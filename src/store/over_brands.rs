//! Pages of what belongs to brands: rows in the order of the bytes of the brands' ids, then of a day, then of
//! their numbers.

use chrono::NaiveDate;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, PgExecutor};

use super::Error;

/// A row of a list over brands: the brand's id, a day of it, and the row's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub brand: String,
    pub day: NaiveDate,
    pub no: i64,
}

/// A table of which pages are read.
pub(super) struct Listed {
    /// Has `brand_no`, `from_day` and the number.
    pub table: &'static str,
    /// The column of the number.
    pub no: &'static str,
    /// What is selected, from the brands `b` and the rows `a`.
    pub select: &'static str,
}

/// At most `limit` rows of all brands or of one, after a place.
///
/// # Errors
/// If the database is away.
pub(super) async fn page<R>(
    executor: impl PgExecutor<'_>,
    Listed { table, no, select }: Listed,
    brand_no: Option<i32>,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<R>, Error>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    // Each brand that is looked at has a row, and only the first may have none left: so many fill a page.
    let statement = format!(
        "with b as materialized ( \
            select b.brand_no, b.brand_id from brand b \
            where ($1::int is null or b.brand_no = $1) \
                and ($2::text is null or b.brand_id collate \"C\" >= $2) \
                and exists (select from {table} a where a.brand_no = b.brand_no) \
            order by b.brand_id collate \"C\" limit $5 + 1) \
         {select} \
         where $2::text is null \
            or (b.brand_id collate \"C\", a.from_day, a.{no}) > ($2, $3::date, $4::bigint) \
         order by b.brand_id collate \"C\", a.from_day, a.{no} limit $5"
    );
    Ok(sqlx::query_as(AssertSqlSafe(statement))
        .bind(brand_no)
        .bind(after.map(|place| &place.brand))
        .bind(after.map(|place| place.day))
        .bind(after.map(|place| place.no))
        .bind(limit)
        .fetch_all(executor)
        .await?)
}
