//! Sealing: the proof that no receipt of a segment is counted twice, and what is kept of it.
//!
//! A segment is sealed when it is full, so nothing is inserted into it any more and building an index
//! waits for nobody.

use std::ops::Range;

use billing::receipt::ReceiptKey;
use futures_util::{Stream, TryStreamExt};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, PgExecutor, PgPool};

use super::keys::CommittedKey;
use super::lock::SEALER_NAME;
use super::segments::{entries_of, table_of};
use super::{Error, Store, copy};

/// "sealing!": keeps two sealers apart, also from what an ended one still has running.
const LOCK: i64 = i64::from_be_bytes(*b"sealing!");
/// Doubles that are told one by one.
const DOUBLES_MAX: i64 = 5;

/// A receipt whose place in a sealed segment is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// What the answer is to be known by.
    pub index: u32,
    /// Where it may be.
    pub segment: i64,
    pub brand_no: i32,
    pub key: ReceiptKey,
}

/// A receipt that is counted twice: what must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Double {
    pub brand_id: String,
    pub receipt_id: String,
    pub entries: Vec<i64>,
}

impl From<(String, String, Vec<i64>)> for Double {
    fn from((brand_id, receipt_id, entries): (String, String, Vec<i64>)) -> Self {
        Self { brand_id, receipt_id, entries }
    }
}

impl std::fmt::Display for Double {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { brand_id, receipt_id, entries } = self;
        write!(f, "receipt {receipt_id} of {brand_id} is counted in entries {entries:?}")
    }
}

/// One receipt of a segment, as the filter and the check against other segments need it.
#[derive(Clone, Copy, Debug)]
pub struct SegmentKey {
    pub brand_no: i32,
    pub key: ReceiptKey,
}

/// What is kept of a sealed segment.
#[derive(Debug, sqlx::FromRow)]
pub struct Kept {
    pub segment: i64,
    pub entries: i64,
    pub filter: Vec<u8>,
    pub checksum: Vec<u8>,
}

impl Kept {
    pub fn new(segment: i64, entries: i64, filter: Vec<u8>) -> Self {
        let checksum = blake3::hash(&filter).as_bytes().to_vec();
        Self { segment, entries, filter, checksum }
    }

    /// True if the filter is the one that was kept.
    pub fn is_whole(&self) -> bool {
        blake3::hash(&self.filter).as_bytes() == self.checksum.as_slice()
    }
}

/// A connection for sealing. Waits until what an earlier sealer left running has ended.
///
/// # Errors
/// If the database is away.
pub async fn connect(store: &Store) -> Result<PgConnection, Error> {
    let mut connection = store.connect_as(SEALER_NAME).await?;
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
    // Enough to sort a segment's keys in memory, and no more processors than one.
    sqlx::raw_sql(
        "set maintenance_work_mem = '256MB'; set max_parallel_maintenance_workers = 0; \
         set statement_timeout = 0",
    )
    .execute(&mut connection)
    .await?;
    Ok(connection)
}

/// Proves with a unique index that no receipt is counted twice within the segment, and makes the
/// index that leads from an invoice line to its receipts. Returns the doubles that contradict it.
///
/// # Errors
/// If the database is away or refuses.
pub async fn prove(connection: &mut PgConnection, segment: i64) -> Result<Vec<Double>, Error> {
    const UNIQUE_VIOLATION: &str = "23505";
    // What a resolution or a void adds stands outside of the proof.
    match sqlx::query("select prove_segment($1)").bind(segment).execute(&mut *connection).await {
        Ok(_) => Ok(Vec::new()),
        Err(error) if code_of(&error).as_deref() == Some(UNIQUE_VIOLATION) => {
            doubles_within(connection, segment).await
        }
        Err(error) => Err(error.into()),
    }
}

fn code_of(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code)
}

async fn doubles_within(connection: &mut PgConnection, segment: i64) -> Result<Vec<Double>, Error> {
    let table = table_of(segment);
    let statement = format!(
        "select b.brand_id, min(l.receipt_id), array_agg(l.entry order by l.entry) \
         from {table} l join brand b using (brand_no) where l.source < 3 \
         group by b.brand_id, l.receipt_key having count(*) > 1 order by 3 limit {DOUBLES_MAX}"
    );
    let found: Vec<(String, String, Vec<i64>)> =
        sqlx::query_as(AssertSqlSafe(statement)).fetch_all(connection).await?;
    Ok(found.into_iter().map(Double::from).collect())
}

