//! The check `segments`: what was sealed is as it was sealed.

use sqlx::{FromRow, PgConnection};

use crate::store::digests::{self, NewDigest};
use crate::store::filter::{self, Filter};
use crate::store::sealing::SegmentKey;
use crate::store::segments::table_of;
use crate::store::{Error, sealing};

/// What the index that proves uniqueness must be, after its name and its table. Segments that were sealed before
/// migration 0014 have the second.
const PROOFS: [&str; 2] = [
    " USING btree (receipt_key, brand_no) WHERE (source < 3)",
    " USING btree (brand_no, receipt_key) WHERE (source < 3)",
];

#[derive(FromRow)]
struct Seal {
    segment: i64,
    rewrites: i64,
    digest: Option<Vec<u8>>,
}

/// Every sealed segment has its rows, byte for byte, its unique index, and the filter that was kept.
/// Digests of segments that had none, and about which nothing was found, are added to `computed`.
pub(super) async fn segments(
    connection: &mut PgConnection,
    computed: &mut Vec<NewDigest>,
) -> Result<Vec<String>, Error> {
    let seals: Vec<Seal> = sqlx::query_as(
        "select segment, rewrites, digest from segment where sealed_at is not null order by segment",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut findings = Vec::new();
    for Seal { segment, rewrites, digest } in seals {
        let before = findings.len();
        if !is_attached(connection, segment).await? {
            findings.push(format!("segment {segment} is sealed and its partition is not there"));
            continue;
        }
        let filter = contents(connection, segment, &mut findings).await?;
        index(connection, segment, &mut findings).await?;
        let mut asked = Asked::new(filter);
        let found = digests::compute(connection, segment, |entry, of| asked.ask(entry, of)).await?;
        if let Some(entry) = asked.finish() {
            findings.push(format!(
                "segment {segment}: its filter does not have the receipt of entry {entry}, which could be \
                 counted again"
            ));
        }
        match digest {
            Some(kept) if kept != found => findings.push(format!(
                "segment {segment}: a row is not what it was when an earlier audit read it"
            )),
            None if findings.len() == before => {
                computed.push(NewDigest { segment, rewrites, digest: found });
            }
            _ => {}
        }
    }
    Ok(findings)
}

async fn is_attached(connection: &mut PgConnection, segment: i64) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(
        "select exists (select from pg_inherits where inhrelid = to_regclass($1) \
            and inhparent = 'ledger'::regclass)",
    )
    .bind(table_of(segment))
    .fetch_one(connection)
    .await?)
}

/// Asks a segment's filter for each of its receipts, some thousands at a time.
struct Asked {
    filter: Option<Filter>,
    entries: Vec<i64>,
    hashes: Vec<u64>,
    /// The first entry whose receipt the filter does not have.
    missed: Option<i64>,
}

impl Asked {
    const BATCH: usize = 4_096;

    /// Without a filter nothing is asked.
    fn new(filter: Option<Filter>) -> Self {
        Self { filter, entries: Vec::new(), hashes: Vec::new(), missed: None }
    }

    fn ask(&mut self, entry: i64, of: SegmentKey) {
        self.entries.push(entry);
        self.hashes.push(filter::hash_of(of.brand_no, of.key));
        if self.entries.len() == Self::BATCH {
            self.ask_all();
        }
    }

    fn ask_all(&mut self) {
        if let Some(filter) = &self.filter {
            filter.misses(&self.hashes, |index| {
                self.missed.get_or_insert(self.entries[index]);
            });
        }
        self.entries.clear();
        self.hashes.clear();
    }

    fn finish(mut self) -> Option<i64> {
        self.ask_all();
        self.missed
    }
}

/// Row count and filter. Returns the filter if it is the one that was kept.
async fn contents(
    connection: &mut PgConnection,
    segment: i64,
    findings: &mut Vec<String>,
) -> Result<Option<Filter>, Error> {
    let rows = sealing::rows(&mut *connection, segment).await?;
    let kept = sealing::sealed_one(&mut *connection, segment).await?;
    if kept.entries != rows {
        let sealed = kept.entries;
        findings.push(format!("segment {segment} was sealed with {sealed} rows and has {rows}"));
    }
    if !kept.is_whole() {
        findings.push(format!("segment {segment}: its filter is not the one that was kept"));
        return Ok(None);
    }
    let filter = Filter::from_bytes(&kept.filter);
    if let Err(error) = &filter {
        findings.push(format!("segment {segment}: its filter cannot be read: {error}"));
    }
    Ok(filter.ok())
}

async fn index(
    connection: &mut PgConnection,
    segment: i64,
    findings: &mut Vec<String>,
) -> Result<(), Error> {
    let table = table_of(segment);
    let found: Option<(bool, String)> = sqlx::query_as(
        "select indisunique and indisvalid and indisready and indislive, pg_get_indexdef(indexrelid) \
         from pg_index where indexrelid = to_regclass($1) and indrelid = to_regclass($2)",
    )
    .bind(format!("{table}_receipt"))
    .bind(&table)
    .fetch_optional(connection)
    .await?;
    match found {
        None => findings.push(format!("segment {segment}: its unique index is gone")),
        Some((is_good, definition))
            if !is_good || !PROOFS.iter().any(|proof| definition.ends_with(proof)) =>
        {
            findings.push(format!("segment {segment}: its unique index is not valid or another"));
        }
        Some(_) => {}
    }
    Ok(())
}
