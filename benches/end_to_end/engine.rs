//! prooftally itself: the whole engine, from the first commit to the last.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use prooftally::config::Config;
use prooftally::engine::{self, Engine};
use prooftally::store::usage::{Dimension, Query};
use prooftally::store::{Store, conservation, cursor, sealing, segments, usage, usage_fold};
use prooftally::workload::{Truth, UsageRow};
use sqlx::PgConnection;

use crate::contestant::{Order, Outcome, Watch};

/// Seldom enough to cost nothing; the rate is off by this much at most.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub async fn run(order: &Order) -> anyhow::Result<Outcome> {
    // The schema is there before, as it is in production, so that the cursor can be looked at.
    let store = order.store()?;
    store.migrate().await?;
    let mut connection = store.connect().await?;
    let mut engine = Engine::start(order.config()).await?;
    let started = Instant::now();
    let last = i64::try_from(order.case.count)?;
    let before = cursor::read(&mut connection).await?.sequence;
    let (mut begun, mut position) = (None, before);
    let mut first_commit_seconds = 0.0;
    while position < last || !is_done(&mut connection).await? {
        tokio::select! {
            () = engine.failed() => anyhow::bail!("the engine has ended"),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        position = cursor::read(&mut connection).await?.sequence;
        if position > before && begun.is_none() {
            first_commit_seconds = started.elapsed().as_secs_f64();
            begun = Some((position, Watch::start(order)?));
        }
    }
    let (first, watch) = begun.context("nothing was committed")?;
    let outcome = watch.stop(u64::try_from(last - first)?)?;
    engine.stop().await;
    Ok(Outcome { first_commit_seconds, ..outcome })
}

/// True if usage has all that is counted, and every full segment is sealed: a rate without that work would
/// not last.
async fn is_done(connection: &mut PgConnection) -> anyhow::Result<bool> {
    let cursor = cursor::read(&mut *connection).await?;
    if usage_fold::last_entry(&mut *connection).await? < cursor.entry {
        return Ok(false);
    }
    let full = segments::full(cursor.entry, cursor.segment_entries.unwrap_or(i64::MAX));
    Ok(sealing::sealed_count(connection).await? == full)
}

/// Where what was counted differs from the truth, or does not add up.
pub async fn faults(database_url: &str, truth: &Truth) -> anyhow::Result<Vec<String>> {
    let mut config = Config::default();
    config.database.url = database_url.into();
    let store = Store::new(&engine::store_config(&config))?;
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
    store.pool.close().await;
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
