//! All rows of documents of different brands, in one statement.

use std::collections::BTreeMap;

use billing::document::{Cause, Document, DocumentLine, Kind, PeriodEvidence, TaxGroup};
use billing::hash::Hash;
use sqlx::PgConnection;

use super::{Numbered, Refused};

/// Rows of a document carry its brand, of which there is one document, and so find the number of its row.
const INSERT: &str = "\
    with d as ( \
        insert into document (brand_no, kind, cause, number, chain, previous_hash, body, hash, \
            currency, issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, \
            billing_version, finalized_by) \
        select u.brand_no, u.kind, u.cause, u.number, u.chain, u.previous_hash, u.body, \
            u.hash, u.currency, u.issue_date, u.tax_point, u.due_date, u.net_total, \
            u.tax_total, u.total, u.cutoff, u.billing_version, $17 \
        from unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::int[], $6::bytea[], \
            $7::bytea[], $8::text[], $9::date[], $10::date[], $11::date[], $12::numeric[], \
            $13::numeric[], $14::numeric[], $15::bigint[], $16::bigint[], $52::bytea[]) \
            with ordinality as u (brand_no, kind, cause, number, chain, previous_hash, body, currency, \
            issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, billing_version, hash, \
            n) \
        order by u.n returning document_no, brand_no), \
    p as ( \
        insert into document_period (document_no, brand_no, period_start, period_end, whole_start, \
            whole_end, plan_name, plan_version, tax_category, tax_rate_percent, tax_exemption, \
            after, cutoff, root, size, is_regular) \
        select d.document_no, u.* from unnest($18::int[], $19::date[], $20::date[], \
            $21::date[], $22::date[], $23::text[], $24::int[], $25::text[], $26::numeric[], \
            $27::text[], $28::bigint[], $29::bigint[], $30::bytea[], $31::bigint[], $32::bool[]) \
            as u (brand_no) join d using (brand_no) \
        returning document_no, brand_no, period_start, period_end, is_regular), \
    s as ( \
        insert into standing_invoice (brand_no, period_start, period_end, document_no) \
        select brand_no, period_start, period_end, document_no from p where is_regular), \
    l as ( \
        insert into document_line (document_no, brand_no, line, period_start, line_key, \
            credits_document, credits_line, label, quantity, receipts, amount, tax_category, \
            tax_rate_percent) \
        select d.document_no, u.* from unnest($33::int[], $34::int[], $35::date[], $36::text[], \
            $37::bigint[], $38::int[], $39::text[], $40::bigint[], $41::bigint[], $42::numeric[], \
            $43::text[], $44::numeric[]) as u (brand_no) join d using (brand_no)), \
    b as ( \
        insert into billed (document_no, brand_no, period_start, line_key, quantity, receipts, amount) \
        select d.document_no, u.brand_no, u.period_start, u.line_key, u.quantity * u.sign, \
            u.receipts * u.sign, u.amount * u.sign \
        from unnest($33::int[], $35::date[], $36::text[], $40::bigint[], $41::bigint[], \
            $42::numeric[], $45::bigint[]) as u (brand_no, period_start, line_key, quantity, receipts, \
            amount, sign) join d using (brand_no) where u.line_key is not null), \
    t as ( \
        insert into document_tax (document_no, brand_no, category, rate_percent, taxable, tax) \
        select d.document_no, u.* from unnest($46::int[], $47::text[], $48::numeric[], \
            $49::numeric[], $50::numeric[]) as u (brand_no) join d using (brand_no)), \
    r as ( \
        delete from draft using unnest($1::int[], $8::text[], $3::text[], $51::date[]) \
            as u (brand_no, currency, cause, period_start) \
        where u.cause = 'periods' and draft.brand_no = u.brand_no and draft.currency = u.currency \
            and draft.period_start is not distinct from u.period_start), \
    v as (update brand_billing set version = version + 1, documents = documents + 1 \
        where brand_no = any($1)) \
    select brand_no, document_no from d";

