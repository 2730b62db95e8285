//! Reads the ledger: the stored content of entries, counted receipts, and a brand's usage days again.

use billing::ids::Predicate;
use billing::receipt::{Content, ReceiptKey};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use sqlx::{Connection, FromRow, PgConnection, PgExecutor, PgPool};

use super::{Error, cursor, digests, usage_fold};

/// What an entry says, as far as two events of one receipt must agree on it.
#[derive(Clone, Debug, FromRow)]
pub struct StoredContent {
    pub entry: i64,
    pub predicate_no: i32,
    supplier: Option<String>,
    product: Option<String>,
    result: Option<bool>,
}

impl StoredContent {
    /// The content; `predicate` is the name of [`Self::predicate_no`].
    pub fn content<'a>(&'a self, predicate: Predicate<'a>) -> Content<'a> {
        Content {
            predicate,
            supplier: self.supplier.as_deref(),
            product: self.product.as_deref(),
            result: self.result,
        }
    }
}

/// The contents of `entries`, in any order.
///
/// # Errors
/// If the database is away.
pub async fn contents(pool: &PgPool, entries: &[i64]) -> Result<Vec<StoredContent>, Error> {
    Ok(sqlx::query_as(
        "select entry, predicate_no, supplier, product, result from ledger where entry = any($1)",
    )
    .bind(entries)
    .fetch_all(pool)
    .await?)
}

/// A counted receipt.
#[derive(Clone, Debug, FromRow)]
pub struct CountedReceipt {
    pub entry: i64,
    pub epoch: i32,
    pub sequence: i64,
    pub source: i16,
    pub brand_id: String,
    pub receipt_id: String,
    pub predicate: String,
    pub supplier: Option<String>,
    pub product: Option<String>,
    pub result: Option<bool>,
    pub verified_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub usage_day: NaiveDate,
}

/// Reads [`CountedReceipt`]s; what follows says which.
pub(super) const COUNTED_RECEIPT: &str = "\
    select l.entry, l.epoch, l.sequence, l.source, b.brand_id, l.receipt_id, \
        q.name || '@' || q.version as predicate, l.supplier, l.product, l.result, \
        l.verified_at, l.expires_at, l.usage_day \
    from ledger l join brand b using (brand_no) join predicate q using (predicate_no)";

/// A later sight of a receipt that was counted.
#[derive(Clone, Debug, FromRow)]
pub struct Sighting {
    pub epoch: i32,
    pub sequence: i64,
    pub kind: String,
    pub brand_id: Option<String>,
}

/// Where a receipt was seen again, by all brands or by one, and as what.
///
/// # Errors
/// If the database is away.
pub async fn sightings(
    executor: impl PgExecutor<'_>,
    brand_no: Option<i32>,
    receipt_id: &str,
    limit: i64,
) -> Result<Vec<Sighting>, Error> {
    Ok(sqlx::query_as(
        "select d.epoch, d.first as sequence, d.kind, b.brand_id \
         from disposition d left join brand b using (brand_no) \
         where d.receipt_key = encode($1, 'hex')::uuid and ($3::int is null or d.brand_no = $3) \
         order by d.epoch, d.first limit $2",
    )
    .bind(ReceiptKey::of(receipt_id).0.to_be_bytes().as_slice())
    .bind(limit)
    .bind(brand_no)
    .fetch_all(executor)
    .await?)
}

/// Gives the brand another zone: its ledger rows get the usage day of that zone, its usage is built
/// again from them, and the request is answered, all in one transaction under the engine's fence.
///
/// # Errors
/// [`Error::Stale`] if another engine has taken over; otherwise as any commit.
pub async fn set_zone(
    connection: &mut PgConnection,
    fence: i64,
    request_no: i64,
    brand_no: i32,
    zone: Tz,
) -> Result<Option<i64>, Error> {
    let mut transaction = connection.begin().await?;
    let entry = cursor::hold(&mut *transaction, fence).await?;
    let has_documents: bool =
        sqlx::query_scalar("select exists (select from document where brand_no = $1)")
            .bind(brand_no)
            .fetch_one(&mut *transaction)
            .await?;
    if has_documents {
        let text = "the brand has documents, and the usage days behind them stay what they are";
        super::requests::answer(&mut *transaction, request_no, "refused", text).await?;
        transaction.commit().await?;
        return Ok(None);
    }
    super::requests::act_for(&mut *transaction, request_no).await?;
    let moved = move_usage_days(&mut transaction, brand_no, zone).await?;
    // Usage is built again from all entries of the brand, so none of them may be added to it later.
    usage_fold::add_up_to(&mut transaction, entry).await?;
    rebuild_usage(&mut transaction, brand_no, zone).await?;
    sqlx::query("update brand set zone = $2 where brand_no = $1")
        .bind(brand_no)
        .bind(zone.name())
        .execute(&mut *transaction)
        .await?;
    let text = format!("{moved} receipts have another usage day");
    super::requests::answer(&mut *transaction, request_no, "done", &text).await?;
    transaction.commit().await?;
    Ok(Some(moved))
}