/// Hands every receipt of the segment to `take`, each as often as events have counted it.
///
/// # Errors
/// If the database is away.
pub async fn keys(
    connection: &mut PgConnection,
    segment: i64,
    mut take: impl FnMut(SegmentKey),
) -> Result<(), Error> {
    const WIDTH: usize = 4 + 16;
    let table = table_of(segment);
    let statement = format!(
        "copy (select brand_no, receipt_key from {table} where source < 3) to stdout (format binary)"
    );
    let mut rows = connection.copy_out_raw(&statement).await?;
    let mut reader = copy::Reader::default();
    while let Some(bytes) = rows.try_next().await? {
        reader.push(&bytes, 2, WIDTH, |row| {
            let mut rest = row;
            let brand_no = i32::from_be_bytes(copy::next(&mut rest));
            take(SegmentKey {
                brand_no,
                key: ReceiptKey(u128::from_be_bytes(copy::next(&mut rest))),
            });
        });
    }
    Ok(())
}

/// How many receipts the segment's table has, each as often as events have counted it: rows that are there, where
/// [`receipts_among`] says how many there should be.
///
/// # Errors
/// If the database is away.
pub async fn rows(executor: impl PgExecutor<'_>, segment: i64) -> Result<i64, Error> {
    let statement = format!("select count(*) from {} where source < 3", table_of(segment));
    Ok(sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(executor).await?)
}

/// Looks receipts up in sealed segments, in one query whatever their number. What a resolution has put in
/// the place of a receipt is not its business.
///
/// # Errors
/// If the database is away.
pub async fn look_up(
    executor: impl PgExecutor<'_>,
    segment_entries: i64,
    wanted: &[Wanted],
) -> Result<Vec<(u32, CommittedKey)>, Error> {
    // The bounds lead PostgreSQL to one partition a row, and the limit keeps it from reading that
    // whole for a few receipts.
    let found: Vec<(i64, i64, i32, i64, i64)> = sqlx::query_as(
        "select w.n - 1, l.entry, l.epoch, l.sequence, l.digest \
         from unnest($1::int[], $2::bytea[], $3::bigint[], $4::bigint[]) with ordinality \
            as w (brand_no, receipt_key, first, until, n) \
         cross join lateral ( \
            select entry, epoch, sequence, digest from ledger \
            where entry >= w.first and entry < w.until and brand_no = w.brand_no \
                and receipt_key = encode(w.receipt_key, 'hex')::uuid \
                and source < 3 limit 1) as l",
    )
    .bind(wanted.iter().map(|of| of.brand_no).collect::<Vec<_>>())
    .bind(wanted.iter().map(|of| of.key.0.to_be_bytes()).collect::<Vec<_>>())
    .bind(wanted.iter().map(|of| entries_of(of.segment, segment_entries).start).collect::<Vec<_>>())
    .bind(wanted.iter().map(|of| entries_of(of.segment, segment_entries).end).collect::<Vec<_>>())
    .fetch_all(executor)
    .await?;
    Ok(found
        .into_iter()
        .map(|(place, entry, epoch, sequence, digest)| {
            let of = wanted[usize::try_from(place).expect("an ordinality is at least 1")];
            let Wanted { index, brand_no, key, .. } = of;
            let digest = digest.cast_unsigned();
            (index, CommittedKey { brand_no, key, digest, entry, epoch, sequence })
        })
        .collect())
}

