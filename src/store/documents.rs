//! Documents that were issued, and what became of them: read and listed.

use billing::currency::Currency;
use billing::document::Document;
use billing::money::Money;
use billing::payment::{self, Balance};
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, FromRow, PgExecutor};

use super::Error;
use super::issue::Refused;

/// A document as it is listed.
#[derive(Clone, Debug, FromRow)]
pub struct Listed {
    pub document_no: i64,
    pub brand_no: i32,
    pub brand_id: String,
    pub kind: String,
    pub cause: String,
    pub number: Option<String>,
    /// `finalized`, `voided` or `cancelled`.
    pub state: String,
    pub is_delivered: bool,
    /// Of the regular invoice that it is, if it is one.
    pub period_start: Option<NaiveDate>,
    pub period_end: Option<NaiveDate>,
    pub currency: String,
    pub issue_date: NaiveDate,
    pub due_date: Option<NaiveDate>,
    pub net_total: Decimal,
    pub tax_total: Decimal,
    pub total: Decimal,
    pub finalized_at: DateTime<Utc>,
    pub finalized_by: String,
    credits: Vec<Decimal>,
    payments: Vec<Decimal>,
    is_written_off: bool,
    /// Whether what it credits is cancelled, to which it belongs then.
    credits_cancelled: bool,
}

/// What can be done to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Void,
    Cancel,
    MarkSent,
    Credit,
    Pay,
    WriteOff,
}

impl Action {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Void => "void",
            Action::Cancel => "cancel",
            Action::MarkSent => "mark_sent",
            Action::Credit => "credit",
            Action::Pay => "pay",
            Action::WriteOff => "write_off",
        }
    }
}

/// What is still to be paid of documents that are owed: the states of [`Balance`], and some together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    Unpaid,
    PartlyPaid,
    Paid,
    WrittenOff,
    /// Unpaid or partly paid.
    Open,
    /// Open after the due date.
    Overdue,
}

impl Owed {
    pub const ALL: [Self; 6] =
        [Self::Unpaid, Self::PartlyPaid, Self::Paid, Self::WrittenOff, Self::Open, Self::Overdue];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Owed::Unpaid => "unpaid",
            Owed::PartlyPaid => "partly_paid",
            Owed::Paid => "paid",
            Owed::WrittenOff => "written_off",
            Owed::Open => "open",
            Owed::Overdue => "overdue",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// Which documents are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub brand_no: Option<i32>,
    pub state: Option<String>,
    /// Credit notes; if false, invoices and adjustments. `None` for all.
    pub credit_notes: Option<bool>,
    /// Regular invoices of periods that have this day.
    pub day: Option<NaiveDate>,
    /// Regular invoices of the period with this first day.
    pub period_start: Option<NaiveDate>,
    pub currency: Option<String>,
    /// First issue date.
    pub issued_from: Option<NaiveDate>,
    /// The day after the last issue date.
    pub issued_until: Option<NaiveDate>,
    /// What is owed and stands so, today being the day.
    pub owed: Option<(Owed, NaiveDate)>,
    /// Older ones than this.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

impl Listed {
    /// What is still to be paid of it.
    ///
    /// # Errors
    /// If its amounts cannot be read.
    pub fn balance(&self) -> Result<Balance, Error> {
        let corrupt = || Error::Corrupt(format!("amounts of document {}", self.document_no));
        let currency = Currency::from_code(&self.currency).ok_or_else(corrupt)?;
        let money = |amount: &Decimal| Money::new(*amount, currency).ok_or_else(corrupt);
        let all = |amounts: &[Decimal]| amounts.iter().map(money).collect::<Result<Vec<_>, _>>();
        let (credits, payments) = (all(&self.credits)?, all(&self.payments)?);
        payment::balance(money(&self.total)?, &credits, &payments, self.is_written_off)
            .map_err(|_| corrupt())
    }