/// Days are computed here and not in SQL, so that one time zone database decides, in the engine and
/// in its tests alike.
async fn move_usage_days(
    transaction: &mut PgConnection,
    brand_no: i32,
    zone: Tz,
) -> Result<i64, Error> {
    const PAGE_ROWS: i64 = 50_000;
    let (mut after, mut moved) = (0, 0);
    loop {
        let page: Vec<(i64, DateTime<Utc>, NaiveDate)> = sqlx::query_as(
            "select entry, verified_at, usage_day from ledger \
             where brand_no = $1 and entry > $2 order by entry limit $3",
        )
        .bind(brand_no)
        .bind(after)
        .bind(PAGE_ROWS)
        .fetch_all(&mut *transaction)
        .await?;
        let Some(&(last, ..)) = page.last() else { return Ok(moved) };
        after = last;
        let (entries, days): (Vec<i64>, Vec<NaiveDate>) = page
            .into_iter()
            .map(|(entry, at, day)| (entry, day, billing::usage::usage_day(at, zone)))
            .filter(|(_, before, day)| before != day)
            .map(|(entry, _, day)| (entry, day))
            .unzip();
        digests::forget(&mut *transaction, &entries).await?;
        let updated = sqlx::query(
            "update ledger l set usage_day = d.usage_day \
             from unnest($1::bigint[], $2::date[]) as d (entry, usage_day) where l.entry = d.entry",
        )
        .bind(entries)
        .bind(days)
        .execute(&mut *transaction)
        .await?;
        moved += i64::try_from(updated.rows_affected()).unwrap_or(i64::MAX);
    }
}

async fn rebuild_usage(
    transaction: &mut PgConnection,
    brand_no: i32,
    zone: Tz,
) -> Result<(), Error> {
    sqlx::query("delete from usage_day where brand_no = $1")
        .bind(brand_no)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "insert into usage_day (brand_no, usage_day, predicate_no, result, receipts, voided, \
            last_entry) \
         select brand_no, usage_day, predicate_no, coalesce(result, true), \
            count(*) filter (where source <> 4), count(*) filter (where source = 4), max(entry) \
         from ledger where brand_no = $1 group by 1, 2, 3, 4",
    )
    .bind(brand_no)
    .execute(&mut *transaction)
    .await?;
    let duplicates: Vec<(DateTime<Utc>, i32, bool)> = sqlx::query_as(
        "select verified_at, predicate_no, result from disposition \
         where brand_no = $1 and kind = 'duplicate'",
    )
    .bind(brand_no)
    .fetch_all(&mut *transaction)
    .await?;
    let days: Vec<NaiveDate> =
        duplicates.iter().map(|(at, ..)| billing::usage::usage_day(*at, zone)).collect();
    sqlx::query(
        "insert into usage_day as u \
            (brand_no, usage_day, predicate_no, result, duplicates, last_entry) \
         select $1, usage_day, predicate_no, result, count(*), 0 \
         from unnest($2::date[], $3::int[], $4::bool[]) as d (usage_day, predicate_no, result) \
         group by 2, 3, 4 \
         on conflict (brand_no, usage_day, predicate_no, result) \
         do update set duplicates = excluded.duplicates",
    )
    .bind(brand_no)
    .bind(days)
    .bind(duplicates.iter().map(|(_, predicate_no, _)| *predicate_no).collect::<Vec<_>>())
    .bind(duplicates.iter().map(|(.., result)| *result).collect::<Vec<_>>())
    .execute(&mut *transaction)
    .await?;
    Ok(())
}
