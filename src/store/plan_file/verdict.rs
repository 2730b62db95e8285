//! Runs cases: what a plan, an assignment or a zone gives, beside what was expected.

use billing::draft::{self, Draft, Input, Usage};
use billing::ids::Predicate;
use billing::line::Line;
use billing::plan::UsageKind;
use billing::tax::Totals;
use billing::usage::usage_day;
use rust_decimal::Decimal;

use super::cases::{Cases, ExpectedLine, PeriodCase, PriceCase, UsageDayCase};

/// Something that is not as a case expects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The case's name.
    pub case: String,
    /// For example `charge:4 amount`.
    pub what: String,
    pub expected: String,
    pub got: String,
}

/// All differences, in the order of the cases; none if every case holds.
pub fn differences(cases: &Cases) -> Vec<Difference> {
    let prices = cases.prices.iter().flat_map(price);
    let periods = cases.periods.iter().filter_map(period);
    let usage_days = cases.usage_days.iter().filter_map(usage_day_of);
    prices.chain(periods).chain(usage_days).collect()
}

fn price(case: &PriceCase) -> Vec<Difference> {
    let mut found = Found { case: &case.name, differences: Vec::new() };
    let usage: Vec<Usage<'_>> = case
        .usage
        .iter()
        .filter_map(|count| {
            let kind = UsageKind {
                predicate: Predicate::parse(&count.predicate)?,
                result: count.result,
                has_product: count.has_product,
                has_supplier: count.has_supplier,
            };
            Some(Usage { kind, receipts: count.receipts })
        })
        .collect();
    let input = Input {
        plan: &case.plan,
        slot: case.slot,
        usage: &usage,
        distinct: &case.distinct,
        tax: case.tax.as_ref(),
    };
    match draft::draft(&input) {
        Ok(draft) => compare(&mut found, case, &draft),
        Err(error) => found.add("draft", "one that can be computed", error),
    }
    found.differences
}

fn compare(found: &mut Found<'_>, case: &PriceCase, draft: &Draft<'_>) {
    if let Some(expected) = &case.lines {
        lines(found, expected, &draft.lines);
    }
    let unpriced: u64 = draft.unpriced.iter().map(|usage| usage.receipts).sum();
    if unpriced != case.unpriced {
        let kinds: Vec<String> =
            draft.unpriced.iter().map(|usage| usage.kind.predicate.to_string()).collect();
        let got = format!("{unpriced} {}", kinds.join(" "));
        found.add("unpriced receipts", case.unpriced, got.trim_end());
    }
    let amount = |total: fn(&Totals) -> Decimal| draft.tax.as_ref().map(total);
    found.amount("net_total", case.net_total, Some(draft.net_total.amount()));
    found.amount("tax_total", case.tax_total, amount(|totals| totals.tax.amount()));
    found.amount("total", case.total, amount(|totals| totals.total.amount()));
}

fn lines(found: &mut Found<'_>, expected: &[ExpectedLine], got: &[Line]) {
    for line in expected {
        let key = line.key;
        let Some(got) = got.iter().find(|got| got.key == key) else {
            found.add(&format!("{key}"), line.amount, "no line");
            continue;
        };
        if let Some(quantity) = line.quantity
            && quantity != got.quantity
        {
            found.add(&format!("{key} {:?} quantity", got.label), quantity, got.quantity);
        }
        let what = format!("{key} {:?} amount", got.label);
        found.amount(&what, Some(line.amount), Some(got.amount.amount()));
    }
    for got in got.iter().filter(|got| expected.iter().all(|line| line.key != got.key)) {
        found.add(&format!("{} {:?}", got.key, got.label), "no line", got.amount.amount());
    }
}

fn period(case: &PeriodCase) -> Option<Difference> {
    let got = case.timeline.period_of(case.day).map(|found| found.slot.period);
    let days =
        |period: billing::period::Period| format!("{} to {}", period.start(), period.last_day());
    (got != Some(case.expected)).then(|| Difference {
        case: case.name.clone(),
        what: format!("period of {}", case.day),
        expected: days(case.expected),
        got: got.map_or_else(|| "no period".to_owned(), days),
    })
}

fn usage_day_of(case: &UsageDayCase) -> Option<Difference> {
    let got = usage_day(case.instant, case.zone);
    (got != case.expected).then(|| Difference {
        case: case.name.clone(),
        what: format!("usage day in {}", case.zone),
        expected: case.expected.to_string(),
        got: got.to_string(),
    })
}

/// The differences of one case.
struct Found<'a> {
    case: &'a str,
    differences: Vec<Difference>,
}

impl Found<'_> {
    fn add(&mut self, what: &str, expected: impl ToString, got: impl ToString) {
        self.differences.push(Difference {
            case: self.case.to_owned(),
            what: what.to_owned(),
            expected: expected.to_string(),
            got: got.to_string(),
        });
    }

    /// Amounts are equal if they are the same number, however many zeros they are written with.
    fn amount(&mut self, what: &str, expected: Option<Decimal>, got: Option<Decimal>) {
        let Some(expected) = expected else { return };
        match got {
            Some(got) if got == expected => {}
            Some(got) => self.add(what, expected, got),
            None => self.add(what, expected, "none"),
        }
    }
}
