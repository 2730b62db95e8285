//! Conservation: every position of the stream has exactly one disposition, and usage is the ledger
//! summed up. Counted from the rows themselves, not from the cursor's totals.

use sqlx::{PgConnection, PgPool};

use super::Error;
use super::cursor::{self, Totals};
use super::{epochs, usage_fold};

/// What the rows add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conservation {
    /// Positions of all epochs, of the present one up to the cursor.
    pub positions: i64,
    /// Positions by disposition, from the ledger's and the dispositions' rows.
    pub rows: Totals,
    /// The same, from the cursor's row.
    pub cursor: Totals,
    /// Receipts in the usage rows, those that were taken back included.
    pub usage: i64,
    /// Of them, those that were taken back.
    pub usage_voided: i64,
    /// Duplicates in the usage rows.
    pub usage_duplicates: i64,
}

impl Conservation {
    /// What does not add up, a sentence each; empty if all does.
    pub fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let mut check = |holds: bool, text: String| {
            if !holds {
                violations.push(text);
            }
        };
        let Self { positions, rows, cursor, usage, usage_voided, usage_duplicates } = *self;
        let sum = rows.positions();
        let receipts = rows.counted + rows.counted_later + rows.resolved;
        check(sum == positions, format!("{positions} positions have {sum} dispositions"));
        check(rows == cursor, format!("the rows say {rows:?} and the cursor says {cursor:?}"));
        check(usage == receipts, format!("{receipts} entries are {usage} receipts in usage"));
        check(
            usage_voided == rows.voided,
            format!("{} voids are {usage_voided} in usage", rows.voided),
        );
        check(
            usage_duplicates == rows.duplicate,
            format!("{} duplicates are {usage_duplicates} in usage", rows.duplicate),
        );
        violations
    }
}

/// Counts everything, in one snapshot. Reads the whole ledger.
///
/// # Errors
/// If the database is away.
pub async fn count(pool: &PgPool) -> Result<Conservation, Error> {
    let mut snapshot = pool.begin_with("begin isolation level repeatable read read only").await?;
    let found = count_in(&mut snapshot).await?;
    snapshot.rollback().await?;
    Ok(found)
}

/// Counts everything in a snapshot that the caller holds.
pub(super) async fn count_in(snapshot: &mut PgConnection) -> Result<Conservation, Error> {
    let cursor = cursor::read(&mut *snapshot).await?;
    let extents = epochs::extents(&mut *snapshot).await?;
    let (counted, counted_later, resolved, voided): (i64, i64, i64, i64) = sqlx::query_as(
        "select count(*) filter (where source = 0), count(*) filter (where source in (1, 2)), \
            count(*) filter (where source = 3), count(*) filter (where source = 4) from ledger",
    )
    .fetch_one(&mut *snapshot)
    .await?;
    let doubled: i64 =
        sqlx::query_scalar("select count(*) from ledger_double").fetch_one(&mut *snapshot).await?;
    let kinds: Vec<(String, i64)> =
        sqlx::query_as("select kind, sum(last - first + 1)::bigint from disposition group by kind")
            .fetch_all(&mut *snapshot)
            .await?;
    let of = |name: &str| kinds.iter().find(|(kind, _)| kind == name).map_or(0, |(_, sum)| *sum);
    let (usage, usage_voided, usage_duplicates): (i64, i64, i64) = sqlx::query_as(
        "select coalesce(sum(receipts), 0)::bigint, coalesce(sum(voided), 0)::bigint, \
            coalesce(sum(duplicates), 0)::bigint from usage_day",
    )
    .fetch_one(&mut *snapshot)
    .await?;
    let to_fold: i64 =
        sqlx::query_scalar("select count(*) from ledger where entry > $1 and source <> 4")
            .bind(usage_fold::last_entry(&mut *snapshot).await?)
            .fetch_one(&mut *snapshot)
            .await?;
    Ok(Conservation {
        positions: extents.iter().map(|of| of.sequence - of.began_after).sum(),
        rows: Totals {
            counted,
            duplicate: of("duplicate"),
            conflict: of("conflict"),
            rejected: of("rejected"),
            ignored: of("ignored"),
            parked: of("parked"),
            gap: of("gap"),
            counted_later,
            voided,
            resolved,
            doubled,
        },
        cursor: cursor.totals,
        usage: usage + to_fold,
        usage_voided,
        usage_duplicates,
    })
}
