//! What happens to a document that stays: it is sent, paid, or no longer expected to be paid. Each looks at
//! the document again under its brand's lock, so that none happens to one that is being taken back.

use billing::money::Money;
use billing::numbering;
use chrono::{DateTime, Months, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};

use super::{Refused, lock_one};
use crate::store::documents::{self, Listed, Payment};
use crate::store::due::{Issuer, issuer_at};
use crate::store::{Error, change};

/// How long before its invoice something can be paid.
const AHEAD_MAX: Months = Months::new(12);

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
    let mut transaction = change::begin(pool).await?;
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
    let mut transaction = change::begin(pool).await?;
    let now = locked(&mut transaction, document).await?;
    if !now.has_due()? {
        return Err(Refused::State(format!("nothing is due of {}", now.name())));
    }
    let is_new = add(&mut transaction, &now, "written_off", Some(because), by).await?;
    transaction.commit().await?;
    Ok(is_new)
}

/// A payment as it is told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Below zero: paid back.
    pub amount: Decimal,
    pub paid_on: NaiveDate,
    /// The bank's.
    pub reference: &'a str,
    /// Whether more than is owed may be paid with it.
    pub overpaid: bool,
}

/// Records a payment. A payment of the same reference is recorded once: the answer is the recorded one, and
/// whether it is new.
///
/// # Errors
/// If the document is not paid for, the amount is none of its currency, the day is none on which it can have
/// been paid, more would be paid than is owed without being said on purpose, or paid back than was paid,
/// another payment has the reference, or the database is away.
pub async fn pay(
    pool: &PgPool,
    issuers: &[Issuer],
    document: &Listed,
    told: Told<'_>,
    now: DateTime<Utc>,
    by: &str,
) -> Result<(Payment, bool), Refused> {
    let mut transaction = change::begin(pool).await?;
    let of = locked(&mut transaction, document).await?;
    if !of.may_be_paid() {
        let name = of.name();
        return Err(Refused::State(format!("{name} is not an invoice that is paid")));
    }
    let Told { paid_on, reference, .. } = told;
    let money = of.money(told.amount)?;
    if let Some(known) = documents::payment(&mut *transaction, of.document_no, reference).await? {
        if (known.amount, known.paid_on) == (money.amount(), paid_on) {
            return Ok((known, false));
        }
        return Err(Refused::State(format!(
            "a payment of reference {reference} is recorded already: {} on {}",
            known.amount, known.paid_on
        )));
    }
    let zone = issuer_at(issuers, now).map(|issuer| issuer.zone);
    let today = zone.map_or(now.date_naive(), |zone| numbering::issue_date(now, zone, None));
    check_day(&of, paid_on, today)?;
    check_sum(&of, money, told.overpaid)?;
    let payment = sqlx::query_as(
        "insert into payment (document_no, brand_no, amount, paid_on, reference, is_overpaid, made_by) \
         values ($1, $2, $3, $4, $5, $6, $7) \
         returning payment_no, amount, paid_on, reference, made_at, made_by",
    )
    .bind(of.document_no)
    .bind(of.brand_no)
    .bind(money.amount())
    .bind(paid_on)
    .bind(reference)
    .bind(told.overpaid)
    .bind(by)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok((payment, true))
}

/// A payment is of today or before, since reports of a day count those of up to that day; and it may be made
/// ahead of the invoice, but not by more than a year, which is a slip of the pen.
fn check_day(of: &Listed, paid_on: NaiveDate, today: NaiveDate) -> Result<(), Refused> {
    if paid_on > today {
        let text = format!("{paid_on} lies after today, which is {today} where the issuer is");
        return Err(Refused::State(text));
    }
    let first = of.issue_date.checked_sub_months(AHEAD_MAX).unwrap_or(NaiveDate::MIN);
    if paid_on < first {
        let (name, issued) = (of.name(), of.issue_date);
        return Err(Refused::State(format!(
            "{paid_on} lies more than a year before {name} was issued, which was on {issued}: \
             its payments are of {first} or later"
        )));
    }
    Ok(())
}

/// The sum that is paid stays between nothing and what is owed, which is the total less what was credited, unless
/// more is meant. Of a cancelled invoice nothing is owed.
fn check_sum(of: &Listed, money: Money, overpaid: bool) -> Result<(), Refused> {
    let too_large = |_| Refused::State(format!("{money} is more than can be counted"));
    let (name, balance) = (of.name(), of.balance()?);
    let before = balance.paid;
    let owed = balance.total.minus(balance.credited).map_err(too_large)?;
    let after = before.plus(money).map_err(too_large)?;
    // The balance is read with it from now on.
    owed.minus(after).map_err(too_large)?;
    if money.is_negative() && after.is_negative() {
        let back = money.opposite();
        let text = format!("{back} would be paid back, and {before} of {name} was paid");
        return Err(Refused::State(text));
    }
    if !money.is_negative() && !overpaid && after.amount() > owed.amount() {
        return Err(Refused::State(format!(
            "{after} of {name} would be paid, and {owed} is owed: say that it is overpaid if it is"
        )));
    }
    Ok(())
}

/// The document as it stands while its brand is locked.
async fn locked(connection: &mut PgConnection, document: &Listed) -> Result<Listed, Refused> {
    lock_one(connection, document.brand_no).await?;
    let found = documents::find(&mut *connection, &document.name(), None).await?;
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
