//! Segments: the ledger's partitions. Their bounds are arithmetic; nothing rotates.

use std::ops::Range;

use sqlx::PgPool;

use super::Error;

/// The segment that holds `entry`.
pub fn segment_of(entry: i64, segment_entries: i64) -> i64 {
    entry / segment_entries
}

/// The entries of `segment`.
pub fn entries_of(segment: i64, segment_entries: i64) -> Range<i64> {
    segment * segment_entries..(segment + 1) * segment_entries
}

/// How many segments are full when `entry` is the last one.
pub fn full(entry: i64, segment_entries: i64) -> i64 {
    segment_of(entry + 1, segment_entries)
}

/// The partition of `segment`.
pub fn table_of(segment: i64) -> String {
    format!("ledger_{segment:06}")
}

/// Makes the partitions of `segments` that are missing. A partition is created beside the ledger,
/// given its bounds as a check and then attached, so that attaching neither scans nor waits behind a
/// reader for longer than a catalogue update.
///
/// # Errors
/// If the database is away or refuses.
pub async fn ensure(
    pool: &PgPool,
    segments: Range<i64>,
    segment_entries: i64,
) -> Result<(), Error> {
    for segment in segments {
        sqlx::query("select make_segment($1, $2)")
            .bind(segment)
            .bind(segment_entries)
            .execute(pool)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_tile_the_entries() {
        for entry in [0, 1, 9, 10, 11, 19, 20] {
            let segment = segment_of(entry, 10);
            assert!(entries_of(segment, 10).contains(&entry), "{entry} is not in {segment}");
        }
        assert_eq!(entries_of(0, 10).end, entries_of(1, 10).start);
    }
}
