//! Corrections of what was counted: receipts taken back, conflicts settled. Carried out by the ledger
//! actor, each in one transaction with the answer to the request that asked for it, while nothing is in
//! flight.

use billing::receipt::ReceiptKey;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{Connection, PgConnection, PgExecutor, PgTransaction};

use super::keys::CommittedKey;
use super::{Error, cursor, repair, requests, usage_fold};

/// Most receipts that one request takes back, so that metering is not kept waiting for long.
pub const VOIDS_MAX: usize = 5_000;

/// What is to be corrected, and who wants it.
#[derive(Clone, Debug)]
pub struct Correction {
    pub request_no: i64,
    pub asked_by: String,
    pub because: String,
    pub work: Work,
}

#[derive(Clone, Debug)]
pub enum Work {
    /// What was counted stands.
    DismissConflicts { numbers: Vec<i64> },
    /// These contents are right: what was counted is taken back and they are counted. `unread` are
    /// conflicts whose event cannot be read any more.
    ResolveConflicts { contents: Vec<RightContent>, unread: Vec<i64> },
    /// These receipts are taken back.
    Void { brand_no: i32, receipts: Vec<String> },
    /// Entries that count a receipt again leave the ledger: pairs of the entry that stays and the one
    /// that goes.
    Repair { doubles: Vec<(i64, i64)> },
}

impl Work {
    /// At most so many entries are added.
    pub fn entries_max(&self) -> i64 {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX / 2);
        match self {
            Work::DismissConflicts { .. } | Work::Repair { .. } => 0,
            Work::ResolveConflicts { contents, .. } => 2 * count(contents.len()),
            Work::Void { receipts, .. } => count(receipts.len()),
        }
    }
}

/// The content of a conflict that was found right.
#[derive(Clone, Debug)]
pub struct RightContent {
    pub conflict_no: i64,
    pub brand_no: i32,
    pub key: ReceiptKey,
    pub digest: u64,
    pub epoch: i32,
    pub sequence: i64,
    pub receipt_id: String,
    pub predicate_no: i32,
    pub supplier: Option<String>,
    pub product: Option<String>,
    pub result: Option<bool>,
    pub verified_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub usage_day: NaiveDate,
}

/// What a correction came to.
#[derive(Clone, Debug, Default)]
pub struct Corrected {
    /// The cursor's entry afterwards.
    pub entry: i64,
    /// What counts under its receipt's id from now on.
    pub replaced: Vec<CommittedKey>,
    /// What left the ledger.
    pub moved: Vec<Moved>,
}

/// An entry that left the ledger, and what was counted before it.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    pub entry: i64,
    pub first: CommittedKey,
}

/// What the work of a correction adds to the cursor, and what is answered.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub voided: i64,
    pub resolved: i64,
    pub replaced: Vec<CommittedKey>,
    pub moved: Vec<Moved>,
    pub text: String,
}

