//! The one transaction that moves the cursor: a chunk's rows, usage, dispositions and the cursor.
//!
//! The first statement moves the cursor by compare-and-set. An orphan of an earlier attempt, whose
//! connection broke but which PostgreSQL still runs, holds that row: the next attempt waits for it
//! and then finds out from the cursor what became of it. So a lost reply is looked up, not guessed.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, PgTransaction};

use super::cursor::{self, Totals};
use super::gaps::{Acceptance, NewGap};
use super::{Error, Store, usage_fold};

/// All that a chunk changes.
#[derive(Debug, Default)]
pub struct Commit {
    pub fence: i64,
    /// Names the attempt: numbers rise within a fence and are never used twice.
    pub chunk: i64,
    pub epoch: i32,
    /// The cursor's position before and after; equal for a chunk that did not come from the stream.
    pub sequence_before: i64,
    pub sequence: i64,
    pub stored_at: Option<DateTime<Utc>>,
    /// Last entry after this chunk.
    pub entry: i64,
    /// Ledger rows as a whole binary COPY, from header to trailer; see [`LEDGER_COLUMNS`].
    pub rows: Vec<u8>,
    pub row_count: u64,
    /// Whether usage is to have the chunk's receipts at once; otherwise they follow.
    pub folds_usage: bool,
    /// What the chunk adds to usage. Receipts that are to follow are added from the ledger, not from here.
    pub usage: Vec<UsageDelta>,
    pub dispositions: Vec<NewDisposition>,
    pub rejections: Vec<NewRejection>,
    pub conflicts: Vec<NewConflict>,
    pub failures: Vec<NewFailures>,
    pub settlements: Vec<Settlement>,
    pub parked: Vec<NewParked>,
    pub unparked: Vec<Unparked>,
    pub gaps: Vec<NewGap>,
    /// Store time of the first message after `sequence_before`, where that ends a gap.
    pub gap_ends: Option<DateTime<Utc>>,
    pub accepted: Option<Acceptance>,
    /// The brand whose parking ends with this chunk.
    pub ends_parking_of: Option<i32>,
    /// The request that this chunk carries out, and the answer to it.
    pub answer: Option<(i64, String)>,
    pub totals: Totals,
}

/// What a chunk adds to a row of `usage_day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageDelta {
    pub brand_no: i32,
    pub usage_day: NaiveDate,
    pub predicate_no: i32,
    pub result: bool,
    pub receipts: i64,
    pub duplicates: i64,
}

impl UsageDelta {
    /// Sorts by key and adds up what has the same one, since an upsert may not touch a row twice.
    pub fn merge(deltas: &mut Vec<Self>) {
        deltas.sort_unstable_by_key(Self::key);
        deltas.dedup_by(|later, earlier| {
            let is_same = later.key() == earlier.key();
            if is_same {
                earlier.receipts += later.receipts;
                earlier.duplicates += later.duplicates;
            }
            is_same
        });
    }

    fn key(&self) -> (i32, NaiveDate, i32, bool) {
        (self.brand_no, self.usage_day, self.predicate_no, self.result)
    }
}

/// What became of positions that were not counted.
#[derive(Clone, Copy, Debug)]
pub struct NewDisposition {
    pub first: i64,
    pub last: i64,
    pub kind: &'static str,
    /// Whose usage a duplicate is tallied in, or whose receipt a conflict contradicts.
    pub of: Option<DispositionOf>,
}

#[derive(Clone, Copy, Debug)]
pub struct DispositionOf {
    pub brand_no: i32,
    pub predicate_no: i32,
    pub result: bool,
    pub verified_at: DateTime<Utc>,
    pub receipt_key: u128,
}

/// An event that cannot be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRejection {
    pub epoch: i32,
    pub sequence: i64,
    pub stored_at: DateTime<Utc>,
    pub subject: String,
    pub reason: &'static str,
    pub detail: String,
    pub brand_id: Option<String>,
    pub receipt_id: Option<String>,
    pub raw: Vec<u8>,
}

