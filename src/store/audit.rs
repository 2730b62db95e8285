//! The audit: every invariant that the database can be asked about, over the whole of it, in one
//! snapshot. Reads and sorts the whole ledger; writes nothing.

use sqlx::{PgConnection, PgPool};

use super::epochs::{self, Extent};
use super::{Error, conservation, cursor};

/// Something that contradicts an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check found it; a fixed name.
    pub check: &'static str,
    pub what: String,
}

/// Checks and their names, in the order in which they run.
pub const CHECKS: [&str; 7] =
    ["conservation", "tiling", "gaps", "uniqueness", "entries", "usage", "evidence_of_rejection"];

/// At most so many findings of a check are told one by one.
const FINDINGS_MAX: i64 = 20;

/// Runs every check. `done` is told the name of each check as it ends.
///
/// # Errors
/// If the database is away.
pub async fn run(pool: &PgPool, mut done: impl FnMut(&str)) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let mut snapshot = pool.begin_with("begin isolation level repeatable read read only").await?;
    for check in CHECKS {
        let found = match check {
            "conservation" => conservation::count_in(&mut snapshot).await?.violations(),
            "tiling" => tiling(&mut snapshot).await?,
            "gaps" => gaps(&mut snapshot).await?,
            "uniqueness" => uniqueness(&mut snapshot).await?,
            "entries" => entries(&mut snapshot).await?,
            "usage" => usage(&mut snapshot).await?,
            _ => evidence_of_rejection(&mut snapshot).await?,
        };
        findings.extend(found.into_iter().map(|what| Finding { check, what }));
        done(check);
    }
    snapshot.rollback().await?;
    Ok(findings)
}

/// Dispositions tile each epoch of the stream: each run begins where the one before ended.
async fn tiling(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let breaks: Vec<(i32, i64, i64)> = sqlx::query_as(
        "with epochs as ( \
            select epoch, began_after from epoch union all select epoch, began_after from cursor), \
         runs as ( \
            select epoch, sequence as first, sequence as last from ledger where source = 0 \
            union all select epoch, first, last from disposition), \
         placed as ( \
            select epoch, first, last, \
                lag(last) over (partition by epoch order by first, last) as before from runs) \
         select epoch, coalesce(before, began_after, 0), first \
         from placed left join epochs using (epoch) \
         where first <> coalesce(before, began_after, 0) + 1 order by epoch, first limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let mut findings: Vec<String> = breaks
        .into_iter()
        .map(|(epoch, before, first)| {
            let what = if first > before + 1 { "has no disposition" } else { "has two" };
            format!("epoch {epoch}: a position between {before} and {first} {what}")
        })
        .collect();
    for Extent { epoch, began_after, sequence } in epochs::extents(&mut *connection).await? {
        let last: Option<i64> = sqlx::query_scalar(
            "select greatest((select max(sequence) from ledger where source = 0 and epoch = $1), \
                (select max(last) from disposition where epoch = $1))",
        )
        .bind(epoch)
        .fetch_one(&mut *connection)
        .await?;
        let last = last.unwrap_or(began_after);
        if last != sequence {
            findings.push(format!(
                "epoch {epoch}: the cursor is at position {sequence} and the last disposition at {last}"
            ));
        }
    }
    Ok(findings)
}

/// Positions that the stream no longer had are an open or accepted gap, and no others are.
async fn gaps(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let differences: Vec<(i32, i64, bool)> = sqlx::query_as(
        "with disposed as (select epoch, first, last from disposition where kind = 'gap'), \
            noted as (select epoch, first, last from gap where reason = 'missing') \
         select epoch, first, n.first is null from disposed d \
         full join noted n using (epoch, first, last) \
         where d.last is null or n.last is null order by 1, 2 limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(differences
        .into_iter()
        .map(|(epoch, first, is_disposed)| {
            if is_disposed {
                format!("epoch {epoch}: the gap from position {first} is not among the gaps")
            } else {
                format!("epoch {epoch}: a gap from position {first} has no such disposition")
            }
        })
        .collect())
}

/// No receipt of a brand is counted twice.
async fn uniqueness(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let doubles: Vec<(String, String, Vec<i64>)> = sqlx::query_as(
        "select b.brand_id, min(l.receipt_id), array_agg(l.entry order by l.entry) \
         from ledger l join brand b using (brand_no) \
         group by b.brand_id, l.receipt_key having count(*) > 1 order by 3 limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(doubles
        .into_iter()
        .map(|(brand, receipt, entries)| {
            format!(
                "receipt {receipt} of {brand} is counted {} times: entries {entries:?}",
                entries.len()
            )
        })
        .collect())
}

/// Entries are dense from 1 to the cursor's.
async fn entries(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let cursor = cursor::read(&mut *connection).await?;
    let (count, first, last): (i64, Option<i64>, Option<i64>) =
        sqlx::query_as("select count(*), min(entry), max(entry) from ledger")
            .fetch_one(connection)
            .await?;
    let (first, last) = (first.unwrap_or(1), last.unwrap_or(0));
    if (first, last, count) == (1, cursor.entry, cursor.entry) {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "{count} entries from {first} to {last}, and the cursor says 1 to {}",
        cursor.entry
    )])
}

/// Usage rows are the ledger summed up.
async fn usage(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let differences: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "with counted as ( \
            select brand_no, usage_day, predicate_no, coalesce(result, true) as result, \
                count(*) as receipts from ledger group by 1, 2, 3, 4) \
         select b.brand_id, format('%s %s@%s %s', usage_day, p.name, p.version, result), \
            coalesce(u.receipts, 0), coalesce(c.receipts, 0) \
         from counted c full join usage_day u using (brand_no, usage_day, predicate_no, result) \
         join brand b using (brand_no) join predicate p using (predicate_no) \
         where coalesce(u.receipts, 0) <> coalesce(c.receipts, 0) order by 1, 2 limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(differences
        .into_iter()
        .map(|(brand, group, usage, ledger)| {
            format!("usage of {brand} on {group} is {usage} and the ledger has {ledger}")
        })
        .collect())
}

/// What was rejected or parked is kept with its bytes.
async fn evidence_of_rejection(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let missing: Vec<(String, i32, i64)> = sqlx::query_as(
        "select d.kind, d.epoch, d.first from disposition d \
         left join rejection r on r.epoch = d.epoch and r.sequence = d.first \
         left join parked_event p on p.epoch = d.epoch and p.sequence = d.first \
         where (d.kind = 'rejected' and r.sequence is null) \
            or (d.kind = 'parked' and p.sequence is null) \
         order by d.epoch, d.first limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(missing
        .into_iter()
        .map(|(kind, epoch, sequence)| {
            format!("position {sequence} of epoch {epoch} is {kind} and its event is not kept")
        })
        .collect())
}
