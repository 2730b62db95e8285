//! The activity log: every change that a person or a program made. Written by triggers alone.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{FromRow, PgExecutor};

use super::Error;

/// What changes can be of: the tables that write the log by triggers.
pub const SUBJECTS: [&str; 21] = [
    "api_key",
    "assignment",
    "assignment_end",
    "brand",
    "brand_profile",
    "brand_tax",
    "conflict",
    "correction",
    "document",
    "document_event",
    "gap",
    "hold",
    "hold_release",
    "payment",
    "period_override",
    "plan_version",
    "plan_withdrawal",
    "rejection",
    "request",
    "waiver",
    "waiver_withdrawal",
];

/// A change.
#[derive(Clone, Debug, FromRow)]
pub struct Act {
    pub activity_no: i64,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
    /// The table of what changed.
    pub subject: String,
    /// `added` or `changed`.
    pub act: String,
    pub brand_id: Option<String>,
    before: Option<String>,
    after: String,
}

impl Act {
    /// The rows before and after, as JSON.
    pub fn rows(&self) -> (Option<Box<RawValue>>, Option<Box<RawValue>>) {
        let raw = |text: &String| RawValue::from_string(text.clone()).ok();
        (self.before.as_ref().and_then(raw), raw(&self.after))
    }
}

/// Which changes are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub brand: Option<String>,
    pub subject: Option<String>,
    pub made_by: Option<String>,
    /// Older ones than this.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

/// The changes that `filter` names, newest first.
///
/// # Errors
/// If the database is away.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<Vec<Act>, Error> {
    Ok(sqlx::query_as(
        "select a.activity_no, a.made_at, a.made_by, a.subject, a.act, b.brand_id, \
            a.before::text as before, a.after::text as after \
         from activity a left join brand b using (brand_no) \
         where ($1::text is null or b.brand_id = $1) and ($2::text is null or a.subject = $2) \
            and ($3::text is null or a.made_by = $3) and ($4::bigint is null or a.activity_no < $4) \
         order by a.activity_no desc limit $5",
    )
    .bind(&filter.brand)
    .bind(&filter.subject)
    .bind(&filter.made_by)
    .bind(filter.before)
    .bind(filter.limit)
    .fetch_all(executor)
    .await?)
}