    /// An amount in its currency; not zero.
    ///
    /// # Errors
    /// If it is not in whole minor units.
    pub fn money(&self, amount: Decimal) -> Result<Money, Refused> {
        let currency = Currency::from_code(&self.currency);
        let money = currency.and_then(|currency| {
            let mut exact = amount;
            exact.rescale(currency.minor_units());
            if exact == amount { Money::new(exact, currency) } else { None }
        });
        money.filter(|money| !money.is_zero()).ok_or_else(|| {
            let code = &self.currency;
            let text = format!("{amount} is not an amount of {code} in whole minor units");
            Refused::Amount(text)
        })
    }

    /// Whether anybody owes it: what was taken back is owed by nobody, and a credit note is not paid.
    pub fn is_owed(&self) -> bool {
        self.state == "finalized" && self.kind != "credit_note"
    }

    /// Whether it has a balance: what is owed of it or, where more was paid than is owed, to be paid back. Of a
    /// cancelled one nothing is owed, and all that was paid is to be paid back.
    pub fn has_balance(&self) -> bool {
        self.may_be_paid()
    }

    /// Whether something of it is still to be paid.
    ///
    /// # Errors
    /// As [`Self::balance`].
    pub fn has_due(&self) -> Result<bool, Error> {
        let due = self.balance()?.due;
        Ok(self.is_owed() && !due.is_zero() && !due.is_negative())
    }

    /// Whether payments of it are recorded: those of cancelled ones too, since they are paid back.
    pub fn may_be_paid(&self) -> bool {
        self.kind != "credit_note" && self.state != "voided"
    }

    /// What may be done to it as it stands. What is not here is refused, or changes nothing.
    ///
    /// # Errors
    /// As [`Self::balance`].
    pub fn actions(&self) -> Result<Vec<Action>, Error> {
        let balance = self.balance()?;
        let stands = self.state == "finalized";
        let is_invoice = self.kind != "credit_note";
        let is_untouched = self.credits.is_empty() && self.payments.is_empty();
        let has_rest = balance.credited != balance.total;
        // A note that cancels an invoice stands as long as the cancellation, and so do those before it.
        let is_free = self.cause != "cancel" && !self.credits_cancelled;
        let may = [
            (Action::Void, stands && !self.is_delivered && is_untouched && is_free),
            (Action::Cancel, stands && is_invoice && self.number.is_some()),
            (Action::MarkSent, self.state != "voided" && !self.is_delivered),
            (Action::Credit, stands && is_invoice && self.number.is_some() && has_rest),
            (Action::Pay, self.may_be_paid()),
            (Action::WriteOff, self.has_due()? && !self.is_written_off),
        ];
        Ok(may.into_iter().filter_map(|(action, may)| may.then_some(action)).collect())
    }

