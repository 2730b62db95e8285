//! What a document's rows say, beside what its bytes say: both as JSON of the same shape.

use billing::canonical;
use billing::document::{Cause, Document, Kind};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::Stored;

/// The documents of a brand, each with its rows. Decimals are texts without zeros at their end, so that
/// a column's scale does not matter.
pub(super) const STORED: &str = "\
    select d.document_no, b.brand_id, d.number, d.chain, d.body, d.hash, d.finalized_at, \
        (select e.made_at from document_event e \
            where e.document_no = d.document_no and e.kind = 'voided') as voided_at, \
        (select c.chain from document_event e join document c on c.document_no = e.by_document \
            where e.document_no = d.document_no and e.kind = 'cancelled') as cancelled_by, \
        (select e.made_at from document_event e where e.document_no = d.document_no \
            and e.kind = 'cancelled' and e.by_document is null) as cancelled_at, \
        jsonb_build_object( \
            'brand', b.brand_id, 'kind', d.kind, 'cause', d.cause, 'number', d.number, \
            'previous', encode(d.previous_hash, 'hex'), 'currency', d.currency, \
            'issue_date', d.issue_date, 'tax_point', d.tax_point, 'due_date', d.due_date, \
            'net_total', trim_scale(d.net_total)::text, 'tax_total', trim_scale(d.tax_total)::text, \
            'total', trim_scale(d.total)::text, 'billing_version', d.billing_version, \
            'periods', (select coalesce(jsonb_agg(jsonb_build_object( \
                'brand', p.brand_no = d.brand_no, 'start', p.period_start, 'end', p.period_end, \
                'whole_start', p.whole_start, 'whole_end', p.whole_end, 'plan', p.plan_name, \
                'plan_version', p.plan_version, 'tax_category', p.tax_category, \
                'tax_rate_percent', trim_scale(p.tax_rate_percent)::text, \
                'tax_exemption', p.tax_exemption, 'after', p.after, 'cutoff', p.cutoff, \
                'root', encode(p.root, 'hex'), 'size', p.size) order by p.period_start), '[]') \
                from document_period p where p.document_no = d.document_no), \
            'lines', (select coalesce(jsonb_agg(jsonb_build_object( \
                'brand', l.brand_no = d.brand_no, 'line', l.line, 'period', l.period_start, \
                'key', l.line_key, 'credits', (select o.number from document o \
                    where o.document_no = l.credits_document), 'credits_line', l.credits_line, \
                'label', l.label, 'quantity', l.quantity::text, 'receipts', l.receipts::text, \
                'amount', trim_scale(l.amount)::text, 'tax_category', l.tax_category, \
                'tax_rate_percent', trim_scale(l.tax_rate_percent)::text) order by l.line), '[]') \
                from document_line l where l.document_no = d.document_no), \
            'tax', (select coalesce(jsonb_agg(jsonb_build_object( \
                'brand', t.brand_no = d.brand_no, 'category', t.category, \
                'rate_percent', trim_scale(t.rate_percent)::text, \
                'taxable', trim_scale(t.taxable)::text, 'tax', trim_scale(t.tax)::text) \
                order by t.category, t.rate_percent), '[]') \
                from document_tax t where t.document_no = d.document_no), \
            'billed', (select coalesce(jsonb_agg(jsonb_build_object( \
                'brand', i.brand_no = d.brand_no, 'period', i.period_start, 'key', i.line_key, \
                'quantity', i.quantity::text, 'receipts', i.receipts::text, \
                'amount', trim_scale(i.amount)::text) order by i.period_start, i.line_key collate \"C\"), \
                '[]') from billed i where i.document_no = d.document_no and not i.is_opposite), \
            'taken_back', (select coalesce(jsonb_agg(jsonb_build_object( \
                'brand', i.brand_no = d.brand_no, 'period', i.period_start, 'key', i.line_key, \
                'quantity', (-i.quantity)::text, 'receipts', (-i.receipts)::text, \
                'amount', trim_scale(-i.amount)::text) order by i.period_start, i.line_key collate \"C\"), \
                '[]') from billed i where i.document_no = d.document_no and i.is_opposite) \
        )::text as rows \
    from document d join brand b using (brand_no) where d.brand_no = $1 order by d.chain";

