//! The proof, when documents are issued, that no receipt is counted twice up to the cutoff.
//!
//! A segment was proved when it was sealed: by a unique index within itself, and against every segment that
//! was sealed before it. Here it is asked whether those proofs are still there, and what is not sealed
//! yet is read: compared with itself, and with each sealed segment by that one's filter and, for what the
//! filter lets through, by its index. Filters are read one after the other; 28 bytes are held for each
//! receipt that is not in a sealed segment.

use std::collections::BTreeSet;

use billing::completeness::{Cases, Numbers, Uniqueness};
use billing::receipt::ReceiptKey;
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection};

use super::brands::Scope;
use super::copy;
use super::filter::{self, Filter};
use super::segments::{entries_of, segment_of, table_of};
use super::{Error, cursor, sealing};

/// More segments than these that are not sealed are not read: the sealer has to catch up first. It is never so
/// far behind by itself, since metering waits for it.
const UNSEALED_MAX: usize = 8;
/// Brand number and receipt key, big-endian, so that they sort.
type Key = [u8; 20];

/// What sealing has left: whether every sealed segment still has its proof, and none could not be sealed. Reads
/// no receipt.
///
/// # Errors
/// If the database is away.
pub async fn of_sealed(snapshot: &mut PgConnection) -> Result<Uniqueness, Error> {
    let rows: Vec<(i64, Option<String>, bool)> = sqlx::query_as(
        "select segment, problem, is_unproved from ( \
            select segment, problem, sealed_at is not null and not exists ( \
                select from pg_index i where i.indexrelid = to_regclass(t.name || '_receipt') \
                    and i.indrelid = to_regclass(t.name) \
                    and i.indisunique and i.indisvalid and i.indisready) as is_unproved \
            from segment cross join lateral (select 'ledger_' || lpad(segment::text, \
                greatest(6, length(segment::text)), '0') as name) t) s \
         where problem is not null or is_unproved order by segment",
    )
    .fetch_all(snapshot)
    .await?;
    let mut found = Uniqueness::default();
    for (segment, problem, is_unproved) in rows {
        if let Some(problem) = problem {
            let name = format!("segment {segment}: {problem}");
            found.doubles.add(name, Numbers::up_to(1));
        }
        if is_unproved {
            add_segment(&mut found.unproved, segment);
        }
    }
    Ok(found)
}

fn add_segment(cases: &mut Cases, segment: i64) {
    let number = segment.unsigned_abs();
    cases.add("segment", vec![(number, number)].into());
}

/// Proves it for all receipts up to the cutoff, or for those of some brands. What cannot be proved of one segment
/// keeps it from none of the others.
///
/// # Errors
/// If the database is away.
pub async fn prove(
    snapshot: &mut PgConnection,
    cutoff: i64,
    scope: &Scope,
) -> Result<Uniqueness, Error> {
    let mut found = of_sealed(snapshot).await?;
    let segment_entries = cursor::read(&mut *snapshot).await?.segment_entries.unwrap_or(i64::MAX);
    let sealed: BTreeSet<i64> =
        sqlx::query_scalar("select segment from segment where sealed_at is not null")
            .fetch_all(&mut *snapshot)
            .await?
            .into_iter()
            .collect();
    let last = segment_of(cutoff, segment_entries);
    let unsealed: Vec<i64> = (0..=last).filter(|segment| !sealed.contains(segment)).collect();
    if unsealed.len() > UNSEALED_MAX {
        for segment in unsealed {
            add_segment(&mut found.unproved, segment);
        }
        return Ok(found);
    }
    let mut keys = Vec::new();
    for segment in unsealed {
        let entries = entries_of(segment, segment_entries);
        let until = entries.end.min(cutoff.saturating_add(1));
        read(snapshot, entries.start..until, scope, &mut keys).await?;
    }
    keys.sort_unstable();
    for pair in keys.windows(2).filter(|pair| pair[0] == pair[1]) {
        add_double(&mut found.doubles, split(&pair[0]));
    }
    let hashes: Vec<u64> =
        keys.iter().map(split).map(|(brand, key)| filter::hash_of(brand, key)).collect();
    for segment in sealed.into_iter().filter(|_| !keys.is_empty()) {
        let kept = sealing::sealed_one(&mut *snapshot, segment).await?;
        let whole = if kept.is_whole() { Filter::from_bytes(&kept.filter).ok() } else { None };
        let Some(filter) = whole else {
            add_segment(&mut found.unproved, segment);
            continue;
        };
        let mut suspects = Vec::new();
        filter.probe(&hashes, |index| suspects.push(split(&keys[index])));
        for double in found_in(snapshot, segment, &suspects).await? {
            add_double(&mut found.doubles, double);
        }
    }
    Ok(found)
}

fn add_double(cases: &mut Cases, (brand_no, key): (i32, ReceiptKey)) {
    cases.add(format!("receipt {:032x} of brand {brand_no}", key.0), Numbers::up_to(1));
}

fn split(key: &Key) -> (i32, ReceiptKey) {
    let mut rest = key.as_slice();
    let brand_no = i32::from_be_bytes(copy::next(&mut rest));
    (brand_no, ReceiptKey(u128::from_be_bytes(copy::next(&mut rest))))
}

/// Adds the receipts that events have counted in these entries.
async fn read(
    snapshot: &mut PgConnection,
    entries: std::ops::Range<i64>,
    scope: &Scope,
    keys: &mut Vec<Key>,
) -> Result<(), Error> {
    let brand = scope.numbers().map_or_else(String::new, |numbers| {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        format!(" and brand_no = any('{{{}}}'::int[])", numbers.join(","))
    });
    // Made of numbers alone, so the statement is safe to put together.
    let statement = format!(
        "copy (select brand_no, receipt_key from ledger where source < 3 and entry >= {} \
         and entry < {}{brand}) to stdout (format binary)",
        entries.start, entries.end
    );
    let mut bytes = snapshot.copy_out_raw(&statement).await?;
    let mut reader = copy::Reader::default();
    while let Some(part) = bytes.try_next().await? {
        reader.push(&part, 2, size_of::<Key>(), |row| {
            keys.push(row.try_into().expect("a row is as wide as it was asked for"));
        });
    }
    Ok(())
}

/// Those of the suspects that a sealed segment has.
async fn found_in(
    snapshot: &mut PgConnection,
    segment: i64,
    suspects: &[(i32, ReceiptKey)],
) -> Result<Vec<(i32, ReceiptKey)>, Error> {
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let table = table_of(segment);
    let statement = format!(
        "select w.place from unnest($1::int[], $2::bytea[]) \
            with ordinality as w (brand_no, receipt_key, place) \
         where exists (select from {table} l where l.brand_no = w.brand_no \
            and l.receipt_key = encode(w.receipt_key, 'hex')::uuid and l.source < 3)"
    );
    // The name is made of digits.
    let places: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(suspects.iter().map(|(brand, _)| *brand).collect::<Vec<_>>())
        .bind(suspects.iter().map(|(_, key)| key.0.to_be_bytes()).collect::<Vec<_>>())
        .fetch_all(snapshot)
        .await?;
    let at = |place: i64| suspects.get(usize::try_from(place).ok()?.checked_sub(1)?).copied();
    Ok(places.into_iter().filter_map(at).collect())
}
