//! Conflicts: events that name a receipt that was counted with another content. Each content is kept
//! once, and settled by a person; what is settled is not opened again by its coming again.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, PgTransaction};

use super::Error;
use super::commit::NewConflict;

/// A content as it comes from a chunk: its first event, its last position, how often it is there.
struct Seen<'a> {
    first: &'a NewConflict,
    last_sequence: i64,
    times: i64,
}

/// Keeps each content that contradicts a receipt once, and counts how often it was seen.
pub(super) async fn add(
    transaction: &mut PgTransaction<'_>,
    conflicts: &[NewConflict],
) -> Result<(), Error> {
    if conflicts.is_empty() {
        return Ok(());
    }
    let seen = seen(conflicts);
    sqlx::query(
        "insert into conflict as c (brand_no, receipt_key, digest, receipt_id, entry, fields, \
            epoch, sequence, last_sequence, seen, stored_at, raw) \
         select brand_no, encode(receipt_key, 'hex')::uuid, digest, receipt_id, entry, \
            string_to_array(fields, ','), epoch, sequence, last_sequence, seen, stored_at, raw \
         from unnest($1::int[], $2::bytea[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], \
            $7::int[], $8::bigint[], $9::bigint[], $10::bigint[], $11::timestamptz[], \
            $12::bytea[]) as n (brand_no, receipt_key, digest, receipt_id, entry, fields, epoch, \
            sequence, last_sequence, seen, stored_at, raw) \
         on conflict (brand_no, receipt_key, digest) do update \
         set seen = c.seen + excluded.seen, last_sequence = excluded.last_sequence",
    )
    .bind(seen.iter().map(|of| of.first.brand_no).collect::<Vec<_>>())
    .bind(seen.iter().map(|of| of.first.receipt_key.to_be_bytes()).collect::<Vec<_>>())
    .bind(seen.iter().map(|of| of.first.digest.cast_signed()).collect::<Vec<_>>())
    .bind(seen.iter().map(|of| of.first.receipt_id.as_str()).collect::<Vec<_>>())
    .bind(seen.iter().map(|of| of.first.entry).collect::<Vec<_>>())
    // An array of arrays would have to be a rectangle; the names of fields have no comma.
    .bind(seen.iter().map(|of| of.first.fields.join(",")).collect::<Vec<_>>())
    .bind(seen.iter().map(|of| of.first.epoch).collect::<Vec<_>>())
    .bind(seen.iter().map(|of| of.first.sequence).collect::<Vec<_>>())
    .bind(seen.iter().map(|of| of.last_sequence).collect::<Vec<_>>())
    .bind(seen.iter().map(|of| of.times).collect::<Vec<_>>())
    .bind(seen.iter().map(|of| of.first.stored_at).collect::<Vec<_>>())
    .bind(seen.iter().map(|of| of.first.raw.as_slice()).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// One row a content, since an upsert may not touch a row twice, in the order of their keys, so that
/// two writers could never lock them in opposite orders.
fn seen(conflicts: &[NewConflict]) -> Vec<Seen<'_>> {
    let mut places: HashMap<(i32, u128, u64), usize> = HashMap::new();
    let mut seen: Vec<Seen<'_>> = Vec::new();
    for new in conflicts {
        let key = (new.brand_no, new.receipt_key, new.digest);
        let place = *places.entry(key).or_insert_with(|| {
            seen.push(Seen { first: new, last_sequence: new.sequence, times: 0 });
            seen.len() - 1
        });
        seen[place].times += 1;
        seen[place].last_sequence = new.sequence;
    }
    seen.sort_unstable_by_key(|of| (of.first.brand_no, of.first.receipt_key, of.first.digest));
    seen
}

/// A conflict as it is listed.
#[derive(Clone, Debug, FromRow)]
pub struct Conflict {
    pub conflict_no: i64,
    pub brand_no: i32,
    pub brand_id: String,
    pub receipt_id: String,
    /// The entry that it contradicts, and in which fields.
    pub entry: i64,
    pub fields: Vec<String>,
    pub epoch: i32,
    /// First and last position with this content, and how often it was seen.
    pub sequence: i64,
    pub last_sequence: i64,
    pub seen: i64,
    pub stored_at: DateTime<Utc>,
    pub raw: Vec<u8>,
    pub state: String,
    /// The entry that counts this content, if it was found right.
    pub resolution: Option<i64>,
    pub settled_at: Option<DateTime<Utc>>,
    pub settled_by: Option<String>,
    pub settlement: Option<String>,
}

/// Which conflicts are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these numbers; empty for any.
    pub numbers: Vec<i64>,
    pub brand: Option<String>,
    /// Only those that contradict this field.
    pub field: Option<String>,
    /// `open`, `resolved`, `dismissed`, or any.
    pub state: Option<String>,
    /// Only numbers above this one, for paging.
    pub after: i64,
    /// At most so many.
    pub limit: i64,
}

/// The conflicts that `filter` names, by number.
///
/// # Errors
/// If the database is away.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<Vec<Conflict>, Error> {
    Ok(sqlx::query_as(
        "select c.conflict_no, c.brand_no, b.brand_id, c.receipt_id, c.entry, c.fields, c.epoch, \
            c.sequence, c.last_sequence, c.seen, c.stored_at, c.raw, c.state, c.resolution, \
            c.settled_at, c.settled_by, c.settlement \
         from conflict c join brand b using (brand_no) \
         where (cardinality($1::bigint[]) = 0 or c.conflict_no = any($1)) \
            and ($2::text is null or b.brand_id = $2) and ($3::text is null or $3 = any(c.fields)) \
            and ($4::text is null or c.state = $4) and c.conflict_no > $5 \
         order by c.conflict_no limit $6",
    )
    .bind(&filter.numbers)
    .bind(&filter.brand)
    .bind(&filter.field)
    .bind(&filter.state)
    .bind(filter.after)
    .bind(filter.limit)
    .fetch_all(executor)
    .await?)
}

impl Filter {
    /// True if it names some of them, and not all.
    pub fn is_narrow(&self) -> bool {
        !self.numbers.is_empty() || self.brand.is_some() || self.field.is_some()
    }
}

/// Most conflicts of one request, so that metering is not kept waiting for long.
pub const PAGE_ROWS: i64 = 500;

/// The numbers of the first conflicts that `filter` names, as many as one request may have.
///
/// # Errors
/// If the database is away.
pub async fn page(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<Vec<i64>, Error> {
    Ok(sqlx::query_scalar(
        "select c.conflict_no from conflict c join brand b using (brand_no) \
         where (cardinality($1::bigint[]) = 0 or c.conflict_no = any($1)) \
            and ($2::text is null or b.brand_id = $2) and ($3::text is null or $3 = any(c.fields)) \
            and ($4::text is null or c.state = $4) and c.conflict_no > $5 \
         order by c.conflict_no limit $6",
    )
    .bind(&filter.numbers)
    .bind(&filter.brand)
    .bind(&filter.field)
    .bind(&filter.state)
    .bind(filter.after)
    .bind(PAGE_ROWS)
    .fetch_all(executor)
    .await?)
}

/// How many wait for a person.
///
/// # Errors
/// If the database is away.
pub async fn count_open(executor: impl PgExecutor<'_>) -> Result<i64, Error> {
    Ok(sqlx::query_scalar("select count(*) from conflict where state = 'open'")
        .fetch_one(executor)
        .await?)
}
