//! The receipts behind a document: the entries that its evidence is built over. And those behind one line of it: the
//! entries among them that the line's charge takes, by the plan version on the document. Nothing is stored for it; it
//! follows from what is.

use std::ops::Range;

use billing::ids::Predicate;
use billing::line::LineKey;
use billing::plan::{Plan, UsageKind};
use chrono::NaiveDate;
use futures_util::{Stream, TryStreamExt};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Postgres, QueryBuilder};

use super::brand_entries::Unsealed;
use super::brands::{self, NumberedPredicate};
use super::ledger::{COUNTED_RECEIPT, CountedReceipt};
use super::reading::FOR_VALUES;
use super::{Error, plan_file};

/// A period of a document, and between which entries the document takes what was counted in it.
#[derive(Clone, Debug, FromRow)]
struct Period {
    brand_no: i32,
    #[sqlx(rename = "period_start")]
    start: NaiveDate,
    /// The day after its last one.
    #[sqlx(rename = "period_end")]
    end: NaiveDate,
    after: i64,
    cutoff: i64,
}

/// Which entries are behind a line.
#[derive(Clone, Debug)]
pub struct Scope {
    period: Period,
    kinds: Vec<Kind>,
}

/// The period that a line charges for, as its document has it, and by which plan.
#[derive(FromRow)]
struct Billed {
    line_key: String,
    #[sqlx(flatten)]
    period: Period,
    plan_name: String,
    source: String,
}

/// Receipts that are alike to a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    predicate_no: i32,
    /// The billed result.
    result: bool,
    has_product: bool,
    has_supplier: bool,
}

/// The scope of a document's line; of the line that it credits, if it credits one. `None` if the document
/// has no such line.
///
/// # Errors
/// If the database is away, or the plan cannot be read.
pub async fn scope(
    snapshot: &mut PgConnection,
    document_no: i64,
    line: i32,
) -> Result<Option<Scope>, Error> {
    let statement = format!(
        "select o.line_key, p.brand_no, p.period_start, p.period_end, p.after, p.cutoff, \
            p.plan_name, v.source \
         from document_line l join document_line o \
            on o.document_no = coalesce(l.credits_document, l.document_no) \
            and o.line = coalesce(l.credits_line, l.line) \
         join document_period p on p.document_no = o.document_no \
            and p.period_start = o.period_start \
         join plan_version v on v.plan_name = p.plan_name and v.version = p.plan_version \
         cross join {FOR_VALUES} where l.document_no = $1 and l.line = $2"
    );
    let of: Option<Billed> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(document_no)
        .bind(line)
        .fetch_optional(&mut *snapshot)
        .await?;
    let Some(of) = of else { return Ok(None) };
    let kinds = match LineKey::parse(&of.line_key) {
        Some(LineKey::Charge(number)) => {
            let plan = plan_file::stored(&of.source).map_err(|error| {
                Error::Corrupt(format!("plan {} cannot be read: {error}", of.plan_name))
            })?;
            let predicates = brands::predicates(&mut *snapshot).await?;
            kinds(&plan, number, &predicates)
        }
        // A fee, a discount or a limit is for no receipt of its own.
        _ => Vec::new(),
    };
    Ok(Some(Scope { period: of.period, kinds }))
}

/// What the charge of this number takes: the first that fits takes a receipt, so the whole plan is asked.
fn kinds(plan: &Plan, number: u16, predicates: &[NumberedPredicate]) -> Vec<Kind> {
    const BOTH: [bool; 2] = [true, false];
    let mut found = Vec::new();
    for one in predicates {
        let Some(predicate) = Predicate::new(&one.name, &one.version) else { continue };
        for result in BOTH {
            for has_product in BOTH {
                for has_supplier in BOTH {
                    let kind = UsageKind { predicate, result, has_product, has_supplier };
                    if plan.charge_for(&kind) == Some(number) {
                        let predicate_no = one.predicate_no;
                        found.push(Kind { predicate_no, result, has_product, has_supplier });
                    }
                }
            }
        }
    }
    found
}

