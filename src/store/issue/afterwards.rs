//! What happens to a document that stays: it is sent, paid, or no longer expected to be paid. Each looks at
//! the document again under its brand's lock, so that none happens to one that is being taken back.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};

use super::{Refused, begin, lock_one};
use crate::store::Error;
use crate::store::documents::{self, Listed, Payment};

/// Notes that a document was delivered. False if that is noted already.
///
/// # Errors
/// If it is voided, or the database is away.
pub async fn mark_sent(
    pool: &PgPool,
    document: &Listed,
    note: Option<&str>,
    by: &str,
) -> Result<bool, Refused> {
    let mut transaction = begin(pool).await?;
    let now = locked(&mut transaction, document).await?;
    if now.state == "voided" {
        return Err(Refused::State(format!("{} is voided", now.name())));
    }
    let is_new = add(&mut transaction, &now, "sent", note, by).await?;
    transaction.commit().await?;
    Ok(is_new)
}

/// Notes that what is due of an invoice is no longer expected. False if that is noted already.
///
/// # Errors
/// If nothing is due of it, or the database is away.
pub async fn write_off(
    pool: &PgPool,
    document: &Listed,
    because: &str,
    by: &str,
) -> Result<bool, Refused> {
    let mut transaction = begin(pool).await?;
    let now = locked(&mut transaction, document).await?;
    if !now.has_due()? {
        return Err(Refused::State(format!("nothing is due of {}", now.name())));
    }
    let is_new = add(&mut transaction, &now, "written_off", Some(because), by).await?;
    transaction.commit().await?;
    Ok(is_new)
}

/// Records a payment; below zero it is what was paid back. A payment of the same reference is recorded
/// once: the answer is the recorded one, and whether it is new.
///
/// # Errors
/// If the document is not paid for, the amount is none of its currency, another payment has the reference,
/// or the database is away.
pub async fn pay(
    pool: &PgPool,
    document: &Listed,
    amount: Decimal,
    paid_on: NaiveDate,
    reference: &str,
    by: &str,
) -> Result<(Payment, bool), Refused> {
    let mut transaction = begin(pool).await?;
    let now = locked(&mut transaction, document).await?;
    let name = now.name();
    if !now.may_be_paid() {
        return Err(Refused::State(format!("{name} is not an invoice that is paid")));
    }
    let money = now.money(amount)?;
    let added = sqlx::query(
        "insert into payment (document_no, brand_no, amount, paid_on, reference, made_by) \
         values ($1, $2, $3, $4, $5, $6) on conflict (document_no, reference) do nothing",
    )
    .bind(now.document_no)
    .bind(now.brand_no)
    .bind(money.amount())
    .bind(paid_on)
    .bind(reference)
    .bind(by)
    .execute(&mut *transaction)
    .await?;
    let payment = documents::payment(&mut *transaction, now.document_no, reference).await?;
    if (payment.amount, payment.paid_on) != (money.amount(), paid_on) {
        let (of, on) = (payment.amount, payment.paid_on);
        return Err(Refused::State(format!(
            "a payment of reference {reference} is recorded already: {of} on {on}"
        )));
    }
    transaction.commit().await?;
    Ok((payment, added.rows_affected() == 1))
}

/// The document as it stands while its brand is locked.
async fn locked(connection: &mut PgConnection, document: &Listed) -> Result<Listed, Refused> {
    lock_one(connection, document.brand_no).await?;
    let found = documents::find(&mut *connection, &document.name()).await?;
    found.ok_or_else(|| Error::Corrupt(format!("document {} is gone", document.name())).into())
}

async fn add(
    connection: &mut PgConnection,
    document: &Listed,
    kind: &str,
    because: Option<&str>,
    by: &str,
) -> Result<bool, Refused> {
    let done = sqlx::query(
        "insert into document_event (document_no, brand_no, kind, because, made_by) \
         select $1, $2, $3, $4, $5 where not exists ( \
            select from document_event where document_no = $1 and kind = $3)",
    )
    .bind(document.document_no)
    .bind(document.brand_no)
    .bind(kind)
    .bind(because)
    .bind(by)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
