//! What the engine looks at beside the metering: audits when they are due, and what waits for a person.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Parts;
use crate::store::audit::{self, Severity};
use crate::store::audit_runs::{self, AuditRun};
use crate::store::{self, conflicts, digests, rejections};
use crate::telemetry::health::Notice;

/// An audit waits while more messages than these are behind the cursor: it reads the whole ledger, and its
/// snapshot keeps PostgreSQL from reusing the old versions of usage rows.
const BACKLOG_MAX: i64 = 100_000;
/// And for as long as this, since a backlog that stays is a fault of its own.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// Audits the database whenever an audit is due and no backlog is worked off, for as long as this engine
/// is the one that writes. A failure to do so is no audit: its age says so.
pub(super) async fn audits(parts: Arc<Parts>) {
    const LOOK_EVERY: Duration = Duration::from_secs(10);
    let Some(every) = parts.config.audit_every else { return watch_last(&parts, LOOK_EVERY).await };
    // A shorter interval is looked at more often, so that it is kept.
    let look_every = LOOK_EVERY.min(every);
    let mut due = Due::default();
    loop {
        if parts.fence.borrow().is_some() {
            let is_due = match show_last(&parts).await {
                Ok(last) => last.is_none_or(|last| last.age_s >= every.as_secs_f64()),
                Err(_) => false,
            };
            let backlog = parts.backlog.load(Ordering::Relaxed);
            let begins = due.begins(is_due, backlog, Instant::now());
            if begins && let Err(error) = run(&parts).await {
                tracing::warn!(error = %chain(&error), "the audit could not be run; it is tried again");
            }
        }
        tokio::time::sleep(look_every).await;
    }
}

/// Since when an audit is due.
#[derive(Default)]
struct Due {
    since: Option<Instant>,
}

impl Due {
    /// Whether an audit begins now.
    fn begins(&mut self, is_due: bool, backlog: i64, now: Instant) -> bool {
        if !is_due {
            // One by hand, or by another engine, came between.
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let begins = backlog <= BACKLOG_MAX || now - since > WAIT_MAX;
        if begins {
            self.since = None;
        }
        begins
    }
}

async fn watch_last(parts: &Parts, every: Duration) {
    loop {
        // The next look shows what this one could not.
        let _ = show_last(parts).await;
        tokio::time::sleep(every).await;
    }
}

async fn run(parts: &Parts) -> Result<(), store::Error> {
    let began_at = chrono::Utc::now();
    let audit = audit::run_beside(&parts.store).await?;
    for finding in audit.findings.iter().filter(|found| found.severity == Severity::Violation) {
        tracing::error!(check = finding.check, what = finding.what, "the audit found a violation");
    }
    audit_runs::record(&parts.store.pool, &audit, began_at, "schedule", false).await?;
    digests::keep(&parts.store.pool, &audit.digests).await?;
    tracing::info!(
        violations = audit.count(Severity::Violation),
        notes = audit.count(Severity::Note),
        entry = audit.cursor.entry,
        "the database was audited"
    );
    show_last(parts).await?;
    Ok(())
}

/// Shows the last audit, whoever ran it, in metrics and beside the health.
async fn show_last(parts: &Parts) -> Result<Option<AuditRun>, store::Error> {
    let last = audit_runs::last(&parts.store.pool).await?;
    if let Some(last) = &last {
        parts.metrics.audited(last);
        let text = format!(
            "{} violations and {} notes, {:.0} s ago, by {}",
            last.violations, last.notes, last.age_s, last.run_by
        );
        parts.health.notice(Notice::Audit, text);
    }
    Ok(last)
}

/// Counts what is open, now and then: conflicts, and rejections by reason.
pub(super) async fn open_cases(parts: Arc<Parts>) {
    const EVERY: Duration = Duration::from_secs(5);
    loop {
        let pool = &parts.store.pool;
        if let Ok(open) = conflicts::count_open(pool).await {
            parts.metrics.conflicts_open(open);
        }
        if let Ok(open) = rejections::open_by_reason(pool).await {
            parts.metrics.rejections_open(&open);
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn chain(error: &store::Error) -> String {
    let first: &(dyn std::error::Error + 'static) = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_waits_for_the_end_of_a_backlog_but_not_for_ever() {
        let start = Instant::now();
        let mut due = Due::default();
        let mut begins =
            |at_s, is_due, backlog| due.begins(is_due, backlog, start + Duration::from_secs(at_s));
        assert!(!begins(0, false, 0), "none is due");
        assert!(begins(10, true, 100_000));
        assert!(!begins(20, true, i64::MAX), "nobody has looked yet");
        assert!(!begins(3_620, true, 100_001));
        assert!(begins(3_621, true, 100_001), "it has waited for an hour");
        assert!(!begins(3_630, true, 100_001), "it waits anew");
        assert!(!begins(3_640, false, 100_001), "one by hand came between");
        assert!(!begins(9_000, true, 100_001), "and so the waiting begins anew");
    }
}