/// Where the rows of a document first differ from its bytes, as a JSON pointer.
pub(super) fn differ(stored: &Stored, document: &Document) -> Option<String> {
    match serde_json::from_str(&stored.rows) {
        Ok(found) => {
            let taken_back = stored.voided_at.is_some()
                || stored.cancelled_at.is_some()
                || stored.cancelled_by.is_some();
            canonical::difference(&expected(document, taken_back), &found)
        }
        Err(error) => Some(error.to_string()),
    }
}

fn expected(document: &Document, is_taken_back: bool) -> Value {
    let billed = charged(document);
    let taken_back = if is_taken_back { billed.clone() } else { Vec::new() };
    json!({
        "brand": document.brand,
        "kind": match document.kind {
            Kind::Invoice => "invoice",
            Kind::CreditNote => "credit_note",
            Kind::Adjustment => "adjustment",
        },
        "cause": match document.cause {
            Cause::Periods => "periods",
            Cause::Goodwill => "goodwill",
            Cause::Cancel => "cancel",
        },
        "number": document.number,
        "previous": document.previous.map(|hash| hash.to_string()),
        "currency": document.currency.code(),
        "issue_date": document.issue_date,
        "tax_point": document.tax_point,
        "due_date": document.due_date,
        "net_total": text(document.net_total),
        "tax_total": text(document.tax_total),
        "total": text(document.total),
        "billing_version": document.billing_version,
        "periods": periods(document),
        "lines": lines(document),
        "tax": taxes(document),
        "billed": billed,
        "taken_back": taken_back,
    })
}

fn periods(document: &Document) -> Vec<Value> {
    let periods = document.periods.iter().map(|period| {
        json!({
            "brand": true,
            "start": period.start,
            "end": period.end,
            "whole_start": period.whole_start,
            "whole_end": period.whole_end,
            "plan": period.plan,
            "plan_version": period.plan_version,
            "tax_category": period.tax.category.code(),
            "tax_rate_percent": text(period.tax.rate_percent),
            "tax_exemption": period.tax.exemption,
            "after": period.after,
            "cutoff": period.cutoff,
            "root": period.root.to_string(),
            "size": period.size,
        })
    });
    periods.collect()
}

fn lines(document: &Document) -> Vec<Value> {
    let lines = document.lines.iter().map(|line| {
        json!({
            "brand": true,
            "line": line.line,
            "period": line.period,
            "key": line.key.map(|key| key.to_string()),
            "credits": line.credits.as_ref().map(|to| &to.number),
            "credits_line": line.credits.as_ref().map(|to| to.line),
            "label": line.label,
            "quantity": line.quantity.to_string(),
            "receipts": line.receipts.to_string(),
            "amount": text(line.amount),
            "tax_category": line.tax_category.code(),
            "tax_rate_percent": text(line.tax_rate_percent),
        })
    });
    lines.collect()
}

fn taxes(document: &Document) -> Vec<Value> {
    let mut groups: Vec<_> = document.tax_groups.iter().collect();
    groups.sort_by_key(|group| (group.category.code(), group.rate_percent));
    let groups = groups.into_iter().map(|group| {
        json!({
            "brand": true,
            "category": group.category.code(),
            "rate_percent": text(group.rate_percent),
            "taxable": text(group.taxable),
            "tax": text(group.tax),
        })
    });
    groups.collect()
}

fn charged(document: &Document) -> Vec<Value> {
    let mut charged = document.charged().unwrap_or_default();
    charged.sort_by_key(|row| (row.period, row.key.to_string()));
    let charged = charged.iter().map(|row| {
        json!({
            "brand": true,
            "period": row.period,
            "key": row.key.to_string(),
            "quantity": row.quantity.to_string(),
            "receipts": row.receipts.to_string(),
            "amount": text(row.amount.amount()),
        })
    });
    charged.collect()
}

fn text(amount: Decimal) -> String {
    amount.normalize().to_string()
}
