//! Where entries of the ledger are billed: on which line of which document, by the plan version on it, or why on
//! none. Nothing is stored for it; it follows from what is, as what is behind a line does.

use billing::ids::Predicate;
use billing::line::LineKey;
use billing::plan::UsageKind;
use chrono::NaiveDate;
use sqlx::{FromRow, PgConnection};

use super::{Error, plan_file};

/// A document whose evidence has an entry.
#[derive(Clone, Debug)]
pub struct OnDocument {
    pub entry: i64,
    pub document_no: i64,
    pub number: Option<String>,
    /// `finalized`, `voided` or `cancelled`.
    pub state: String,
    pub period_start: NaiveDate,
    pub period_end: NaiveDate,
    /// What takes the entry; `None` if no charge of the plan does.
    pub charge: Option<LineKey>,
    /// The charge's line; `None` if the document has none, since nothing is charged.
    pub line: Option<i32>,
    pub label: Option<String>,
}

/// The period of a document that has an entry, and what a plan tells entries by.
#[derive(Debug, FromRow)]
struct Found {
    entry: i64,
    document_no: i64,
    number: Option<String>,
    state: String,
    period_start: NaiveDate,
    period_end: NaiveDate,
    name: String,
    version: String,
    result: bool,
    has_product: bool,
    has_supplier: bool,
    plan_name: String,
    source: String,
    /// Of the lines that charge for something: what for, their numbers and their labels.
    line_keys: Vec<String>,
    lines: Vec<i32>,
    labels: Vec<String>,
}

impl Found {
    /// The charge of the plan on the document that takes the entry.
    fn charge(&self) -> Result<Option<LineKey>, Error> {
        let plan = plan_file::stored(&self.source).map_err(|error| {
            Error::Corrupt(format!("plan {} cannot be read: {error}", self.plan_name))
        })?;
        let predicate = Predicate::new(&self.name, &self.version);
        let charge = predicate.and_then(|predicate| {
            plan.charge_for(&UsageKind {
                predicate,
                result: self.result,
                has_product: self.has_product,
                has_supplier: self.has_supplier,
            })
        });
        Ok(charge.map(LineKey::Charge))
    }

    fn on_line(mut self) -> Result<OnDocument, Error> {
        let charge = self.charge()?;
        let key = charge.map(|charge| charge.to_string());
        let place = self.line_keys.iter().position(|line_key| Some(line_key) == key.as_ref());
        Ok(OnDocument {
            charge,
            line: place.map(|place| self.lines[place]),
            label: place.map(|place| self.labels.swap_remove(place)),
            entry: self.entry,
            document_no: self.document_no,
            number: self.number,
            state: self.state,
            period_start: self.period_start,
            period_end: self.period_end,
        })
    }
}

/// The documents whose evidence has one of `entries`, with the line that it is on, by entry, newest first.
///
/// # Errors
/// If the database is away, or a plan cannot be read.
pub async fn documents(
    snapshot: &mut PgConnection,
    entries: &[i64],
) -> Result<Vec<OnDocument>, Error> {
    let found: Vec<Found> = sqlx::query_as(
        "select l.entry, d.document_no, d.number, d.state, p.period_start, p.period_end, q.name, \
            q.version, coalesce(l.result, true) as result, l.product is not null as has_product, \
            l.supplier is not null as has_supplier, p.plan_name, v.source, \
            c.line_keys, c.lines, c.labels \
         from ledger l join document_period p on p.brand_no = l.brand_no \
            and p.period_start <= l.usage_day and l.usage_day < p.period_end \
            and p.after < l.entry and l.entry <= p.cutoff \
         join document_now d using (document_no) \
         join predicate q on q.predicate_no = l.predicate_no \
         join plan_version v on v.plan_name = p.plan_name and v.version = p.plan_version \
         cross join lateral ( \
            select coalesce(array_agg(line_key), '{}') as line_keys, \
                coalesce(array_agg(line), '{}') as lines, coalesce(array_agg(label), '{}') as labels \
            from document_line n where n.document_no = d.document_no \
                and n.period_start = p.period_start and n.line_key like 'charge:%') c \
         where l.entry = any($1) order by l.entry, d.document_no desc",
    )
    .bind(entries)
    .fetch_all(snapshot)
    .await?;
    found.into_iter().map(Found::on_line).collect()
}

/// An entry that no document bills which stands.
#[derive(Clone, Debug, FromRow)]
pub struct Unbilled {
    pub entry: i64,
    /// `not_invoiced`, if its day has a plan; `waived`; or `no_plan`.
    pub because: String,
}

/// Those of `entries` that are in the evidence of no document that stands, and why; by entry.
///
/// # Errors
/// If the database is away.
pub async fn unbilled(
    snapshot: &mut PgConnection,
    entries: &[i64],
) -> Result<Vec<Unbilled>, Error> {
    Ok(sqlx::query_as(
        "select l.entry, case \
            when exists (select from assignment_now a where a.brand_no = l.brand_no \
                and a.from_day <= l.usage_day \
                and (a.until_day is null or l.usage_day < a.until_day)) then 'not_invoiced' \
            when exists (select from waiver_now w where w.brand_no = l.brand_no \
                and w.from_day <= l.usage_day and l.usage_day < w.until_day) then 'waived' \
            else 'no_plan' end as because \
         from ledger l where l.entry = any($1) and not exists ( \
            select from document_period p join document_now d using (document_no) \
            where p.brand_no = l.brand_no and p.period_start <= l.usage_day \
                and l.usage_day < p.period_end and p.after < l.entry and l.entry <= p.cutoff \
                and d.state = 'finalized') \
         order by l.entry",
    )
    .bind(entries)
    .fetch_all(snapshot)
    .await?)
}
