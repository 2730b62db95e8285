//! Finds the document that counts a receipt, and proves that it does.

use billing::evidence::leaf::Leaf;
use billing::evidence::proof::Proof;
use billing::hash::Hash;
use billing::period::Period;
use billing::receipt::ReceiptKey;
use chrono::NaiveDate;
use sqlx::{Connection, FromRow, PgConnection};

use super::brands::Brand;
use super::evidence::{self, Proven, Wanted};
use super::{Error, documents};

/// A proof, and the document that it is for.
#[derive(Clone, Debug)]
pub struct Found {
    pub proof: Proof,
    /// The document's canonical bytes.
    pub document: Vec<u8>,
}

/// Why there is no proof of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    #[error("the receipt was never counted for the brand")]
    NotCounted,
    #[error("the receipt is counted in entry {entry}, and no such document has it")]
    NotOnDocument { entry: i64 },
}

#[derive(FromRow)]
struct Counted {
    entry: i64,
    usage_day: NaiveDate,
}

#[derive(FromRow)]
struct Behind {
    document_no: i64,
    period_start: NaiveDate,
    period_end: NaiveDate,
    after: i64,
    cutoff: i64,
}

/// Proves what counts under a receipt's id, on the document of this name or on the newest that stands.
///
/// # Errors
/// [`Error::Corrupt`] if the ledger is not what the document was issued for; or the database is away.
pub async fn prove(
    connection: &mut PgConnection,
    brand: &Brand,
    receipt_id: &str,
    name: Option<&str>,
) -> Result<Result<Found, Absent>, Error> {
    let mut snapshot =
        connection.begin_with("begin isolation level repeatable read read only").await?;
    let found = prove_in(&mut snapshot, brand, receipt_id, name).await?;
    snapshot.rollback().await?;
    Ok(found)
}

/// As [`prove`], within a snapshot of the caller's.
///
/// # Errors
/// As those of [`prove`].
pub async fn prove_in(
    snapshot: &mut PgConnection,
    brand: &Brand,
    receipt_id: &str,
    name: Option<&str>,
) -> Result<Result<Found, Absent>, Error> {
    let Some(Counted { entry, usage_day }) = counted(snapshot, brand, receipt_id).await? else {
        return Ok(Err(Absent::NotCounted));
    };
    let behind: Option<Behind> = sqlx::query_as(
        "select d.document_no, p.period_start, p.period_end, p.after, p.cutoff \
         from document_period p join document_now d using (document_no) \
         where p.brand_no = $1 and p.period_start <= $2 and $2 < p.period_end \
            and p.after < $3 and $3 <= p.cutoff \
            and ($4::text is null or coalesce(d.number, d.document_no::text) = $4) \
         order by d.state = 'finalized' desc, d.document_no desc limit 1",
    )
    .bind(brand.no)
    .bind(usage_day)
    .bind(entry)
    .bind(name)
    .fetch_optional(&mut *snapshot)
    .await?;
    let Some(behind) = behind else { return Ok(Err(Absent::NotOnDocument { entry })) };
    let bytes = documents::body(&mut *snapshot, behind.document_no).await?;
    let document = documents::read(&bytes)?;
    let changed = || {
        let text = format!(
            "the ledger is not what document {} was issued for: run `prooftally invoices verify`",
            document.number.clone().unwrap_or_else(|| behind.document_no.to_string())
        );
        Error::Corrupt(text)
    };
    let Behind { period_start, period_end, after, cutoff, .. } = behind;
    let days = Period::new(period_start, period_end).ok_or_else(changed)?;
    let wanted = Wanted { brand_no: brand.no, days, after, cutoff };
    let Proven { root, leaf, inclusion } =
        evidence::prove(snapshot, wanted, entry).await?.ok_or_else(changed)?;
    let stated = document.periods.iter().find(|period| period.start == period_start);
    if stated.is_none_or(|stated| (stated.root, stated.size) != (root, inclusion.size)) {
        return Err(changed());
    }
    let value = serde_json::from_slice(&leaf).map_err(|_| changed())?;
    let leaf = Leaf::from_value(&value).map_err(|_| changed())?;
    let (hash, number) = (Hash::of(&[&bytes]), document.number.clone());
    let proof = Proof::new(hash, number, period_start, &leaf, inclusion).map_err(|_| changed())?;
    Ok(Ok(Found { proof, document: bytes }))
}

/// The entry that counts the receipt: its last resolution, or what was counted first.
async fn counted(
    snapshot: &mut PgConnection,
    brand: &Brand,
    receipt_id: &str,
) -> Result<Option<Counted>, Error> {
    Ok(sqlx::query_as(
        "select entry, usage_day from ( \
            select entry, usage_day from ledger where brand_no = $1 and source < 3 \
                and receipt_key = encode($2, 'hex')::uuid and receipt_id = $3 \
            union all \
            select l.entry, l.usage_day from correction c join ledger l on l.entry = c.entry \
                where c.brand_no = $1 and c.receipt_key = encode($2, 'hex')::uuid \
                    and c.kind = 'resolution' and l.receipt_id = $3) f \
         order by entry desc limit 1",
    )
    .bind(brand.no)
    .bind(ReceiptKey::of(receipt_id).0.to_be_bytes().as_slice())
    .bind(receipt_id)
    .fetch_optional(snapshot)
    .await?)
}