    /// How people call it.
    pub fn name(&self) -> String {
        self.number.clone().unwrap_or_else(|| self.document_no.to_string())
    }
}

/// What is listed of a document `d`. Sums are made of its payments and credit notes only where what is owed is asked
/// for.
const LISTED: &str = "select d.document_no, d.brand_no, b.brand_id, d.kind, d.cause, d.number, d.state, \
        d.is_delivered, p.period_start, p.period_end, d.currency, d.issue_date, d.due_date, \
        d.net_total, d.tax_total, d.total, d.finalized_at, d.finalized_by, \
        s.credits, s.payments, s.is_written_off, \
        exists (select from document_line l join document_event e \
            on e.document_no = l.credits_document and e.kind = 'cancelled' \
            where l.document_no = d.document_no) as credits_cancelled \
     from document_now d join brand b using (brand_no) \
     left join document_period p on p.document_no = d.document_no and p.is_regular \
     cross join lateral (select \
        array(select c.total from (select distinct l.document_no from document_line l \
                where l.credits_document = d.document_no) n join document c using (document_no) \
            where not exists (select from document_event e where e.document_no = n.document_no \
                and e.kind in ('voided', 'cancelled'))) as credits, \
        array(select amount from payment y where y.document_no = d.document_no) as payments, \
        exists (select from document_event e where e.document_no = d.document_no \
            and e.kind = 'written_off') as is_written_off) s";

/// Pages are read from the newest down, so a filter that few documents pass reads on until it has found enough.
const FILTER: &str = "($1::int is null or d.brand_no = $1) and ($2::text is null or d.state = $2) \
        and ($3::bool is null or (d.kind = 'credit_note') = $3) \
        and ($4::date is null or (p.period_start <= $4 and $4 < p.period_end)) \
        and ($5::bigint is null or d.document_no < $5) \
        and ($7::date is null or p.period_start = $7) and ($8::text is null or d.currency = $8) \
        and ($9::date is null or d.issue_date >= $9) \
        and ($10::date is null or d.issue_date < $10) \
        and ($11::text is null or ( \
            d.state = 'finalized' and d.kind <> 'credit_note' and exists (select from ( \
                select d.total - paid - credited as due, paid from \
                    (select coalesce(sum(amount), 0) as paid from unnest(s.payments) y (amount)) y, \
                    (select coalesce(sum(amount), 0) as credited from unnest(s.credits) c (amount)) c \
                ) m where case $11 \
                    when 'paid' then m.due <= 0 \
                    when 'written_off' then m.due > 0 and s.is_written_off \
                    else m.due > 0 and not s.is_written_off and case $11 \
                        when 'unpaid' then m.paid <= 0 \
                        when 'partly_paid' then m.paid > 0 \
                        when 'overdue' then d.due_date < $12::date \
                        else true end end))) \
     order by d.document_no desc limit $6";

/// The row of the document that is called $1: two look-ups by an index, however many documents there are.
pub(super) const NAMED: &str = "(select document_no from document where number = $1 \
    union all select document_no from document where number is null \
        and document_no = case when $1 ~ '^[1-9][0-9]{0,17}$' then $1::bigint end)";

/// The documents that `filter` names, newest first.
///
/// # Errors
/// If the database is away.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<Vec<Listed>, Error> {
    Ok(sqlx::query_as(AssertSqlSafe(format!("{LISTED} where {FILTER}")))
        .bind(filter.brand_no)
        .bind(&filter.state)
        .bind(filter.credit_notes)
        .bind(filter.day)
        .bind(filter.before)
        .bind(filter.limit)
        .bind(filter.period_start)
        .bind(&filter.currency)
        .bind(filter.issued_from)
        .bind(filter.issued_until)
        .bind(filter.owed.map(|(owed, _)| owed.as_str()))
        .bind(filter.owed.map(|(_, today)| today))
        .fetch_all(executor)
        .await?)
}

/// The document of this name: its number, or the number of its row if it has none. Of one brand, if it is said.
///
/// # Errors
/// If the database is away.
pub async fn find(
    executor: impl PgExecutor<'_>,
    name: &str,
    brand_no: Option<i32>,
) -> Result<Option<Listed>, Error> {
    let statement =
        format!("{LISTED} where d.document_no = {NAMED} and ($2::int is null or d.brand_no = $2)");
    Ok(sqlx::query_as(AssertSqlSafe(statement))
        .bind(name)
        .bind(brand_no)
        .fetch_optional(executor)
        .await?)
}

/// The canonical bytes of a document.
///
/// # Errors
/// If the database is away.
pub async fn body(executor: impl PgExecutor<'_>, document_no: i64) -> Result<Vec<u8>, Error> {
    Ok(sqlx::query_scalar("select body from document where document_no = $1")
        .bind(document_no)
        .fetch_one(executor)
        .await?)
}

/// Reads a document from its bytes.
///
/// # Errors
/// If they are not canonical.
pub fn read(body: &[u8]) -> Result<Document, Error> {
    Document::read(body).map_err(|error| Error::Corrupt(format!("a document: {error}")))
}

/// The credit notes of a document that stand.
///
/// # Errors
/// If the database is away, or one cannot be read.
pub async fn credits_of(
    executor: impl PgExecutor<'_>,
    document_no: i64,
) -> Result<Vec<Document>, Error> {
    let bodies: Vec<Vec<u8>> = sqlx::query_scalar(
        "select d.body from document_now d where d.state = 'finalized' and d.document_no in ( \
            select l.document_no from document_line l where l.credits_document = $1) \
         order by d.document_no",
    )
    .bind(document_no)
    .fetch_all(executor)
    .await?;
    bodies.iter().map(|body| read(body)).collect()
}