/// The work is refused as a whole, and nothing of it is done.
pub(super) enum Refusal {
    Because(String),
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Carries `correction` out, or finds that an earlier attempt whose reply was lost has done so.
///
/// # Errors
/// [`Error::Stale`] if another engine has taken over; otherwise as any commit.
pub async fn carry_out(
    connection: &mut PgConnection,
    fence: i64,
    correction: &Correction,
) -> Result<Corrected, Error> {
    let mut transaction = connection.begin().await?;
    let entry = cursor::hold(&mut *transaction, fence).await?;
    if !requests::is_waiting(&mut *transaction, correction.request_no).await? {
        let replaced = replacements(&mut *transaction).await?;
        let moved = match &correction.work {
            Work::Repair { doubles } => repair::moved(&mut transaction, doubles).await?,
            _ => Vec::new(),
        };
        transaction.rollback().await?;
        return Ok(Corrected { entry, replaced, moved });
    }
    // What is taken back or moved out must be in usage.
    usage_fold::add_up_to(&mut transaction, entry).await?;
    let done = match work(&mut transaction, correction, entry).await {
        Ok(done) => done,
        Err(Refusal::Failed(error)) => return Err(error),
        Err(Refusal::Because(why)) => {
            transaction.rollback().await?;
            requests::refuse(connection, fence, correction.request_no, &why).await?;
            return Ok(Corrected { entry, ..Corrected::default() });
        }
    };
    let entry = entry + done.voided + done.resolved;
    usage_fold::add_up_to(&mut transaction, entry).await?;
    sqlx::query(
        "update cursor set entry = $1, voided = voided + $2, resolved = resolved + $3 \
         where fence = $4",
    )
    .bind(entry)
    .bind(done.voided)
    .bind(done.resolved)
    .bind(fence)
    .execute(&mut *transaction)
    .await?;
    requests::answer(&mut *transaction, correction.request_no, "done", &done.text).await?;
    transaction.commit().await?;
    Ok(Corrected { entry, replaced: done.replaced, moved: done.moved })
}

async fn work(
    transaction: &mut PgTransaction<'_>,
    correction: &Correction,
    entry: i64,
) -> Result<Done, Refusal> {
    match &correction.work {
        Work::DismissConflicts { numbers } => dismiss(transaction, correction, numbers).await,
        Work::ResolveConflicts { contents, unread } => {
            resolve(transaction, correction, contents, unread, entry).await
        }
        Work::Void { brand_no, receipts } => {
            void_receipts(transaction, correction, *brand_no, receipts, entry).await
        }
        Work::Repair { doubles } => repair::move_out(transaction, correction, doubles).await,
    }
}

async fn dismiss(
    transaction: &mut PgTransaction<'_>,
    correction: &Correction,
    numbers: &[i64],
) -> Result<Done, Refusal> {
    let dismissed = sqlx::query(
        "update conflict set state = 'dismissed', settled_at = now(), settled_by = $2, \
            settlement = $3 where conflict_no = any($1) and state = 'open'",
    )
    .bind(numbers)
    .bind(&correction.asked_by)
    .bind(&correction.because)
    .execute(&mut **transaction)
    .await?;
    let text = format!("{} conflicts dismissed", dismissed.rows_affected());
    Ok(Done { text, ..Done::default() })
}

/// Takes receipts of a brand back, all or none.
async fn void_receipts(
    transaction: &mut PgTransaction<'_>,
    correction: &Correction,
    brand_no: i32,
    receipts: &[String],
    entry: i64,
) -> Result<Done, Refusal> {
    let keys: Vec<[u8; 16]> =
        receipts.iter().map(|id| ReceiptKey::of(id).0.to_be_bytes()).collect();
    // What counts is the last resolution, or what was counted first.
    let found: Vec<(String, Option<i64>, bool)> = sqlx::query_as(
        "with wanted as ( \
            select distinct receipt_id, encode(key, 'hex')::uuid as key \
            from unnest($2::text[], $3::bytea[]) as w (receipt_id, key)), \
         counted as ( \
            select w.receipt_id, coalesce( \
                (select max(c.entry) from correction c where c.brand_no = $1 \
                    and c.receipt_key = w.key and c.kind = 'resolution'), \
                min(l.entry)) as entry \
            from wanted w left join ledger l on l.brand_no = $1 and l.source < 3 \
                and l.receipt_key = w.key and l.receipt_id = w.receipt_id group by 1, w.key) \
         select receipt_id, entry, exists (select from correction c \
            where c.of_entry = counted.entry and c.kind = 'void') from counted order by entry",
    )
    .bind(brand_no)
    .bind(receipts)
    .bind(keys)
    .fetch_all(&mut **transaction)
    .await?;
    let not_counted = found.iter().filter(|(_, entry, _)| entry.is_none());
    refuse_any("were never counted for the brand", not_counted.map(|(id, ..)| id))?;
    let voided = found.iter().filter(|(.., is_voided)| *is_voided);
    refuse_any("are voided already", voided.map(|(id, ..)| id))?;
    let entries: Vec<i64> = found.iter().filter_map(|(_, entry, _)| *entry).collect();
    let voided = void_entries(transaction, correction, &entries, entry).await?;
    Ok(Done { voided, text: format!("{voided} receipts voided"), ..Done::default() })
}

fn refuse_any<'a>(what: &str, receipts: impl Iterator<Item = &'a String>) -> Result<(), Refusal> {
    const NAMED_MAX: usize = 5;
    let receipts: Vec<&str> = receipts.map(String::as_str).collect();
    if receipts.is_empty() {
        return Ok(());
    }
    let named = receipts[..receipts.len().min(NAMED_MAX)].join(", ");
    let more = if receipts.len() > NAMED_MAX { " …" } else { "" };
    Err(Refusal::Because(format!(
        "{} receipts {what}, so nothing was done: {named}{more}",
        receipts.len()
    )))
}