/// The receipts out of `suspects` that both of two segments have, the second of which is sealed.
///
/// # Errors
/// If the database is away.
pub async fn doubles_in(
    connection: &mut PgConnection,
    (segment, other): (i64, i64),
    suspects: &[SegmentKey],
) -> Result<Vec<Double>, Error> {
    let (table, other) = (table_of(segment), table_of(other));
    let statement = format!(
        "select b.brand_id, l.receipt_id, \
            array[least(l.entry, o.entry), greatest(l.entry, o.entry)] \
         from unnest($1::int[], $2::bytea[]) as w (brand_no, receipt_key) \
         join {other} o on o.brand_no = w.brand_no and o.source < 3 \
            and o.receipt_key = encode(w.receipt_key, 'hex')::uuid \
         join {table} l on l.brand_no = o.brand_no and l.receipt_key = o.receipt_key \
            and l.source < 3 \
         join brand b on b.brand_no = l.brand_no order by 3 limit {DOUBLES_MAX}"
    );
    let found: Vec<(String, String, Vec<i64>)> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(suspects.iter().map(|of| of.brand_no).collect::<Vec<_>>())
        .bind(suspects.iter().map(|of| of.key.0.to_be_bytes()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(found.into_iter().map(Double::from).collect())
}

/// Keeps filter and mark of a sealed segment, if the engine of this fence still writes. False if the
/// segment has not as many receipts by now as were read: a repair has taken some away meanwhile, or
/// rows are missing.
///
/// # Errors
/// [`Error::Stale`] if another engine has taken over.
pub async fn keep(connection: &mut PgConnection, fence: i64, kept: &Kept) -> Result<bool, Error> {
    let mut transaction = connection.begin().await?;
    // Whoever corrects the ledger holds this row, so what is counted next stays true until the commit.
    let segment_entries: Option<i64> =
        sqlx::query_scalar("select segment_entries from cursor where fence = $1 for share")
            .bind(fence)
            .fetch_optional(&mut *transaction)
            .await?;
    let segment_entries = segment_entries.ok_or(Error::Stale { fence })?;
    let bounds = entries_of(kept.segment, segment_entries);
    if receipts_among(&mut *transaction, bounds).await? != kept.entries {
        return Ok(false);
    }
    sqlx::query(
        "insert into segment (segment, sealed_at, entries, filter, checksum) \
         values ($1, now(), $2, $3, $4) \
         on conflict (segment) do update set sealed_at = now(), tried_at = now(), problem = null, \
            entries = excluded.entries, filter = excluded.filter, checksum = excluded.checksum",
    )
    .bind(kept.segment)
    .bind(kept.entries)
    .bind(&kept.filter)
    .bind(&kept.checksum)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(true)
}

/// How many receipts events have counted among these entries. Entries are dense: what is no receipt is a
/// correction, or was moved out.
///
/// # Errors
/// If the database is away.
pub async fn receipts_among(
    executor: impl PgExecutor<'_>,
    entries: Range<i64>,
) -> Result<i64, Error> {
    // The first entry is 1.
    let start = entries.start.max(1);
    let others: i64 = sqlx::query_scalar(
        "select (select count(*) from correction where entry >= $1 and entry < $2) \
            + (select count(*) from ledger_double where entry >= $1 and entry < $2)",
    )
    .bind(start)
    .bind(entries.end)
    .fetch_one(executor)
    .await?;
    Ok(entries.end - start - others)
}

/// Notes why a segment cannot be sealed.
///
/// # Errors
/// If the database is away.
pub async fn note_problem(
    connection: &mut PgConnection,
    fence: i64,
    segment: i64,
    problem: &str,
) -> Result<(), Error> {
    sqlx::query(
        "insert into segment (segment, problem) select $1, $2 from cursor where fence = $3 \
         on conflict (segment) do update set problem = excluded.problem, tried_at = now(), \
            sealed_at = null, entries = null, filter = null, checksum = null",
    )
    .bind(segment)
    .bind(problem)
    .bind(fence)
    .execute(connection)
    .await?;
    Ok(())
}

/// The sealed segments, in order, one after the other: their filters are large. Fails if the database
/// is away.
pub fn sealed(pool: &PgPool) -> impl Stream<Item = Result<Kept, Error>> + Unpin {
    sqlx::query_as(
        "select segment, entries, filter, checksum from segment \
         where sealed_at is not null order by segment",
    )
    .fetch(pool)
    .map_err(Error::from)
}

/// What is kept of a sealed segment.
///
/// # Errors
/// If the database is away, or the segment is not sealed.
pub async fn sealed_one(executor: impl PgExecutor<'_>, segment: i64) -> Result<Kept, Error> {
    Ok(sqlx::query_as(
        "select segment, entries, filter, checksum from segment \
         where sealed_at is not null and segment = $1",
    )
    .bind(segment)
    .fetch_one(executor)
    .await?)
}

/// How many segments are sealed.
///
/// # Errors
/// If the database is away.
pub async fn sealed_count(executor: impl PgExecutor<'_>) -> Result<i64, Error> {
    Ok(sqlx::query_scalar("select count(*) from segment where sealed_at is not null")
        .fetch_one(executor)
        .await?)
}
