//! Digests of sealed segments: a byte that changes in a row of one is noticed by the audit.
//!
//! Reading whole rows costs some three times what sealing reads, so the first audit after the sealing
//! computes the digest and keeps it; every later one compares. What changes sealed rows by the rules
//! (a brand's new zone, a repair) drops the digest in its own transaction.

use billing::receipt::ReceiptKey;
use futures_util::TryStreamExt;
use sqlx::{PgConnection, PgExecutor};

use super::sealing::SegmentKey;
use super::segments::table_of;
use super::{Error, copy};

/// The digest of a segment that had none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewDigest {
    pub segment: i64,
    /// How often its rows had been changed when they were read.
    pub rewrites: i64,
    pub digest: [u8; 32],
}

/// BLAKE3 over the segment's rows, all columns, as PostgreSQL's binary COPY writes them in the order of
/// entries: `psql -c "copy (…) to stdout (format binary)" | b3sum` gives the same. Hands each receipt that an
/// event has counted to `take`, with its entry. Memory does not grow with the segment.
///
/// # Errors
/// If the database is away.
pub async fn compute(
    connection: &mut PgConnection,
    segment: i64,
    mut take: impl FnMut(i64, SegmentKey),
) -> Result<[u8; 32], Error> {
    let table = table_of(segment);
    let statement = format!(
        "copy (select entry, sequence, digest, verified_at, expires_at, epoch, brand_no, \
            predicate_no, usage_day, receipt_key, source, result, receipt_id, supplier, product, \
            of_entry from {table} order by entry) to stdout (format binary)"
    );
    let mut rows = connection.copy_out_raw(&statement).await?;
    let mut hasher = blake3::Hasher::new();
    let mut reader = copy::Rows::default();
    while let Some(bytes) = rows.try_next().await? {
        hasher.update(&bytes);
        reader.push(&bytes, |fields| {
            if let Some((entry, key)) = counted(fields)? {
                take(entry, key);
            }
            Ok(())
        })?;
    }
    Ok(*hasher.finalize().as_bytes())
}

/// Entry and receipt of a row; `None` of what no event has counted.
fn counted(mut fields: copy::Fields<'_>) -> Result<Option<(i64, SegmentKey)>, Error> {
    if fields.is_end() {
        return Ok(None);
    }
    let entry = i64::from_be_bytes(fields.fixed()?);
    for _sequence_to_epoch in 0..5 {
        fields.field()?;
    }
    let brand_no = i32::from_be_bytes(fields.fixed()?);
    for _predicate_and_day in 0..2 {
        fields.field()?;
    }
    let key = ReceiptKey(u128::from_be_bytes(fields.fixed()?));
    let source = i16::from_be_bytes(fields.fixed()?);
    Ok((source < 3).then_some((entry, SegmentKey { brand_no, key })))
}

/// Keeps digests of segments that still have none and whose rows were not changed since.
///
/// # Errors
/// If the database is away.
pub async fn keep(executor: impl PgExecutor<'_>, digests: &[NewDigest]) -> Result<(), Error> {
    if digests.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update segment s set digest = d.digest \
         from unnest($1::bigint[], $2::bigint[], $3::bytea[]) as d (segment, rewrites, digest) \
         where s.segment = d.segment and s.rewrites = d.rewrites and s.digest is null \
            and s.sealed_at is not null",
    )
    .bind(digests.iter().map(|new| new.segment).collect::<Vec<_>>())
    .bind(digests.iter().map(|new| new.rewrites).collect::<Vec<_>>())
    .bind(digests.iter().map(|new| new.digest.as_slice()).collect::<Vec<_>>())
    .execute(executor)
    .await?;
    Ok(())
}

/// Drops the digests of the segments of `entries`, whose rows the caller's transaction changes.
///
/// # Errors
/// If the database is away.
pub async fn forget(executor: impl PgExecutor<'_>, entries: &[i64]) -> Result<(), Error> {
    if entries.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update segment s set digest = null, rewrites = s.rewrites + 1 \
         from (select distinct e / c.segment_entries as segment \
            from unnest($1::bigint[]) as e cross join cursor c) as d \
         where s.segment = d.segment",
    )
    .bind(entries)
    .execute(executor)
    .await?;
    Ok(())
}