/// Takes `entries` back by a void each, numbered after `entry`. Returns how many.
async fn void_entries(
    transaction: &mut PgTransaction<'_>,
    correction: &Correction,
    entries: &[i64],
    entry: i64,
) -> Result<i64, Refusal> {
    let voided = sqlx::query(
        "insert into ledger (entry, sequence, digest, verified_at, expires_at, epoch, brand_no, \
            predicate_no, usage_day, receipt_key, source, result, receipt_id, supplier, product, \
            of_entry) \
         select $2 + v.place, l.sequence, l.digest, l.verified_at, l.expires_at, l.epoch, \
            l.brand_no, l.predicate_no, l.usage_day, l.receipt_key, 4, l.result, l.receipt_id, \
            l.supplier, l.product, l.entry \
         from unnest($1::bigint[]) with ordinality as v (entry, place) join ledger l using (entry)",
    )
    .bind(entries)
    .bind(entry)
    .execute(&mut **transaction)
    .await?;
    let voided = i64::try_from(voided.rows_affected()).unwrap_or(i64::MAX);
    if usize::try_from(voided) != Ok(entries.len()) {
        let why = "an entry that is to be taken back is not in the ledger: run `prooftally audit`";
        return Err(Refusal::Because(why.to_owned()));
    }
    record(transaction, correction, entry, "void").await?;
    sqlx::query(
        "update usage_day u set voided = u.voided + v.receipts \
         from (select brand_no, usage_day, predicate_no, coalesce(result, true) as result, \
                count(*) as receipts from ledger where entry > $1 group by 1, 2, 3, 4) as v \
         where (u.brand_no, u.usage_day, u.predicate_no, u.result) \
            = (v.brand_no, v.usage_day, v.predicate_no, v.result)",
    )
    .bind(entry)
    .execute(&mut **transaction)
    .await?;
    Ok(voided)
}

/// Records the corrections that are the entries after `entry`.
async fn record(
    transaction: &mut PgTransaction<'_>,
    correction: &Correction,
    entry: i64,
    kind: &str,
) -> Result<(), Error> {
    sqlx::query(
        "insert into correction (entry, kind, of_entry, brand_no, receipt_key, asked_by, because) \
         select entry, $2, of_entry, brand_no, receipt_key, $3, $4 from ledger where entry > $1",
    )
    .bind(entry)
    .bind(kind)
    .bind(&correction.asked_by)
    .bind(&correction.because)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Counts contents in the place of what was counted, one after the other: of two of one receipt the
/// later one would replace the earlier, which nobody can have meant, so it is left.
async fn resolve(
    transaction: &mut PgTransaction<'_>,
    correction: &Correction,
    contents: &[RightContent],
    unread: &[i64],
    mut entry: i64,
) -> Result<Done, Refusal> {
    let mut done = Done::default();
    let mut left: Vec<String> =
        unread.iter().map(|no| format!("{no} cannot be read any more")).collect();
    for content in contents {
        let is_again =
            |new: &CommittedKey| (new.brand_no, new.key) == (content.brand_no, content.key);
        if done.replaced.iter().any(is_again) {
            left.push(format!("{} is of a receipt just resolved", content.conflict_no));
            continue;
        }
        match resolve_one(transaction, correction, content, entry).await? {
            Ok(key) => {
                entry = key.entry;
                done.replaced.push(key);
                done.voided += 1;
                done.resolved += 1;
            }
            Err(why) => left.push(format!("{} {why}", content.conflict_no)),
        }
    }
    done.text = format!("{} conflicts resolved", done.resolved);
    if !left.is_empty() {
        left.truncate(10);
        done.text += &format!(", left as they are: {}", left.join(", "));
    }
    Ok(done)
}

/// Counts `content` after `entry`; or says why not.
async fn resolve_one(
    transaction: &mut PgTransaction<'_>,
    correction: &Correction,
    content: &RightContent,
    entry: i64,
) -> Result<Result<CommittedKey, &'static str>, Refusal> {
    let found: Option<(i64, bool)> = sqlx::query_as(
        "select n.entry, exists (select from correction v \
            where v.of_entry = n.entry and v.kind = 'void') \
         from conflict c cross join lateral (select coalesce( \
            (select max(r.entry) from correction r where r.brand_no = c.brand_no \
                and r.receipt_key = c.receipt_key and r.kind = 'resolution'), c.entry)) as n (entry) \
         where c.conflict_no = $1 and c.state in ('open', 'dismissed')",
    )
    .bind(content.conflict_no)
    .fetch_optional(&mut **transaction)
    .await?;
    let Some((counted, is_voided)) = found else { return Ok(Err("is resolved")) };
    if is_voided {
        return Ok(Err("is of a receipt that was voided"));
    }
    void_entries(transaction, correction, &[counted], entry).await?;
    count(transaction, content, counted, entry + 2).await?;
    record(transaction, correction, entry + 1, "resolution").await?;
    settle(transaction, correction, content, counted, entry + 2).await?;
    let RightContent { brand_no, key, digest, epoch, sequence, .. } = *content;
    Ok(Ok(CommittedKey { brand_no, key, digest, entry: entry + 2, epoch, sequence }))
}