/// The entries that a document's evidence is built over, by entry, after the entry `after`. What takes one back is
/// among them. `unsealed` was lent before the snapshot was taken; without it what is not sealed is read whole.
///
/// # Errors
/// If the database is away.
pub async fn document(
    snapshot: &mut PgConnection,
    unsealed: Option<&Unsealed>,
    document_no: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<CountedReceipt>, Error> {
    let statement = format!(
        "select brand_no, period_start, period_end, after, cutoff from document_period, {FOR_VALUES} \
         where document_no = $1"
    );
    let periods: Vec<Period> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(document_no)
        .fetch_all(&mut *snapshot)
        .await?;
    let mut found: Vec<CountedReceipt> = Vec::new();
    for period in &periods {
        let page = Page { period, kinds: None, limit };
        found.extend(page.read(snapshot, unsealed, after).await?);
    }
    found.sort_unstable_by_key(|receipt| receipt.entry);
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

/// As [`document`], all of them, row by row as the database gives them.
pub fn all_of_document(
    connection: &mut PgConnection,
    document_no: i64,
    after: i64,
) -> impl Stream<Item = Result<CountedReceipt, Error>> + Unpin + Send {
    let statement = format!(
        "{COUNTED_RECEIPT} join document_period p on p.brand_no = l.brand_no \
            and l.usage_day >= p.period_start and l.usage_day < p.period_end \
            and l.entry > p.after and l.entry <= p.cutoff \
         where p.document_no = $1 and l.entry > $2 order by l.entry"
    );
    sqlx::query_as(AssertSqlSafe(statement))
        .bind(document_no)
        .bind(after)
        .fetch(connection)
        .map_err(Error::from)
}

/// The entries behind a line, by entry, after the entry `after`. What takes one back is among them. `unsealed` is as
/// for [`document`].
///
/// # Errors
/// If the database is away.
pub async fn line(
    snapshot: &mut PgConnection,
    unsealed: Option<&Unsealed>,
    scope: &Scope,
    after: i64,
    limit: i64,
) -> Result<Vec<CountedReceipt>, Error> {
    if scope.kinds.is_empty() {
        return Ok(Vec::new());
    }
    let page = Page { period: &scope.period, kinds: Some(&scope.kinds), limit };
    page.read(snapshot, unsealed, after).await
}

/// A page of the receipts of a period, by entry.
struct Page<'a> {
    period: &'a Period,
    /// Only receipts that are like one of these.
    kinds: Option<&'a [Kind]>,
    limit: i64,
}

/// Where a part of a page is read. Bounds are values, so that only the segments between them are looked at.
struct Part {
    /// After this entry.
    after: i64,
    /// Up to this one.
    until: i64,
    /// Among these, and what corrections have added.
    entries: Option<Vec<i64>>,
}

impl Page<'_> {
    /// Sealed segments are read by the index of the brand. Of those that are not, the engine knows which entries are
    /// the brand's; they are looked up until the page is full, and what it does not know of is gone through.
    async fn read(
        &self,
        snapshot: &mut PgConnection,
        unsealed: Option<&Unsealed>,
        after: i64,
    ) -> Result<Vec<CountedReceipt>, Error> {
        let Period { after: begin, cutoff, .. } = *self.period;
        let (mut found, mut after) = (Vec::new(), begin.max(after));
        if let Some(unsealed) = unsealed {
            let until = (unsealed.bounds.sealed_until - 1).min(cutoff);
            self.add(&mut found, snapshot, Part { after, until, entries: None }).await?;
            after = after.max(until);
            let until = (unsealed.bounds.unknown_from - 1).min(cutoff);
            self.look_up(&mut found, snapshot, unsealed, after..until).await?;
            after = after.max(until);
        }
        self.add(&mut found, snapshot, Part { after, until: cutoff, entries: None }).await?;
        Ok(found)
    }

    /// Looks the brand's entries up after the range's start and up to its end, more of them each time. Where they are
    /// close together, going through what is between them takes no longer.
    async fn look_up(
        &self,
        found: &mut Vec<CountedReceipt>,
        snapshot: &mut PgConnection,
        unsealed: &Unsealed,
        Range { start: mut after, end: until }: Range<i64>,
    ) -> Result<(), Error> {
        const ENTRIES_MAX: usize = 65_536;
        /// A row that is looked up is taken to cost as much as so many that are gone through.
        const APART: i64 = 4;
        let mut looked_up = usize::try_from(self.limit).unwrap_or(ENTRIES_MAX).min(ENTRIES_MAX);
        while after < until && self.missing(found) > 0 {
            let entries = unsealed.of_brand(self.period.brand_no, after, until, looked_up);
            // Fewer than were asked for are all that there are.
            let last = if entries.len() < looked_up { until } else { entries[looked_up - 1] };
            let is_sparse = i64::try_from(entries.len()).is_ok_and(|n| n * APART < last - after);
            let part = Part { after, until: last, entries: is_sparse.then_some(entries) };
            self.add(found, snapshot, part).await?;
            (after, looked_up) = (last, (looked_up * 4).min(ENTRIES_MAX));
        }
        Ok(())
    }

    /// Rows that the page still wants.
    fn missing(&self, found: &[CountedReceipt]) -> i64 {
        self.limit - i64::try_from(found.len()).unwrap_or(i64::MAX)
    }

    /// Adds what a part has, as far as it is missing.
    async fn add(
        &self,
        found: &mut Vec<CountedReceipt>,
        snapshot: &mut PgConnection,
        part: Part,
    ) -> Result<(), Error> {
        let missing = self.missing(found);
        if part.after < part.until && missing > 0 {
            found.extend(self.rows(snapshot, &part, missing).await?);
        }
        Ok(())
    }

    async fn rows(
        &self,
        snapshot: &mut PgConnection,
        part: &Part,
        limit: i64,
    ) -> Result<Vec<CountedReceipt>, Error> {
        let Period { brand_no, start, end, .. } = *self.period;
        let mut query = QueryBuilder::new(COUNTED_RECEIPT);
        if let Some(kinds) = self.kinds {
            push_kinds(&mut query, kinds);
        }
        query.push(" where l.brand_no = ").push_bind(brand_no);
        query.push(" and l.usage_day >= ").push_bind(start);
        query.push(" and l.usage_day < ").push_bind(end);
        query.push(" and l.entry > ").push_bind(part.after);
        query.push(" and l.entry <= ").push_bind(part.until);
        if let Some(entries) = &part.entries {
            query.push(" and l.entry = any(array(select unnest(").push_bind(entries);
            query.push("::bigint[]) union all select entry from correction where brand_no = ");
            query.push_bind(brand_no).push(" and entry > ").push_bind(part.after);
            query.push(" and entry <= ").push_bind(part.until).push("))");
        }
        query.push(" order by l.entry limit ").push_bind(limit);
        Ok(query.build_query_as().fetch_all(snapshot).await?)
    }
}

fn push_kinds(query: &mut QueryBuilder<Postgres>, kinds: &[Kind]) {
    let column = |what: fn(&Kind) -> bool| kinds.iter().map(what).collect::<Vec<_>>();
    let numbers: Vec<i32> = kinds.iter().map(|kind| kind.predicate_no).collect();
    query.push(" join unnest(").push_bind(numbers);
    query.push(", ").push_bind(column(|kind| kind.result));
    query.push(", ").push_bind(column(|kind| kind.has_product));
    query.push(", ").push_bind(column(|kind| kind.has_supplier));
    query.push(
        ") as k (predicate_no, result, has_product, has_supplier) \
         on k.predicate_no = l.predicate_no and k.result = coalesce(l.result, true) \
            and k.has_product = (l.product is not null) \
            and k.has_supplier = (l.supplier is not null)",
    );
}