/// An event that contradicts the receipt that was counted under its id.
#[derive(Clone, Debug)]
pub struct NewConflict {
    pub brand_no: i32,
    pub receipt_key: u128,
    pub digest: u64,
    pub receipt_id: String,
    pub entry: i64,
    pub fields: Vec<String>,
    pub epoch: i32,
    pub sequence: i64,
    pub stored_at: DateTime<Utc>,
    pub raw: Vec<u8>,
}

/// Failed proofs to add to a row of `failed_day`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFailures {
    pub failed_on: NaiveDate,
    pub predicate: String,
    pub error_code: String,
    pub failures: i64,
}

/// An event of a brand that failed on it.
#[derive(Clone, Debug)]
pub struct NewParked {
    pub epoch: i32,
    pub sequence: i64,
    pub brand_no: i32,
    pub stored_at: DateTime<Utc>,
    pub raw: Vec<u8>,
}

/// What became of a parked event.
#[derive(Clone, Debug)]
pub struct Unparked {
    pub epoch: i32,
    pub sequence: i64,
    pub outcome: &'static str,
    pub entry: Option<i64>,
}

/// A rejection that is settled with this chunk.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub rejection_no: i64,
    pub state: &'static str,
    pub entry: Option<i64>,
    pub settled_by: String,
    pub settlement: String,
}

/// Columns of [`Commit::rows`], in their order.
pub const LEDGER_COLUMNS: i16 = 15;
const COPY_LEDGER: &str = "copy ledger (entry, usage_day, sequence, digest, verified_at, epoch, \
    brand_no, predicate_no, receipt_key, source, result, expires_at, receipt_id, supplier, product) \
    from stdin (format binary)";
/// The connection of the one writer.
pub struct Writer {
    store: Store,
    connection: Option<PgConnection>,
}

impl Writer {
    pub fn new(store: Store) -> Self {
        Self { store, connection: None }
    }

    /// Commits `commit`, or finds that an earlier attempt did. Returns the last entry that usage then
    /// has, if it is known.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: try the same commit again. [`Error::Stale`]: another engine writes.
    /// [`Error::Refused`]: PostgreSQL will not take this chunk as it is.
    pub async fn commit(&mut self, commit: &Commit) -> Result<Option<i64>, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.store.connect_to_write().await?,
        };
        // The connection is dropped with the future when time is up, and nobody uses it again: a
        // transaction that was cut in the middle cannot leak into the next one.
        let attempt = async move {
            let outcome = transact(&mut connection, commit).await;
            (connection, outcome)
        };
        match tokio::time::timeout(self.store.commit_timeout, attempt).await {
            Ok((connection, Ok(usage_entry))) => {
                self.connection = Some(connection);
                Ok(usage_entry)
            }
            Ok((_, Err(error))) => Err(error),
            Err(_) => Err(timed_out(self.store.commit_timeout)),
        }
    }
}

fn timed_out(after: Duration) -> Error {
    let text = format!("the commit had no answer within {} s", after.as_secs());
    Error::Unavailable(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text)))
}

async fn transact(connection: &mut PgConnection, commit: &Commit) -> Result<Option<i64>, Error> {
    let mut transaction = connection.begin().await?;
    let Some(is_level) = move_cursor(&mut transaction, commit).await? else {
        transaction.rollback().await?;
        look_up(connection, commit).await?;
        return Ok(Some(usage_fold::last_entry(connection).await?));
    };
    if commit.row_count > 0 {
        copy_in(&mut transaction, COPY_LEDGER, &commit.rows, commit.row_count).await?;
    }
    let usage_entry = add_usage(&mut transaction, commit, is_level).await?;
    if !commit.dispositions.is_empty() {
        add_dispositions(&mut transaction, commit).await?;
    }
    if let Some((request_no, _)) = commit.answer {
        super::requests::act_for(&mut *transaction, request_no).await?;
    }
    super::rejections::add(&mut transaction, &commit.rejections).await?;
    super::conflicts::add(&mut transaction, &commit.conflicts).await?;
    super::rejections::add_failures(&mut transaction, &commit.failures).await?;
    super::rejections::settle(&mut transaction, &commit.settlements).await?;
    super::parking::park(&mut transaction, &commit.parked).await?;
    super::parking::unpark(&mut transaction, &commit.unparked, commit.ends_parking_of).await?;
    super::gaps::add(&mut transaction, &commit.gaps).await?;
    if let Some(stored_at) = commit.gap_ends {
        let (epoch, last) = (commit.epoch, commit.sequence_before);
        super::gaps::note_next(&mut transaction, epoch, last, stored_at).await?;
    }
    if let Some(acceptance) = &commit.accepted {
        super::gaps::accept(&mut transaction, acceptance).await?;
    }
    if let Some((request_no, answer)) = &commit.answer {
        super::requests::answer(&mut *transaction, *request_no, "done", answer).await?;
    }
    transaction.commit().await?;
    Ok(usage_entry)
}

