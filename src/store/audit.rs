//! The audit: every invariant that the database can be asked about, over the whole of it, in one
//! snapshot. Reads and sorts the whole ledger; writes nothing itself.

mod checks;
mod contents;
mod segments;

pub use checks::FINDINGS_MAX;
use serde::Serialize;
use sqlx::{Connection, PgConnection, PgPool};

use super::cursor::{self, Cursor};
use super::digests::NewDigest;
use super::{Error, Store, conservation};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// An invariant is broken: nothing should be billed before it is explained.
    Violation,
    /// Right by the rules, and worth knowing.
    Note,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Violation => "violation",
            Severity::Note => "note",
        }
    }
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check found it; a fixed name.
    pub check: &'static str,
    pub severity: Severity,
    pub what: String,
}

/// Checks and what their findings weigh, in the order in which they run.
pub const CHECKS: [(&str, Severity); 17] = [
    ("conservation", Severity::Violation),
    ("tiling", Severity::Violation),
    ("gaps", Severity::Violation),
    ("uniqueness", Severity::Violation),
    ("entries", Severity::Violation),
    ("corrections", Severity::Violation),
    ("conflicts", Severity::Violation),
    ("parking", Severity::Violation),
    ("duplicates", Severity::Violation),
    ("usage", Severity::Violation),
    ("evidence_of_rejection", Severity::Violation),
    ("counted_later", Severity::Violation),
    ("contents", Severity::Violation),
    ("segments", Severity::Violation),
    ("documents", Severity::Violation),
    ("cancellations", Severity::Violation),
    ("shared_receipts", Severity::Note),
];

/// The check that reads the stream again; see `audit --stream`.
pub const STREAM_CHECK: &str = "stream";

/// What an audit has found, and how far ledger and stream were.
#[derive(Clone, Debug)]
pub struct Audit {
    pub findings: Vec<Finding>,
    pub cursor: Cursor,
    /// Digests of sealed segments that had none; whoever keeps the audit keeps them.
    pub digests: Vec<NewDigest>,
}

impl Audit {
    /// How many findings weigh so much.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Runs every check. `done` is told the name of each check as it ends.
///
/// # Errors
/// If the database is away.
pub async fn run(pool: &PgPool, done: impl FnMut(&str)) -> Result<Audit, Error> {
    run_on(&mut *pool.acquire().await?, done).await
}

/// Runs every check on a connection of its own with one process of the server, so that it stays out
/// of the way of what else the server does.
///
/// # Errors
/// If the database is away.
pub async fn run_beside(store: &Store) -> Result<Audit, Error> {
    let mut connection = store.connect_as("prooftally audit").await?;
    sqlx::raw_sql("set max_parallel_workers_per_gather = 0; set jit = off")
        .execute(&mut connection)
        .await?;
    run_on(&mut connection, |_| ()).await
}

async fn run_on(connection: &mut PgConnection, mut done: impl FnMut(&str)) -> Result<Audit, Error> {
    let (mut findings, mut digests) = (Vec::new(), Vec::new());
    let mut snapshot =
        connection.begin_with("begin isolation level repeatable read read only").await?;
    let cursor = cursor::read(&mut *snapshot).await?;
    for (check, severity) in CHECKS {
        let found = match check {
            "conservation" => conservation::count_in(&mut snapshot).await?.violations(),
            "tiling" => checks::tiling(&mut snapshot).await?,
            "gaps" => checks::gaps(&mut snapshot).await?,
            "uniqueness" => checks::uniqueness(&mut snapshot).await?,
            "entries" => checks::entries(&mut snapshot).await?,
            "corrections" => checks::corrections(&mut snapshot).await?,
            "conflicts" => checks::conflicts(&mut snapshot).await?,
            "parking" => checks::parking(&mut snapshot).await?,
            "duplicates" => checks::duplicates(&mut snapshot).await?,
            "usage" => checks::usage(&mut snapshot).await?,
            "evidence_of_rejection" => checks::evidence_of_rejection(&mut snapshot).await?,
            "counted_later" => checks::counted_later(&mut snapshot).await?,
            "contents" => contents::contents(&mut snapshot).await?,
            "segments" => segments::segments(&mut snapshot, &mut digests).await?,
            "documents" => checks::documents(&mut snapshot).await?,
            "cancellations" => checks::cancellations(&mut snapshot).await?,
            _ => checks::shared_receipts(&mut snapshot).await?,
        };
        findings.extend(found.into_iter().map(|what| Finding { check, severity, what }));
        done(check);
    }
    snapshot.rollback().await?;
    Ok(Audit { findings, cursor, digests })
}