/// Inserts them, at most one for each brand. The answer is the number of the row of each brand's.
#[expect(clippy::too_many_lines, reason = "one statement with its parameters in order")]
pub(super) async fn insert(
    connection: &mut PgConnection,
    documents: &[&Numbered],
    by: &str,
) -> Result<BTreeMap<i32, i64>, Refused> {
    if documents.is_empty() {
        return Ok(BTreeMap::new());
    }
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let small = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
    macro_rules! documents {
        (|$one:ident| $value:expr) => {
            documents.iter().map(|$one| $value).collect::<Vec<_>>()
        };
    }
    macro_rules! periods {
        (|$of:pat_param, $one:ident| $value:expr) => {
            flat(documents, |of| &of.document.periods)
                .map(|($of, $one): (&Numbered, &PeriodEvidence)| $value)
                .collect::<Vec<_>>()
        };
    }
    macro_rules! lines {
        (|$of:pat_param, $one:ident| $value:expr) => {
            flat(documents, |of| &of.document.lines)
                .map(|($of, $one): (&Numbered, &DocumentLine)| $value)
                .collect::<Vec<_>>()
        };
    }
    macro_rules! taxes {
        (|$of:pat_param, $one:ident| $value:expr) => {
            flat(documents, |of| &of.document.tax_groups)
                .map(|($of, $one): (&Numbered, &TaxGroup)| $value)
                .collect::<Vec<_>>()
        };
    }
    let rows: Vec<(i32, i64)> = sqlx::query_as(INSERT)
        .bind(documents!(|one| one.brand_no))
        .bind(documents!(|one| kind(&one.document)))
        .bind(documents!(|one| cause(&one.document)))
        .bind(documents!(|one| one.document.number.as_deref()))
        .bind(documents!(|one| one.chain))
        .bind(documents!(|one| one.document.previous.as_ref().map(hash_bytes)))
        .bind(documents!(|one| one.body.as_slice()))
        .bind(documents!(|one| one.document.currency.code()))
        .bind(documents!(|one| one.document.issue_date))
        .bind(documents!(|one| one.document.tax_point))
        .bind(documents!(|one| one.document.due_date))
        .bind(documents!(|one| one.document.net_total))
        .bind(documents!(|one| one.document.tax_total))
        .bind(documents!(|one| one.document.total))
        .bind(documents!(|one| one.cutoff))
        .bind(documents!(|one| number(one.document.billing_version)))
        .bind(by)
        .bind(periods!(|of, _one| of.brand_no))
        .bind(periods!(|_, period| period.start))
        .bind(periods!(|_, period| period.end))
        .bind(periods!(|_, period| period.whole_start))
        .bind(periods!(|_, period| period.whole_end))
        .bind(periods!(|_, period| period.plan.as_str()))
        .bind(periods!(|_, period| small(period.plan_version)))
        .bind(periods!(|_, period| period.tax.category.code()))
        .bind(periods!(|_, period| period.tax.rate_percent))
        .bind(periods!(|_, period| period.tax.exemption.as_deref()))
        .bind(periods!(|_, period| number(period.after)))
        .bind(periods!(|_, period| number(period.cutoff)))
        .bind(periods!(|_, period| hash_bytes(&period.root)))
        .bind(periods!(|_, period| number(period.size)))
        .bind(periods!(|of, period| Some(period.start) == of.regular))
        .bind(lines!(|of, _one| of.brand_no))
        .bind(lines!(|_, line| small(line.line.into())))
        .bind(lines!(|_, line| line.period))
        .bind(lines!(|_, line| line.key.map(|key| key.to_string())))
        .bind(lines!(|of, line| line.credits.as_ref().and(of.credits)))
        .bind(lines!(|_, line| line.credits.as_ref().map(|to| small(to.line.into()))))
        .bind(lines!(|_, line| line.label.as_str()))
        .bind(lines!(|_, line| line.quantity))
        .bind(lines!(|_, line| line.receipts))
        .bind(lines!(|_, line| line.amount))
        .bind(lines!(|_, line| line.tax_category.code()))
        .bind(lines!(|_, line| line.tax_rate_percent))
        .bind(lines!(|of, _one| of.document.sign()))
        .bind(taxes!(|of, _one| of.brand_no))
        .bind(taxes!(|_, group| group.category.code()))
        .bind(taxes!(|_, group| group.rate_percent))
        .bind(taxes!(|_, group| group.taxable))
        .bind(taxes!(|_, group| group.tax))
        .bind(documents!(|one| one.regular))
        .bind(documents!(|one| hash_bytes(&one.hash)))
        .fetch_all(&mut *connection)
        .await?;
    Ok(rows.into_iter().collect())
}

fn hash_bytes(hash: &Hash) -> &[u8] {
    hash.as_bytes()
}

/// The parts of all documents, each with its document.
fn flat<'a, T: 'a>(
    documents: &'a [&Numbered],
    parts: fn(&Numbered) -> &Vec<T>,
) -> impl Iterator<Item = (&'a Numbered, &'a T)> {
    documents.iter().flat_map(move |of| parts(of).iter().map(move |part| (&**of, part)))
}

fn kind(document: &Document) -> &'static str {
    match document.kind {
        Kind::Invoice => "invoice",
        Kind::CreditNote => "credit_note",
        Kind::Adjustment => "adjustment",
    }
}

fn cause(document: &Document) -> &'static str {
    match document.cause {
        Cause::Periods => "periods",
        Cause::Goodwill => "goodwill",
        Cause::Cancel => "cancel",
    }
}