async fn count(
    transaction: &mut PgTransaction<'_>,
    content: &RightContent,
    of_entry: i64,
    entry: i64,
) -> Result<(), Error> {
    sqlx::query(
        "insert into ledger (entry, sequence, digest, verified_at, expires_at, epoch, brand_no, \
            predicate_no, usage_day, receipt_key, source, result, receipt_id, supplier, product, \
            of_entry) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, encode($10, 'hex')::uuid, 3, $11, $12, $13, \
            $14, $15)",
    )
    .bind(entry)
    .bind(content.sequence)
    .bind(content.digest.cast_signed())
    .bind(content.verified_at)
    .bind(content.expires_at)
    .bind(content.epoch)
    .bind(content.brand_no)
    .bind(content.predicate_no)
    .bind(content.usage_day)
    .bind(content.key.0.to_be_bytes().as_slice())
    .bind(content.result)
    .bind(&content.receipt_id)
    .bind(&content.supplier)
    .bind(&content.product)
    .bind(of_entry)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Settles the conflict, and keeps what was counted before as a dismissed one: its event, coming again,
/// contradicts what counts now and must not ask a person again. Of its bytes nothing is left, so what
/// the ledger has of it is written as an event; it can be resolved again, which is the way back.
async fn settle(
    transaction: &mut PgTransaction<'_>,
    correction: &Correction,
    content: &RightContent,
    counted: i64,
    entry: i64,
) -> Result<(), Error> {
    sqlx::query(
        "insert into conflict as c (brand_no, receipt_key, digest, receipt_id, entry, fields, \
            epoch, sequence, last_sequence, seen, stored_at, raw, state, settled_at, settled_by, \
            settlement) \
         select l.brand_no, l.receipt_key, l.digest, l.receipt_id, $3, o.fields, l.epoch, \
            l.sequence, l.sequence, 0, l.verified_at, \
            convert_to(jsonb_strip_nulls(jsonb_build_object('receiptId', l.receipt_id, \
                'predicateId', p.name || '@' || p.version, 'brandId', b.brand_id, \
                'supplierId', l.supplier, 'productRef', l.product, 'result', l.result, \
                'verifiedAt', to_char(l.verified_at at time zone 'utc', \
                    'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
                'expiresAt', to_char(l.expires_at at time zone 'utc', \
                    'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')))::text, 'utf8'), \
            'dismissed', now(), $4, $5 \
         from ledger l join conflict o on o.conflict_no = $1 \
            join brand b on b.brand_no = l.brand_no \
            join predicate p on p.predicate_no = l.predicate_no \
         where l.entry = $2 \
         on conflict (brand_no, receipt_key, digest) do update set state = 'dismissed', \
            entry = excluded.entry, resolution = null, settled_at = excluded.settled_at, \
            settled_by = excluded.settled_by, settlement = excluded.settlement",
    )
    .bind(content.conflict_no)
    .bind(counted)
    .bind(entry)
    .bind(&correction.asked_by)
    .bind(format!("conflict {} was resolved: {}", content.conflict_no, correction.because))
    .execute(&mut **transaction)
    .await?;
    sqlx::query(
        "update conflict set state = 'resolved', resolution = $2, settled_at = now(), \
            settled_by = $3, settlement = $4 where conflict_no = $1",
    )
    .bind(content.conflict_no)
    .bind(entry)
    .bind(&correction.asked_by)
    .bind(&correction.because)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// What counts under each receipt id whose conflict was resolved, in the order of the resolutions: of
/// several of one receipt the last holds.
///
/// # Errors
/// If the database is away.
pub async fn replacements(executor: impl PgExecutor<'_>) -> Result<Vec<CommittedKey>, Error> {
    let rows: Vec<(i32, Vec<u8>, i64, i64, i32, i64)> = sqlx::query_as(
        "select l.brand_no, uuid_send(l.receipt_key), l.digest, l.entry, l.epoch, l.sequence \
         from correction c join ledger l using (entry) where c.kind = 'resolution' order by entry",
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|(brand_no, key, digest, entry, epoch, sequence)| {
            CommittedKey::of_row(brand_no, &key, digest, (entry, epoch, sequence))
        })
        .collect()
}
