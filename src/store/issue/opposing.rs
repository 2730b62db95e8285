//! What opposes a document: a void before it was delivered, a cancellation afterwards, and a favour.

use billing::document::credit::{self, Amounts, Credited};
use billing::numbering;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::{Chain, Issued, Refused, Unnumbered, insert_one, lock_one};
use crate::store::change;
use crate::store::documents::{self, Listed};
use crate::store::due::{Issuer, issuer_at};

/// Takes a document back that was not delivered: its number stays its own, and its period is open again.
///
/// # Errors
/// If it was delivered, paid, credited or taken back, or the database is away.
pub async fn void(
    pool: &PgPool,
    document: &Listed,
    because: &str,
    by: &str,
) -> Result<(), Refused> {
    let mut transaction = change::begin(pool).await?;
    lock_one(&mut transaction, document.brand_no).await?;
    take_back(&mut transaction, document, "voided", None, because, by).await?;
    transaction.commit().await?;
    Ok(())
}

/// Gives back all of a document that was not credited yet, and opens its period again. The answer is the
/// credit note, unless nothing was left.
///
/// # Errors
/// If it is a credit note or taken back already, or the database is away.
pub async fn cancel(
    pool: &PgPool,
    issuers: &[Issuer],
    document: &Listed,
    because: &str,
    now: DateTime<Utc>,
    by: &str,
) -> Result<Option<Issued>, Refused> {
    let mut transaction = change::begin(pool).await?;
    let chain = lock_one(&mut transaction, document.brand_no).await?;
    let note = Note { document, amounts: &Amounts::Cancel, because, now, by };
    let issued = match note.issue(&mut transaction, issuers, &chain).await {
        Ok(issued) => Some(issued),
        Err(Refused::Credit(error)) if matches!(*error, credit::Error::Nothing) => None,
        Err(refused) => return Err(refused),
    };
    let by_document = issued.as_ref().map(|issued| issued.document_no);
    take_back(&mut transaction, document, "cancelled", by_document, because, by).await?;
    transaction.commit().await?;
    Ok(issued)
}

/// Gives back parts of lines as a favour, which changes nothing that was billed.
///
/// # Errors
/// If more would be given back than there is, or the database is away.
pub async fn favour(
    pool: &PgPool,
    issuers: &[Issuer],
    document: &Listed,
    amounts: &Amounts,
    because: &str,
    now: DateTime<Utc>,
    by: &str,
) -> Result<Issued, Refused> {
    let mut transaction = change::begin(pool).await?;
    let chain = lock_one(&mut transaction, document.brand_no).await?;
    let note = Note { document, amounts, because, now, by };
    let issued = note.issue(&mut transaction, issuers, &chain).await?;
    transaction.commit().await?;
    Ok(issued)
}

/// A credit note to be issued.
struct Note<'a> {
    document: &'a Listed,
    amounts: &'a Amounts,
    because: &'a str,
    now: DateTime<Utc>,
    by: &'a str,
}

impl Note<'_> {
    async fn issue(
        &self,
        connection: &mut PgConnection,
        issuers: &[Issuer],
        chain: &Chain,
    ) -> Result<Issued, Refused> {
        let of = self.document;
        // Read again under the lock: it may have been taken back since it was listed.
        let state: String =
            sqlx::query_scalar("select state from document_now where document_no = $1")
                .bind(of.document_no)
                .fetch_one(&mut *connection)
                .await?;
        if state != "finalized" {
            return Err(Refused::State(format!("{} is {state} already", of.name())));
        }
        let document = documents::read(&documents::body(&mut *connection, of.document_no).await?)?;
        let notes = documents::credits_of(&mut *connection, of.document_no).await?;
        let credited = Credited::new(&document, &notes)?;
        let issuer = issuer_at(issuers, self.now).ok_or(Refused::NoIssuer)?;
        let day = numbering::issue_date(self.now, issuer.zone, None);
        let terms = credit::Terms {
            issue_date: day,
            note: self.because,
            billing_version: chain.version.unsigned_abs(),
            previous: chain.previous,
        };
        let note = credit::credit(&document, &credited, self.amounts, &terms)?;
        let draft = Unnumbered {
            brand_no: of.brand_no,
            document: note,
            cutoff: 0,
            regular: None,
            credits: Some(of.document_no),
            terms_days: 0,
            day,
        };
        insert_one(connection, chain, draft, self.by).await
    }
}

/// Notes that a document was taken back, with the opposites of what it billed.
async fn take_back(
    connection: &mut PgConnection,
    document: &Listed,
    kind: &str,
    by_document: Option<i64>,
    because: &str,
    by: &str,
) -> Result<(), Refused> {
    let added = sqlx::query(
        "insert into document_event (document_no, brand_no, kind, by_document, because, made_by) \
         values ($1, $2, $3, $4, $5, $6) \
         on conflict (document_no) where kind in ('voided', 'cancelled') do nothing",
    )
    .bind(document.document_no)
    .bind(document.brand_no)
    .bind(kind)
    .bind(by_document)
    .bind(because)
    .bind(by)
    .execute(&mut *connection)
    .await?;
    if added.rows_affected() == 0 {
        let name = document.name();
        return Err(Refused::State(format!("{name} is voided or cancelled already")));
    }
    sqlx::query(
        "with b as (insert into billed (document_no, brand_no, period_start, line_key, is_opposite, \
                quantity, receipts, amount) \
            select document_no, brand_no, period_start, line_key, true, -quantity, -receipts, -amount \
            from billed where document_no = $1 and not is_opposite) \
         update brand_billing set version = version + 1 where brand_no = $2",
    )
    .bind(document.document_no)
    .bind(document.brand_no)
    .execute(&mut *connection)
    .await?;
    Ok(())
}
