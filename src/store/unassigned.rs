//! Usage without a plan, and how all usage of a brand is settled: assigned, waived or neither.

use chrono::NaiveDate;
use sqlx::{FromRow, PgExecutor};

use super::Error;
use super::brands::Scope;

/// Usage on days without an assignment, from one assignment or waiver to the next.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Unassigned {
    pub brand: String,
    pub first_day: NaiveDate,
    pub last_day: NaiveDate,
    pub receipts: i64,
}

/// The receipts of a brand by how they are settled; the last three sum to the first.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Coverage {
    pub brand: String,
    pub counted: i64,
    pub assigned: i64,
    pub waived: i64,
    pub unassigned: i64,
}

/// Usage that is neither assigned nor waived, by brand and day.
///
/// # Errors
/// If the database is away.
pub async fn unassigned(
    executor: impl PgExecutor<'_>,
    scope: impl Into<Scope>,
) -> Result<Vec<Unassigned>, Error> {
    // What is settled is left out row by row, before anything is summed: nearly all is. Days belong together if
    // nothing begins between them.
    let rows = sqlx::query_as(
        "with unsettled as ( \
            select u.brand_no, u.usage_day, sum(u.receipts - u.voided)::bigint as receipts \
            from usage_day u \
            where u.receipts > u.voided and ($1::int[] is null or u.brand_no = any($1)) \
                and not exists (select from assignment_now a where a.brand_no = u.brand_no \
                    and a.from_day <= u.usage_day \
                    and u.usage_day < coalesce(a.until_day, 'infinity')) \
                and not exists (select from waiver_now w where w.brand_no = u.brand_no \
                    and w.from_day <= u.usage_day and u.usage_day < w.until_day) \
            group by u.brand_no, u.usage_day) \
         select b.brand_id as brand, min(s.usage_day) as first_day, max(s.usage_day) as last_day, \
            sum(s.receipts)::bigint as receipts \
         from unsettled s join brand b using (brand_no) \
         cross join lateral ( \
            select (select count(*) from assignment_now a where a.brand_no = s.brand_no \
                        and a.from_day <= s.usage_day) \
                 + (select count(*) from waiver_now w where w.brand_no = s.brand_no \
                        and w.from_day <= s.usage_day) as before) c \
         group by b.brand_id, c.before order by b.brand_id, first_day",
    );
    let scope = scope.into();
    Ok(rows.bind(scope.numbers()).fetch_all(executor).await?)
}

/// How the usage of each brand is settled, by brand.
///
/// # Errors
/// If the database is away.
pub async fn coverage(
    executor: impl PgExecutor<'_>,
    scope: impl Into<Scope>,
) -> Result<Vec<Coverage>, Error> {
    let rows = sqlx::query_as(
        "with settled as ( \
            select u.brand_no, u.receipts, \
                exists (select from assignment_now a where a.brand_no = u.brand_no \
                    and a.from_day <= u.usage_day \
                    and (a.until_day is null or u.usage_day < a.until_day)) as assigned, \
                exists (select from waiver_now w where w.brand_no = u.brand_no \
                    and w.from_day <= u.usage_day and u.usage_day < w.until_day) as waived \
            from (select brand_no, usage_day, sum(receipts - voided)::bigint as receipts \
                from usage_day \
                where receipts > voided and ($1::int[] is null or brand_no = any($1)) \
                group by brand_no, usage_day) u) \
         select b.brand_id as brand, sum(receipts)::bigint as counted, \
            coalesce(sum(receipts) filter (where assigned), 0)::bigint as assigned, \
            coalesce(sum(receipts) filter (where waived and not assigned), 0)::bigint as waived, \
            coalesce(sum(receipts) filter (where not waived and not assigned), 0)::bigint \
                as unassigned \
         from settled join brand b using (brand_no) group by b.brand_id order by b.brand_id",
    );
    let scope = scope.into();
    Ok(rows.bind(scope.numbers()).fetch_all(executor).await?)
}
