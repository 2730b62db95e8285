//! Repair of what no engine should ever do: a receipt that is counted twice. The later row leaves the
//! ledger with a record, and usage is made right.

use std::collections::HashSet;

use sqlx::{FromRow, PgPool, PgTransaction};

use super::corrections::{Correction, Done, Moved, Refusal};
use super::keys::CommittedKey;
use super::{Error, digests};

/// An entry that counts a receipt which an earlier one has counted.
#[derive(Clone, Debug, FromRow)]
pub struct Double {
    pub brand_id: String,
    pub receipt_id: String,
    /// The entry that stays, and the one that is too many.
    pub first: i64,
    pub entry: i64,
    /// A void or a resolution has taken the entry back, so it cannot be moved any more.
    pub is_corrected: bool,
}

/// The doubles of the ledger, at most `limit`, those that can be moved first. Reads the whole ledger.
///
/// # Errors
/// If the database is away.
pub async fn doubles(pool: &PgPool, limit: i64) -> Result<Vec<Double>, Error> {
    Ok(sqlx::query_as(
        "with twice as ( \
            select brand_no, receipt_key, min(entry) as first from ledger where source < 3 \
            group by 1, 2 having count(*) > 1) \
         select b.brand_id, l.receipt_id, t.first, l.entry, \
            exists (select from correction c where c.of_entry = l.entry) as is_corrected \
         from twice t join ledger l using (brand_no, receipt_key) join brand b using (brand_no) \
         where l.source < 3 and l.entry > t.first order by is_corrected, l.entry limit $1",
    )
    .bind(limit)
    .fetch_all(pool)
    .await?)
}

/// A double that was looked at again, under the lock.
#[derive(FromRow)]
struct Checked {
    entry: i64,
    first: i64,
    source: i16,
    /// Nothing else says what became of its position.
    is_only_one: bool,
}

/// Moves doubles out of the ledger. Their positions become duplicates where nothing else says what
/// became of them.
pub(super) async fn move_out(
    transaction: &mut PgTransaction<'_>,
    correction: &Correction,
    doubles: &[(i64, i64)],
) -> Result<Done, Refusal> {
    let checked = check(transaction, doubles).await?;
    if checked.is_empty() {
        return Err(Refusal::Because(format!(
            "no entry of {} is a double that can be moved: {}",
            doubles.len(),
            left_as_they_are(doubles, &checked)
        )));
    }
    let entries: Vec<i64> = checked.iter().map(|double| double.entry).collect();
    let duplicates = dispose(transaction, &checked).await?;
    sqlx::query(
        "update usage_day u set receipts = u.receipts - d.receipts \
         from (select brand_no, usage_day, predicate_no, coalesce(result, true) as result, \
                count(*) as receipts from ledger where entry = any($1) group by 1, 2, 3, 4) as d \
         where (u.brand_no, u.usage_day, u.predicate_no, u.result) \
            = (d.brand_no, d.usage_day, d.predicate_no, d.result)",
    )
    .bind(&entries)
    .execute(&mut **transaction)
    .await?;
    keep_aside(transaction, correction, &checked).await?;
    // A sealed segment had none when it was sealed; one that was added since leaves it again.
    sqlx::query(
        "update segment s set entries = s.entries - m.moved \
         from (select e / c.segment_entries as segment, count(*) as moved \
            from unnest($1::bigint[]) as e cross join cursor c group by 1) as m \
         where s.segment = m.segment and s.sealed_at is not null",
    )
    .bind(&entries)
    .execute(&mut **transaction)
    .await?;
    lead_conflicts_to_first(transaction, &checked).await?;
    digests::forget(&mut **transaction, &entries).await?;
    let of_stream = checked.iter().filter(|double| double.source == 0).count();
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query(
        "update cursor set counted = counted - $1, counted_later = counted_later - $2, \
            doubled = doubled + $1 + $2, duplicate = duplicate + $3",
    )
    .bind(count(of_stream))
    .bind(count(checked.len() - of_stream))
    .bind(duplicates)
    .execute(&mut **transaction)
    .await?;
    let mut text = format!("{} entries moved to ledger_double", checked.len());
    if checked.len() < doubles.len() {
        text += &format!("; left as they are: {}", left_as_they_are(doubles, &checked));
    }
    let pairs: Vec<(i64, i64)> =
        checked.iter().map(|double| (double.first, double.entry)).collect();
    let moved = moved(transaction, &pairs).await?;
    Ok(Done { moved, text, ..Done::default() })
}