/// Something that happened to a document.
#[derive(Clone, Debug, FromRow)]
pub struct Event {
    /// 0, or 1 for payments, which are numbered by themselves; and its number.
    pub source: i32,
    pub no: i64,
    pub kind: String,
    pub because: Option<String>,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
}

/// What happened to a document, payments included, oldest first: at most `limit`, after the event of this
/// source and number.
///
/// # Errors
/// If the database is away.
pub async fn events(
    executor: impl PgExecutor<'_>,
    document_no: i64,
    after: Option<(i32, i64)>,
    limit: i64,
) -> Result<Vec<Event>, Error> {
    Ok(sqlx::query_as(
        "with happened as ( \
            select 0 as source, event_no as no, kind, because, made_at, made_by \
            from document_event where document_no = $1 \
            union all \
            select 1, payment_no, 'payment', amount || ' on ' || paid_on || ', ' || reference, \
                made_at, made_by from payment where document_no = $1) \
         select * from happened h where $2::int is null or (h.made_at, h.source, h.no) > ( \
            select made_at, source, no from happened where source = $2 and no = $3) \
         order by made_at, source, no limit $4",
    )
    .bind(document_no)
    .bind(after.map(|(source, _)| source))
    .bind(after.map(|(_, no)| no))
    .bind(limit)
    .fetch_all(executor)
    .await?)
}

/// A payment that was recorded.
#[derive(Clone, Debug, FromRow)]
pub struct Payment {
    pub payment_no: i64,
    /// Below zero: paid back.
    pub amount: Decimal,
    pub paid_on: NaiveDate,
    pub reference: String,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
}

/// The payments of a document after the payment `after`, by number.
///
/// # Errors
/// If the database is away.
pub async fn payments(
    executor: impl PgExecutor<'_>,
    document_no: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<Payment>, Error> {
    Ok(sqlx::query_as(
        "select payment_no, amount, paid_on, reference, made_at, made_by from payment \
         where document_no = $1 and payment_no > $2 order by payment_no limit $3",
    )
    .bind(document_no)
    .bind(after)
    .bind(limit)
    .fetch_all(executor)
    .await?)
}

/// The payment of a reference, if it is recorded.
pub(super) async fn payment(
    executor: impl PgExecutor<'_>,
    document_no: i64,
    reference: &str,
) -> Result<Option<Payment>, Error> {
    Ok(sqlx::query_as(
        "select payment_no, amount, paid_on, reference, made_at, made_by from payment \
         where document_no = $1 and reference = $2",
    )
    .bind(document_no)
    .bind(reference)
    .fetch_optional(executor)
    .await?)
}

/// A period with an invoice that stands.
#[derive(Clone, Debug, FromRow)]
pub struct InvoicedPeriod {
    pub brand_id: String,
    pub period_start: NaiveDate,
    pub period_end: NaiveDate,
    pub document_no: i64,
    pub number: Option<String>,
    pub currency: String,
    pub net_total: Decimal,
    pub total: Decimal,
}

/// Periods that are invoiced, by brand and first day, after this one: of one brand or of all, and only
/// those with a day, if it is said.
///
/// # Errors
/// If the database is away.
pub async fn invoiced(
    executor: impl PgExecutor<'_>,
    brand_no: Option<i32>,
    day: Option<NaiveDate>,
    after: Option<(&str, NaiveDate)>,
    limit: i64,
) -> Result<Vec<InvoicedPeriod>, Error> {
    Ok(sqlx::query_as(
        "select b.brand_id, s.period_start, s.period_end, s.document_no, d.number, d.currency, \
            d.net_total, d.total \
         from standing_invoice s join brand b using (brand_no) join document d using (document_no) \
         where ($1::int is null or s.brand_no = $1) \
            and ($2::date is null or (s.period_start <= $2 and $2 < s.period_end)) \
            and ($3::text is null or (b.brand_id collate \"C\", s.period_start) > ($3, $4)) \
         order by b.brand_id collate \"C\", s.period_start limit $5",
    )
    .bind(brand_no)
    .bind(day)
    .bind(after.map(|(brand, _)| brand))
    .bind(after.map(|(_, start)| start))
    .bind(limit)
    .fetch_all(executor)
    .await?)
}
