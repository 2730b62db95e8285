//! What was metered: whether nothing is left to be done for it, and whether it is the truth.

use anyhow::Context as _;
use prooftally::store::usage::{Dimension, Query};
use prooftally::store::{Store, conservation, cursor, sealing, segments, usage, usage_fold};
use prooftally::workload::{Truth, UsageRow};
use sqlx::PgConnection;

/// True if usage has all that is counted, and every full segment is sealed: a rate without that work would
/// not last.
pub async fn is_done(connection: &mut PgConnection) -> anyhow::Result<bool> {
    let cursor = cursor::read(&mut *connection).await?;
    if usage_fold::last_entry(&mut *connection).await? < cursor.entry {
        return Ok(false);
    }
    let full = segments::full(cursor.entry, cursor.segment_entries.unwrap_or(i64::MAX));
    Ok(sealing::sealed_count(connection).await? == full)
}

/// Where what was counted differs from the truth, or does not add up.
pub async fn faults(store: &Store, truth: &Truth) -> anyhow::Result<Vec<String>> {
    let by = vec![Dimension::Brand, Dimension::Day, Dimension::Predicate, Dimension::Result];
    let rows = usage::query(&store.pool, &Query { by, ..Query::default() }).await?;
    let rows: Option<Vec<UsageRow>> = rows.into_iter().map(truth_row).collect();
    let mut faults = truth.compare_usage(&rows.context("a usage row lacks a dimension")?);
    let counted = conservation::count(&store.pool).await?;
    faults.extend(counted.violations());
    let totals = &truth.totals;
    let found = [counted.rows.counted, counted.rows.conflict, counted.rows.rejected];
    let expected = [totals.counted, totals.conflicts, totals.rejected].map(u64::cast_signed);
    if found != expected {
        faults.push(format!("counted, conflicts and rejected are {found:?}, not {expected:?}"));
    }
    Ok(faults)
}

fn truth_row(row: usage::UsageRow) -> Option<UsageRow> {
    Some(UsageRow {
        brand: row.brand?,
        usage_day: row.usage_day?,
        predicate: row.predicate?,
        result: row.result?,
        receipts: u64::try_from(row.receipts).ok()?,
        duplicates: u64::try_from(row.duplicates?).ok()?,
    })
}