/// The compare-and-set. `None` if the cursor is not where this chunk begins; otherwise whether usage had all
/// entries before the chunk and goes along with it. What lags is left alone: who brings it up may hold it.
async fn move_cursor(
    transaction: &mut PgTransaction<'_>,
    commit: &Commit,
) -> Result<Option<bool>, Error> {
    let totals = &commit.totals;
    let is_level = sqlx::query_scalar(
        "with moved as ( \
            update cursor set chunk = $2, sequence = $5, stored_at = coalesce($6, stored_at), \
                entry = $7, counted = counted + $8, duplicate = duplicate + $9, \
                conflict = conflict + $10, rejected = rejected + $11, ignored = ignored + $12, \
                parked = parked + $13, gap = gap + $14, counted_later = counted_later + $15, \
                lives_without_commit = 0 \
            where fence = $1 and chunk <> $2 and epoch = $3 and sequence = $4 returning entry), \
         level as ( \
            update usage_fold f set entry = moved.entry from moved \
            where $16 and f.entry = moved.entry - $17 returning f.entry) \
         select exists (select from level) from moved",
    )
    .bind(commit.fence)
    .bind(commit.chunk)
    .bind(commit.epoch)
    .bind(commit.sequence_before)
    .bind(commit.sequence)
    .bind(commit.stored_at)
    .bind(commit.entry)
    .bind(totals.counted)
    .bind(totals.duplicate)
    .bind(totals.conflict)
    .bind(totals.rejected)
    .bind(totals.ignored)
    .bind(totals.parked)
    .bind(totals.gap)
    .bind(totals.counted_later)
    .bind(commit.folds_usage)
    .bind(i64::try_from(commit.row_count).unwrap_or(i64::MAX))
    .fetch_optional(&mut **transaction)
    .await?;
    Ok(is_level)
}

/// The cursor did not move: finds out whether this very chunk had moved it before.
async fn look_up(connection: &mut PgConnection, commit: &Commit) -> Result<(), Error> {
    let cursor = cursor::read(connection).await?;
    if cursor.fence != commit.fence {
        return Err(Error::Stale { fence: commit.fence });
    }
    if cursor.chunk == commit.chunk {
        return Ok(());
    }
    Err(Error::Corrupt(format!(
        "chunk {} begins after position {}, but the cursor is at {} with chunk {}",
        commit.chunk, commit.sequence_before, cursor.sequence, cursor.chunk
    )))
}

async fn copy_in(
    transaction: &mut PgTransaction<'_>,
    statement: &str,
    bytes: &[u8],
    rows_expected: u64,
) -> Result<(), Error> {
    /// Each send is flushed to the socket; this keeps sqlx's own buffer small.
    const SEND_BYTES: usize = 1 << 20;
    let mut copy = transaction.copy_in_raw(statement).await?;
    for part in bytes.chunks(SEND_BYTES) {
        copy.send(part).await?;
    }
    let rows = copy.finish().await?;
    if rows != rows_expected {
        return Err(Error::Corrupt(format!("{rows} rows were copied instead of {rows_expected}")));
    }
    Ok(())
}

