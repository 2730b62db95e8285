//! What audits have found, kept so that a restart knows it and a billing run can ask for it.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};

use super::Error;
use super::audit::{Audit, Severity};

/// The last run.
#[derive(Clone, Debug, FromRow)]
pub struct AuditRun {
    pub run_no: i64,
    pub ended_at: DateTime<Utc>,
    /// Seconds since it ended, by the database's clock.
    pub age_s: f64,
    pub run_by: String,
    /// The last entry that it saw.
    pub entry: i64,
    pub with_stream: bool,
    pub violations: i32,
    pub notes: i32,
    /// Findings by check, as `check=n` pairs.
    #[sqlx(rename = "by_check")]
    counts: sqlx::types::Json<std::collections::BTreeMap<String, i64>>,
}

impl AuditRun {
    /// How many findings the check had.
    pub fn findings_of(&self, check: &str) -> i64 {
        self.counts.0.get(check).copied().unwrap_or(0)
    }
}

/// As many runs are kept.
const RUNS_KEPT: i64 = 1_000;

/// Keeps what `audit` has found.
///
/// # Errors
/// If the database is away.
pub async fn record(
    executor: impl PgExecutor<'_>,
    audit: &Audit,
    began_at: DateTime<Utc>,
    run_by: &str,
    with_stream: bool,
) -> Result<(), Error> {
    let findings = serde_json::to_string(&audit.findings).expect("findings are plain texts");
    let count = |severity| i32::try_from(audit.count(severity)).unwrap_or(i32::MAX);
    sqlx::query(
        "with added as ( \
            insert into audit_run (began_at, run_by, entry, sequence, with_stream, violations, \
                notes, findings) \
            values ($1, $2, $3, $4, $5, $6, $7, $8::jsonb) returning run_no) \
         delete from audit_run where run_no <= (select run_no from added) - $9",
    )
    .bind(began_at)
    .bind(run_by)
    .bind(audit.cursor.entry)
    .bind(audit.cursor.sequence)
    .bind(with_stream)
    .bind(count(Severity::Violation))
    .bind(count(Severity::Note))
    .bind(findings)
    .bind(RUNS_KEPT)
    .execute(executor)
    .await?;
    Ok(())
}

/// The run that ended last, if there was any.
///
/// # Errors
/// If the database is away.
pub async fn last(executor: impl PgExecutor<'_>) -> Result<Option<AuditRun>, Error> {
    Ok(sqlx::query_as(
        "select run_no, ended_at, run_by, entry, with_stream, violations, notes, \
            extract(epoch from clock_timestamp() - ended_at)::float8 as age_s, \
            (select coalesce(jsonb_object_agg(of.check, of.n), '{}') from ( \
                select found ->> 'check' as check, count(*) as n \
                from jsonb_array_elements(findings) as found group by 1) as of) as by_check \
         from audit_run order by run_no desc limit 1",
    )
    .fetch_optional(executor)
    .await?)
}

/// The violations that a run has found, by check and words, with how often each was.
///
/// # Errors
/// If the database is away.
pub async fn violations(
    executor: impl PgExecutor<'_>,
    run_no: i64,
) -> Result<Vec<(String, i64)>, Error> {
    Ok(sqlx::query_as(
        "select concat_ws(': ', found ->> 'check', found ->> 'what'), count(*) \
         from audit_run cross join jsonb_array_elements(findings) as found \
         where run_no = $1 and found ->> 'severity' = 'violation' group by 1 order by 1",
    )
    .bind(run_no)
    .fetch_all(executor)
    .await?)
}
