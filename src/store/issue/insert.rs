//! All rows of a document, in one statement.

use billing::document::{Cause, Document, Kind};
use chrono::NaiveDate;
use sqlx::PgConnection;

use super::Refused;

/// A finished document, and what its rows need besides.
pub(super) struct Rows<'a> {
    pub brand_no: i32,
    pub document: &'a Document,
    pub cutoff: i64,
    /// The period that it is the regular invoice of.
    pub regular: Option<NaiveDate>,
    /// The row of the document that it credits.
    pub credits: Option<i64>,
}

const INSERT: &str = "\
    with d as ( \
        insert into document (brand_no, kind, cause, number, chain, previous_hash, body, hash, \
            currency, issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, \
            billing_version, finalized_by) \
        values ($1, $2, $3, $4, $5, $6, $7, sha256($7), $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
        returning document_no, brand_no), \
    p as ( \
        insert into document_period (document_no, brand_no, period_start, period_end, whole_start, \
            whole_end, plan_name, plan_version, tax_category, tax_rate_percent, tax_exemption, \
            after, cutoff, root, size, is_regular) \
        select d.document_no, d.brand_no, u.* from d, unnest($18::date[], $19::date[], $20::date[], \
            $21::date[], $22::text[], $23::int[], $24::text[], $25::numeric[], $26::text[], \
            $27::bigint[], $28::bigint[], $29::bytea[], $30::bigint[], $31::bool[]) as u \
        returning document_no, brand_no, period_start, period_end, is_regular), \
    s as ( \
        insert into standing_invoice (brand_no, period_start, period_end, document_no) \
        select brand_no, period_start, period_end, document_no from p where is_regular), \
    l as ( \
        insert into document_line (document_no, brand_no, line, period_start, line_key, \
            credits_document, credits_line, label, quantity, receipts, amount, tax_category, \
            tax_rate_percent) \
        select d.document_no, d.brand_no, u.line, u.period_start, u.line_key, \
            case when u.credits_line is not null then $32 end, u.credits_line, u.label, u.quantity, \
            u.receipts, u.amount, u.tax_category, u.tax_rate_percent \
        from d, unnest($33::int[], $34::date[], $35::text[], $36::int[], $37::text[], $38::bigint[], \
            $39::bigint[], $40::numeric[], $41::text[], $42::numeric[]) as u (line, period_start, \
            line_key, credits_line, label, quantity, receipts, amount, tax_category, tax_rate_percent) \
        returning document_no, brand_no, period_start, line_key, quantity, receipts, amount), \
    b as ( \
        insert into billed (document_no, brand_no, period_start, line_key, quantity, receipts, amount) \
        select document_no, brand_no, period_start, line_key, quantity * $43, receipts * $43, \
            amount * $43 from l where line_key is not null), \
    t as ( \
        insert into document_tax (document_no, brand_no, category, rate_percent, taxable, tax) \
        select d.document_no, d.brand_no, u.* \
        from d, unnest($44::text[], $45::numeric[], $46::numeric[], $47::numeric[]) as u), \
    r as (delete from draft where $48 and brand_no = $1 and currency = $8 \
        and period_start is not distinct from $49), \
    v as (update brand_billing set version = version + 1, documents = documents + 1 \
        where brand_no = $1) \
    select document_no from d";

impl Rows<'_> {
    /// Inserts them as the brand's document number `chain`. The answer is the number of its row.
    #[expect(clippy::too_many_lines, reason = "one statement with its parameters in order")]
    pub(super) async fn insert(
        &self,
        connection: &mut PgConnection,
        chain: i32,
        body: &[u8],
        by: &str,
    ) -> Result<i64, Refused> {
        let document = self.document;
        let kind = match document.kind {
            Kind::Invoice => "invoice",
            Kind::CreditNote => "credit_note",
            Kind::Adjustment => "adjustment",
        };
        let cause = match document.cause {
            Cause::Periods => "periods",
            Cause::Goodwill => "goodwill",
            Cause::Cancel => "cancel",
        };
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let small = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
        macro_rules! of {
            ($list:ident, |$one:ident| $value:expr) => {
                document.$list.iter().map(|$one| $value).collect::<Vec<_>>()
            };
        }
        let document_no = sqlx::query_scalar(INSERT)
            .bind(self.brand_no)
            .bind(kind)
            .bind(cause)
            .bind(&document.number)
            .bind(chain)
            .bind(document.previous.map(|hash| hash.as_bytes().to_vec()))
            .bind(body)
            .bind(document.currency.code())
            .bind(document.issue_date)
            .bind(document.tax_point)
            .bind(document.due_date)
            .bind(document.net_total)
            .bind(document.tax_total)
            .bind(document.total)
            .bind(self.cutoff)
            .bind(number(document.billing_version))
            .bind(by)
            .bind(of!(periods, |period| period.start))
            .bind(of!(periods, |period| period.end))
            .bind(of!(periods, |period| period.whole_start))
            .bind(of!(periods, |period| period.whole_end))
            .bind(of!(periods, |period| period.plan.clone()))
            .bind(of!(periods, |period| small(period.plan_version)))
            .bind(of!(periods, |period| period.tax.category.code()))
            .bind(of!(periods, |period| period.tax.rate_percent))
            .bind(of!(periods, |period| period.tax.exemption.clone()))
            .bind(of!(periods, |period| number(period.after)))
            .bind(of!(periods, |period| number(period.cutoff)))
            .bind(of!(periods, |period| period.root.as_bytes().to_vec()))
            .bind(of!(periods, |period| number(period.size)))
            .bind(of!(periods, |period| Some(period.start) == self.regular))
            .bind(self.credits)
            .bind(of!(lines, |line| small(line.line.into())))
            .bind(of!(lines, |line| line.period))
            .bind(of!(lines, |line| line.key.map(|key| key.to_string())))
            .bind(of!(lines, |line| line.credits.as_ref().map(|to| small(to.line.into()))))
            .bind(of!(lines, |line| line.label.clone()))
            .bind(of!(lines, |line| line.quantity))
            .bind(of!(lines, |line| line.receipts))
            .bind(of!(lines, |line| line.amount))
            .bind(of!(lines, |line| line.tax_category.code()))
            .bind(of!(lines, |line| line.tax_rate_percent))
            .bind(document.sign())
            .bind(of!(tax_groups, |group| group.category.code()))
            .bind(of!(tax_groups, |group| group.rate_percent))
            .bind(of!(tax_groups, |group| group.taxable))
            .bind(of!(tax_groups, |group| group.tax))
            .bind(document.cause == Cause::Periods)
            .bind(self.regular)
            .fetch_one(&mut *connection)
            .await?;
        Ok(document_no)
    }
}