/// Adds the chunk to usage: its receipts too if usage is level with the ledger, or if what it lags by is
/// little. Returns the last entry that usage then has, if it is known.
async fn add_usage(
    transaction: &mut PgTransaction<'_>,
    commit: &Commit,
    is_level: bool,
) -> Result<Option<i64>, Error> {
    if is_level {
        add_deltas(transaction, commit.usage.clone(), commit.entry).await?;
        return Ok(Some(commit.entry));
    }
    let mut usage_entry = None;
    if commit.folds_usage {
        usage_entry = usage_fold::try_add_up_to(transaction, commit.entry).await?;
    }
    let duplicates = commit.usage.iter().filter(|delta| delta.duplicates > 0);
    let duplicates = duplicates.map(|delta| UsageDelta { receipts: 0, ..*delta });
    add_deltas(transaction, duplicates.collect(), commit.entry).await?;
    Ok(usage_entry)
}

/// In the order of the key, as all who write usage do, so that two could never lock rows in opposite
/// orders.
async fn add_deltas(
    transaction: &mut PgTransaction<'_>,
    mut usage: Vec<UsageDelta>,
    last_entry: i64,
) -> Result<(), Error> {
    if usage.is_empty() {
        return Ok(());
    }
    UsageDelta::merge(&mut usage);
    sqlx::query(
        "insert into usage_day as u \
            (brand_no, usage_day, predicate_no, result, receipts, duplicates, last_entry) \
         select brand_no, usage_day, predicate_no, result, receipts, duplicates, \
            case when receipts > 0 then $7 else 0 end \
         from unnest($1::int[], $2::date[], $3::int[], $4::bool[], $5::bigint[], $6::bigint[]) \
            as d (brand_no, usage_day, predicate_no, result, receipts, duplicates) \
         on conflict (brand_no, usage_day, predicate_no, result) do update set \
            receipts = u.receipts + excluded.receipts, \
            duplicates = u.duplicates + excluded.duplicates, \
            last_entry = greatest(u.last_entry, excluded.last_entry)",
    )
    .bind(usage.iter().map(|delta| delta.brand_no).collect::<Vec<_>>())
    .bind(usage.iter().map(|delta| delta.usage_day).collect::<Vec<_>>())
    .bind(usage.iter().map(|delta| delta.predicate_no).collect::<Vec<_>>())
    .bind(usage.iter().map(|delta| delta.result).collect::<Vec<_>>())
    .bind(usage.iter().map(|delta| delta.receipts).collect::<Vec<_>>())
    .bind(usage.iter().map(|delta| delta.duplicates).collect::<Vec<_>>())
    .bind(last_entry)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// One statement and not a COPY: it takes one round trip, and so many rows gain nothing by COPY.
async fn add_dispositions(
    transaction: &mut PgTransaction<'_>,
    commit: &Commit,
) -> Result<(), Error> {
    let dispositions = &commit.dispositions;
    let of = |field: fn(&DispositionOf) -> i32| -> Vec<Option<i32>> {
        dispositions.iter().map(|new| new.of.as_ref().map(field)).collect()
    };
    sqlx::query(
        "insert into disposition (epoch, first, last, kind, brand_no, predicate_no, result, \
            verified_at, receipt_key) \
         select $1, first, last, kind, brand_no, predicate_no, result, verified_at, \
            encode(receipt_key, 'hex')::uuid \
         from unnest($2::bigint[], $3::bigint[], $4::text[], $5::int[], $6::int[], $7::bool[], \
            $8::timestamptz[], $9::bytea[]) \
            as d (first, last, kind, brand_no, predicate_no, result, verified_at, receipt_key)",
    )
    .bind(commit.epoch)
    .bind(dispositions.iter().map(|new| new.first).collect::<Vec<_>>())
    .bind(dispositions.iter().map(|new| new.last).collect::<Vec<_>>())
    .bind(dispositions.iter().map(|new| new.kind).collect::<Vec<_>>())
    .bind(of(|of| of.brand_no))
    .bind(of(|of| of.predicate_no))
    .bind(dispositions.iter().map(|new| new.of.map(|of| of.result)).collect::<Vec<_>>())
    .bind(dispositions.iter().map(|new| new.of.map(|of| of.verified_at)).collect::<Vec<_>>())
    .bind(dispositions.iter().map(|new| new.of.map(key_bytes)).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn key_bytes(of: DispositionOf) -> [u8; 16] {
    of.receipt_key.to_be_bytes()
}
