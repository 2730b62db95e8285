//! The worked example of `docs/billing.md`: the page must show exactly what is computed here.

use super::*;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/billing.md"));

fn charge(name: &str, predicates: &str, free_units: u64, model: Model) -> Charge {
    let selector = Selector::parse(predicates, Results::Any).unwrap();
    Charge { name: name.to_owned(), selector, meter: Meter::Receipts, free_units, model }
}

fn plan() -> Plan {
    let tiers = vec![
        Tier { up_to: Some(1000), unit_price: decimal("0.05"), flat_fee: decimal("5.00") },
        Tier { up_to: None, unit_price: decimal("0.045"), flat_fee: Decimal::ZERO },
    ];
    let certificates = Model::PerUnit { unit_price: decimal("0.03") };
    let life_cycle = Model::Package { size: 50, price: decimal("4.00") };
    let charges = vec![
        charge("Certificates", "CERT_VALID@V1", 100, certificates),
        charge("Recycled content", "RECYCLED_CONTENT_GTE@V1", 0, Model::Graduated(tiers)),
        charge("Life cycle", "CARBON_FOOTPRINT_LIFECYCLE@*", 0, life_cycle),
    ];
    Plan::new(Terms {
        fixed_fee: Some(decimal("99.00")),
        minimum: Some(decimal("200.00")),
        discounts: vec![percent("Partner", "10"), absolute("Launch", "2.00")],
        ..terms(charges)
    })
    .unwrap()
}

/// The draft as the page shows it.
fn table(first_day: &str, usage: &[Usage<'_>]) -> String {
    let (plan, tax) = (plan(), german_vat());
    let slot = month_from(first_day);
    let input = Input { plan: &plan, slot, usage, distinct: &[], tax: Some(&tax) };
    let draft = draft(&input).unwrap();
    let mut table = String::from("| line | arithmetic | EUR |\n|---|---|---:|\n");
    for line in &draft.lines {
        let steps = line.arithmetic.explain().join("; ");
        table += &format!("| {} | {steps} | {} |\n", line.label, line.amount.amount());
    }
    table += &format!("| **Net total** | | **{}** |\n", draft.net_total.amount());
    let totals = draft.tax.unwrap();
    for group in &totals.groups {
        let of = format!("{} % of {}", group.rate_percent, group.taxable);
        table += &format!("| Tax {} | {of} | {} |\n", group.category.code(), group.tax.amount());
    }
    table + &format!("| **Total** | | **{}** |\n", totals.total.amount())
}

#[track_caller]
fn on_the_page(table: &str) {
    assert!(PAGE.contains(table), "docs/billing.md does not show this table:\n\n{table}");
}

#[test]
fn the_page_shows_the_stub() {
    on_the_page(&table(
        "2026-09-20",
        &[usage("CERT_VALID@V1", true, 130), usage("RECYCLED_CONTENT_GTE@V1", true, 420)],
    ));
}

#[test]
fn the_page_shows_the_whole_month() {
    on_the_page(&table(
        "2026-10-01",
        &[
            usage("CERT_VALID@V1", true, 1277),
            usage("RECYCLED_CONTENT_GTE@V1", true, 2345),
            usage("CARBON_FOOTPRINT_LIFECYCLE@V1", true, 61),
        ],
    ));
}

/// The table of a split in the chapter on assignments: the periods come from the assignments and the
/// amounts from the drafts.
#[test]
fn the_page_shows_a_split() {
    use crate::assignment::{Assignment, Timeline, Version, Versions};
    use crate::period::Change;

    let day = |text: &str| text.parse::<chrono::NaiveDate>().unwrap();
    let version =
        vec![Version { number: 1, effective_from: day("2026-01-01"), cadence: Cadence::Monthly }];
    let versions: Versions =
        ["example", "pro"].map(|plan| (plan.to_owned(), version.clone())).into();
    let assignment = |no, plan: &str, from, until: Option<&str>, change| {
        let (from, until) = (day(from), until.map(day));
        Assignment { no, plan: plan.to_owned(), anchor: Anchor::Calendar, change, from, until }
    };
    let timeline = Timeline::new(
        vec![
            assignment(1, "example", "2026-11-01", Some("2026-11-10"), Change::NextPeriod),
            assignment(2, "pro", "2026-11-10", None, Change::Split),
        ],
        &versions,
    )
    .unwrap();
    let mut table = String::from("| period | plan | arithmetic | EUR |\n|---|---|---|---:|\n");
    for one in timeline.periods_before(day("2027-01-01")) {
        let plan = one.assignment.plan.as_str();
        let fee = if plan == "pro" { "150.00" } else { "99.00" };
        let terms =
            Terms { fixed_fee: Some(decimal(fee)), ..terms(vec![per_unit("CERT_VALID", "0.03")]) };
        let priced = Plan::new(terms).unwrap();
        let input = Input { plan: &priced, slot: one.slot, usage: &[], distinct: &[], tax: None };
        let draft = draft(&input).unwrap();
        let line = &draft.lines[0];
        let (period, steps) = (one.slot.period, line.arithmetic.explain().join("; "));
        let days = format!("{} to {}", period.start(), period.last_day());
        table += &format!("| {days} | {plan} | {steps} | {} |\n", line.amount.amount());
    }
    on_the_page(&table);
}
