//! The receipts behind one line of a document: entries of its evidence that the line's charge takes, by the
//! plan version on the document. Nothing is stored for it; it follows from what is.

use billing::ids::Predicate;
use billing::line::LineKey;
use billing::plan::{Plan, UsageKind};
use chrono::NaiveDate;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::brands::{self, NumberedPredicate};
use super::ledger::CountedReceipt;
use super::reading::FOR_VALUES;
use super::{Error, plan_file};

/// Which entries are behind a line.
#[derive(Clone, Debug)]
pub struct Scope {
    of: Billed,
    kinds: Vec<Kind>,
}

/// The period that the line charges for, as its document has it.
#[derive(Clone, Debug, FromRow)]
struct Billed {
    line_key: String,
    brand_no: i32,
    period_start: NaiveDate,
    period_end: NaiveDate,
    after: i64,
    cutoff: i64,
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
    Ok(Some(Scope { of, kinds }))
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

/// The entries behind a line, by entry, after the entry `after`. What takes one back is among them.
///
/// # Errors
/// If the database is away.
pub async fn receipts(
    snapshot: &mut PgConnection,
    scope: &Scope,
    after: i64,
    limit: i64,
) -> Result<Vec<CountedReceipt>, Error> {
    let Scope { of: billed, kinds } = scope;
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let column = |what: fn(&Kind) -> bool| kinds.iter().map(what).collect::<Vec<_>>();
    Ok(sqlx::query_as(
        "select l.entry, l.epoch, l.sequence, l.source, b.brand_id, l.receipt_id, \
            q.name || '@' || q.version as predicate, l.supplier, l.product, l.result, \
            l.verified_at, l.expires_at, l.usage_day \
         from ledger l join unnest($1::int[], $2::bool[], $3::bool[], $4::bool[]) \
                as k (predicate_no, result, has_product, has_supplier) \
            on k.predicate_no = l.predicate_no and k.result = coalesce(l.result, true) \
            and k.has_product = (l.product is not null) \
            and k.has_supplier = (l.supplier is not null) \
         join brand b on b.brand_no = l.brand_no \
         join predicate q on q.predicate_no = l.predicate_no \
         where l.brand_no = $5 and l.usage_day >= $6 and l.usage_day < $7 \
            and l.entry > greatest($8, $9) and l.entry <= $10 order by l.entry limit $11",
    )
    .bind(kinds.iter().map(|kind| kind.predicate_no).collect::<Vec<_>>())
    .bind(column(|kind| kind.result))
    .bind(column(|kind| kind.has_product))
    .bind(column(|kind| kind.has_supplier))
    .bind(billed.brand_no)
    .bind(billed.period_start)
    .bind(billed.period_end)
    .bind(billed.after)
    .bind(after)
    .bind(billed.cutoff)
    .bind(limit)
    .fetch_all(snapshot)
    .await?)
}