/// Moves the rows out of the ledger, with who wanted it and why.
async fn keep_aside(
    transaction: &mut PgTransaction<'_>,
    correction: &Correction,
    checked: &[Checked],
) -> Result<(), Error> {
    // The owner's part: what it does not find to be a double stays.
    sqlx::query("select move_doubles($1, $2, $3, $4)")
        .bind(checked.iter().map(|double| double.entry).collect::<Vec<_>>())
        .bind(checked.iter().map(|double| double.first).collect::<Vec<_>>())
        .bind(&correction.asked_by)
        .bind(&correction.because)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// A conflict that was compared with a double contradicts what was counted first as well.
async fn lead_conflicts_to_first(
    transaction: &mut PgTransaction<'_>,
    checked: &[Checked],
) -> Result<(), Error> {
    sqlx::query(
        "update conflict c set entry = d.first \
         from unnest($1::bigint[], $2::bigint[]) as d (entry, first) where c.entry = d.entry",
    )
    .bind(checked.iter().map(|double| double.entry).collect::<Vec<_>>())
    .bind(checked.iter().map(|double| double.first).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Names what is asked for and cannot be moved.
fn left_as_they_are(doubles: &[(i64, i64)], checked: &[Checked]) -> String {
    const NAMED_MAX: usize = 10;
    let can_be_moved: HashSet<i64> = checked.iter().map(|double| double.entry).collect();
    let left = doubles.iter().map(|(_, entry)| entry).filter(|entry| !can_be_moved.contains(entry));
    let named: Vec<String> = left.take(NAMED_MAX).map(ToString::to_string).collect();
    format!("{} (no doubles any more, or taken back by a void or a resolution)", named.join(", "))
}

#[derive(FromRow)]
struct MovedRow {
    moved: i64,
    brand_no: i32,
    key: Vec<u8>,
    digest: i64,
    entry: i64,
    epoch: i32,
    sequence: i64,
}

/// The entries of `doubles` that are not in the ledger any more, with what was counted first.
pub(super) async fn moved(
    transaction: &mut PgTransaction<'_>,
    doubles: &[(i64, i64)],
) -> Result<Vec<Moved>, Error> {
    let (firsts, entries): (Vec<i64>, Vec<i64>) = doubles.iter().copied().unzip();
    let rows: Vec<MovedRow> = sqlx::query_as(
        "select d.entry as moved, l.brand_no, uuid_send(l.receipt_key) as key, l.digest, \
            l.entry, l.epoch, l.sequence \
         from unnest($1::bigint[], $2::bigint[]) as d (first, entry) \
         join ledger l on l.entry = d.first join ledger_double m on m.entry = d.entry",
    )
    .bind(firsts)
    .bind(entries)
    .fetch_all(&mut **transaction)
    .await?;
    rows.into_iter()
        .map(|row| {
            let place = (row.entry, row.epoch, row.sequence);
            let first = CommittedKey::of_row(row.brand_no, &row.key, row.digest, place)?;
            Ok(Moved { entry: row.moved, first })
        })
        .collect()
}

async fn check(
    transaction: &mut PgTransaction<'_>,
    doubles: &[(i64, i64)],
) -> Result<Vec<Checked>, Error> {
    let (firsts, entries): (Vec<i64>, Vec<i64>) = doubles.iter().copied().unzip();
    Ok(sqlx::query_as(
        "select l.entry, f.entry as first, l.source, \
            l.source = 0 and not (f.source = 0 and f.epoch = l.epoch and f.sequence = l.sequence) \
                and not exists (select from disposition o where o.epoch = l.epoch \
                    and o.first <= l.sequence and o.last >= l.sequence) as is_only_one \
         from unnest($1::bigint[], $2::bigint[]) as d (first, entry) \
         join ledger l on l.entry = d.entry and l.source < 3 \
         join ledger f on f.entry = d.first and f.source < 3 and f.entry < l.entry \
            and f.brand_no = l.brand_no and f.receipt_key = l.receipt_key \
         where not exists (select from correction c where c.of_entry = l.entry)",
    )
    .bind(firsts)
    .bind(entries)
    .fetch_all(&mut **transaction)
    .await?)
}

/// Makes the positions that would have no disposition duplicates, in the usage of what is moved out.
async fn dispose(transaction: &mut PgTransaction<'_>, checked: &[Checked]) -> Result<i64, Error> {
    let alone: Vec<i64> =
        checked.iter().filter(|double| double.is_only_one).map(|double| double.entry).collect();
    sqlx::query_scalar(
        "with disposed as ( \
            insert into disposition (epoch, first, last, kind, brand_no, predicate_no, result, \
                verified_at, receipt_key) \
            select epoch, sequence, sequence, 'duplicate', brand_no, predicate_no, \
                coalesce(result, true), verified_at, receipt_key \
            from ledger where entry = any($1) on conflict (epoch, first) do nothing \
            returning epoch, first), \
         tallied as ( \
            select l.brand_no, l.usage_day, l.predicate_no, coalesce(l.result, true) as result, \
                count(*) as duplicates \
            from ledger l join disposed d on d.epoch = l.epoch and d.first = l.sequence \
            where l.entry = any($1) group by 1, 2, 3, 4), \
         added as ( \
            update usage_day u set duplicates = u.duplicates + t.duplicates from tallied t \
            where (u.brand_no, u.usage_day, u.predicate_no, u.result) \
                = (t.brand_no, t.usage_day, t.predicate_no, t.result)) \
         select count(*) from disposed",
    )
    .bind(alone)
    .fetch_one(&mut **transaction)
    .await
    .map_err(Error::from)
}
