//! The order of work, as an accountant reads it.
#![allow(clippy::arithmetic_side_effects)]

use expect_test::{Expect, expect};
use rust_decimal::Decimal;

use super::*;
use crate::currency::Currency;
use crate::ids::Predicate;
use crate::period::{Anchor, Cadence, Grid, Period};
use crate::plan::{Discount, Model, Results, Selector, Terms, Tier};
use crate::tax::Category;

mod naive;
mod worked_example;

fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

/// The part of a calendar month from `first` on, or all of it.
fn month_from(first: &str) -> Slot {
    let first = first.parse().unwrap();
    let grid = Grid { cadence: Cadence::Monthly, anchor: Anchor::Calendar };
    let whole = grid.whole_period(first).unwrap();
    Slot { period: Period::new(first, whole.end()).unwrap(), whole }
}

fn per_unit(name: &str, unit_price: &str) -> Charge {
    Charge {
        name: name.to_owned(),
        selector: Selector::parse(&format!("{name}@*"), Results::Any).unwrap(),
        meter: Meter::Receipts,
        free_units: 0,
        model: Model::PerUnit { unit_price: decimal(unit_price) },
    }
}

fn terms(charges: Vec<Charge>) -> Terms {
    Terms {
        name: "test".to_owned(),
        currency: Currency::EUR,
        cadence: Cadence::Monthly,
        fixed_fee: None,
        charges,
        discounts: Vec::new(),
        minimum: None,
        maximum: None,
    }
}

fn percent(name: &str, percent: &str) -> Discount {
    Discount { name: name.to_owned(), reduction: Reduction::Percent(decimal(percent)) }
}

fn absolute(name: &str, amount: &str) -> Discount {
    Discount { name: name.to_owned(), reduction: Reduction::Absolute(decimal(amount)) }
}

fn usage(predicate: &'static str, result: bool, receipts: u64) -> Usage<'static> {
    let predicate = Predicate::parse(predicate).unwrap();
    let kind = UsageKind { predicate, result, has_product: true, has_supplier: true };
    Usage { kind, receipts }
}

fn german_vat() -> Treatment {
    Treatment::new(Category::Standard, decimal("19"), None).unwrap()
}

/// A draft as text: one line a line, its arithmetic below it.
fn render(draft: &Draft<'_>) -> String {
    let mut text = String::new();
    for line in &draft.lines {
        let Line { key, label, quantity, receipts, amount, .. } = line;
        text += &format!("{key} {label}: {quantity} from {receipts} receipts, {amount}\n");
        for step in line.arithmetic.explain() {
            text += &format!("  {step}\n");
        }
    }
    text += &format!("net total {}\n", draft.net_total);
    if let Some(tax) = &draft.tax {
        for group in &tax.groups {
            let (code, rate) = (group.category.code(), group.rate_percent);
            text += &format!("tax {code} {rate} % of {}: {}\n", group.taxable, group.tax);
        }
        text += &format!("total {}\n", tax.total);
    }
    for Usage { kind, receipts } in &draft.unpriced {
        text += &format!("unpriced {} {}: {receipts}\n", kind.predicate, kind.result);
    }
    text
}

#[expect(clippy::needless_pass_by_value, reason = "a case reads better without borrows")]
fn check(terms: Terms, slot: Slot, usage: &[Usage<'_>], expected: Expect) {
    let plan = Plan::new(terms).unwrap();
    let tax = german_vat();
    let input = Input { plan: &plan, slot, usage, distinct: &[], tax: Some(&tax) };
    expected.assert_eq(&render(&draft(&input).unwrap()));
}

#[test]
fn a_month_of_verifications() {
    check(
        terms(vec![per_unit("RECYCLED_CONTENT_GTE", "0.05"), per_unit("CERT_VALID", "0.03")]),
        month_from("2026-10-01"),
        &[
            usage("RECYCLED_CONTENT_GTE@V1", true, 1000),
            usage("CERT_VALID@V1", true, 7),
            usage("RECYCLED_CONTENT_GTE@V1", false, 1),
        ],
        expect![[r#"
            charge:1 RECYCLED_CONTENT_GTE: 1001 from 1001 receipts, 50.05 EUR
              1001 x 0.05 = 50.05
            charge:2 CERT_VALID: 7 from 7 receipts, 0.21 EUR
              7 x 0.03 = 0.21
            net total 50.26 EUR
            tax S 19 % of 50.26 EUR: 9.55 EUR
            total 59.81 EUR
        "#]],
    );
}

#[test]
fn a_stub_prorates_the_fixed_fee_but_not_tiers_and_free_units() {
    let mut charge = per_unit("*", "0.10");
    charge.free_units = 10;
    check(
        Terms { fixed_fee: Some(decimal("99.00")), ..terms(vec![charge]) },
        month_from("2026-09-20"),
        &[usage("CERT_VALID@V1", true, 25)],
        expect![[r#"
            fixed_fee Fixed fee: 1 from 0 receipts, 36.30 EUR
              11 of 30 days of 99.00
            charge:1 *: 25 from 25 receipts, 1.50 EUR
              10 free
              15 x 0.10 = 1.50
            net total 37.80 EUR
            tax S 19 % of 37.80 EUR: 7.18 EUR
            total 44.98 EUR
        "#]],
    );
}

#[test]
fn a_stub_prorates_minimum_and_maximum() {
    let limits = |minimum, maximum| Terms {
        minimum: Some(decimal(minimum)),
        maximum: Some(decimal(maximum)),
        ..terms(vec![per_unit("*", "1")])
    };
    let from = month_from("2026-09-20");
    check(
        limits("50.00", "100.00"),
        from,
        &[],
        expect![[r#"
        minimum Minimum: 1 from 0 receipts, 18.33 EUR
          11 of 30 days of 50.00 = 18.33 EUR
          from 0.00 EUR to 18.33 EUR
        net total 18.33 EUR
        tax S 19 % of 18.33 EUR: 3.48 EUR
        total 21.81 EUR
    "#]],
    );
    let usage = [usage("CERT_VALID@V1", true, 37)];
    check(
        limits("50.00", "100.00"),
        from,
        &usage,
        expect![[r#"
        charge:1 *: 37 from 37 receipts, 37.00 EUR
          37 x 1 = 37
        maximum Maximum: 1 from 0 receipts, -0.33 EUR
          11 of 30 days of 100.00 = 36.67 EUR
          from 37.00 EUR to 36.67 EUR
        net total 36.67 EUR
        tax S 19 % of 36.67 EUR: 6.97 EUR
        total 43.64 EUR
    "#]],
    );
    check(
        limits("99.99", "100.00"),
        from,
        &usage,
        expect![[r#"
        charge:1 *: 37 from 37 receipts, 37.00 EUR
          37 x 1 = 37
        maximum Maximum: 1 from 0 receipts, -0.33 EUR
          11 of 30 days of 100.00 = 36.67 EUR
          from 37.00 EUR to 36.67 EUR
        net total 36.67 EUR
        tax S 19 % of 36.67 EUR: 6.97 EUR
        total 43.64 EUR
    "#]],
    );
}

#[test]
fn a_line_is_rounded_once_and_its_half_goes_up() {
    check(
        terms(vec![per_unit("A", "0.0005"), per_unit("B", "0.0049"), per_unit("C", "0.015")]),
        month_from("2026-10-01"),
        &[usage("A@V1", true, 10), usage("B@V1", true, 1), usage("C@V1", true, 1)],
        expect![[r#"
            charge:1 A: 10 from 10 receipts, 0.01 EUR
              10 x 0.0005 = 0.0050
            charge:2 B: 1 from 1 receipts, 0.00 EUR
              1 x 0.0049 = 0.0049
            charge:3 C: 1 from 1 receipts, 0.02 EUR
              1 x 0.015 = 0.015
            net total 0.03 EUR
            tax S 19 % of 0.03 EUR: 0.01 EUR
            total 0.04 EUR
        "#]],
    );
}

#[test]
fn discounts_take_from_the_charges_each_on_the_rest() {
    check(
        Terms {
            fixed_fee: Some(decimal("20.00")),
            discounts: vec![
                percent("Partner", "10"),
                percent("Launch", "5"),
                absolute("Aid", "1.00"),
            ],
            ..terms(vec![per_unit("*", "0.05")])
        },
        month_from("2026-10-01"),
        &[usage("CERT_VALID@V1", true, 2001)],
        expect![[r#"
            fixed_fee Fixed fee: 1 from 0 receipts, 20.00 EUR
              20.00
            charge:1 *: 2001 from 2001 receipts, 100.05 EUR
              2001 x 0.05 = 100.05
            discount:1 Partner: 1 from 0 receipts, -10.01 EUR
              10 % of 100.05 EUR
            discount:2 Launch: 1 from 0 receipts, -4.50 EUR
              5 % of 90.04 EUR
            discount:3 Aid: 1 from 0 receipts, -1.00 EUR
              1.00 off 85.54 EUR
            net total 104.54 EUR
            tax S 19 % of 104.54 EUR: 19.86 EUR
            total 124.40 EUR
        "#]],
    );
}

#[test]
fn a_discount_never_goes_below_zero_and_leaves_the_fixed_fee() {
    check(
        Terms {
            fixed_fee: Some(decimal("20.00")),
            discounts: vec![absolute("Aid", "5.00"), absolute("More aid", "5.00")],
            ..terms(vec![per_unit("*", "0.05")])
        },
        month_from("2026-10-01"),
        &[usage("CERT_VALID@V1", true, 60)],
        expect![[r#"
            fixed_fee Fixed fee: 1 from 0 receipts, 20.00 EUR
              20.00
            charge:1 *: 60 from 60 receipts, 3.00 EUR
              60 x 0.05 = 3.00
            discount:1 Aid: 1 from 0 receipts, -3.00 EUR
              5.00 off 3.00 EUR
            net total 20.00 EUR
            tax S 19 % of 20.00 EUR: 3.80 EUR
            total 23.80 EUR
        "#]],
    );
}

#[test]
fn minimum_and_maximum_see_fixed_fee_and_discounted_charges() {
    let plan = |minimum, maximum| Terms {
        fixed_fee: Some(decimal("20.00")),
        discounts: vec![percent("Partner", "10")],
        minimum: Some(decimal(minimum)),
        maximum: Some(decimal(maximum)),
        ..terms(vec![per_unit("*", "1")])
    };
    let month = month_from("2026-10-01");
    let usage = [usage("CERT_VALID@V1", true, 100)];
    check(
        plan("110.00", "110.00"),
        month,
        &usage,
        expect![[r#"
        fixed_fee Fixed fee: 1 from 0 receipts, 20.00 EUR
          20.00
        charge:1 *: 100 from 100 receipts, 100.00 EUR
          100 x 1 = 100
        discount:1 Partner: 1 from 0 receipts, -10.00 EUR
          10 % of 100.00 EUR
        net total 110.00 EUR
        tax S 19 % of 110.00 EUR: 20.90 EUR
        total 130.90 EUR
    "#]],
    );
    check(
        plan("110.01", "200.00"),
        month,
        &usage,
        expect![[r#"
        fixed_fee Fixed fee: 1 from 0 receipts, 20.00 EUR
          20.00
        charge:1 *: 100 from 100 receipts, 100.00 EUR
          100 x 1 = 100
        discount:1 Partner: 1 from 0 receipts, -10.00 EUR
          10 % of 100.00 EUR
        minimum Minimum: 1 from 0 receipts, 0.01 EUR
          from 110.00 EUR to 110.01 EUR
        net total 110.01 EUR
        tax S 19 % of 110.01 EUR: 20.90 EUR
        total 130.91 EUR
    "#]],
    );
    check(
        plan("0.00", "109.99"),
        month,
        &usage,
        expect![[r#"
        fixed_fee Fixed fee: 1 from 0 receipts, 20.00 EUR
          20.00
        charge:1 *: 100 from 100 receipts, 100.00 EUR
          100 x 1 = 100
        discount:1 Partner: 1 from 0 receipts, -10.00 EUR
          10 % of 100.00 EUR
        maximum Maximum: 1 from 0 receipts, -0.01 EUR
          from 110.00 EUR to 109.99 EUR
        net total 109.99 EUR
        tax S 19 % of 109.99 EUR: 20.90 EUR
        total 130.89 EUR
    "#]],
    );
}

#[test]
fn the_first_charge_that_matches_takes_the_usage() {
    let mut failed = per_unit("CARBON_*", "0.01");
    failed.selector = Selector::parse("CARBON_*@*", Results::False).unwrap();
    check(
        terms(vec![failed, per_unit("CARBON_FOOTPRINT_LTE", "0.05"), per_unit("C*", "0.07")]),
        month_from("2026-10-01"),
        &[
            usage("CARBON_FOOTPRINT_LTE@V1", true, 1),
            usage("CARBON_FOOTPRINT_LTE@V1", false, 10),
            usage("CERT_VALID@V2", false, 100),
            usage("RECYCLED_CONTENT_GTE@V1", false, 2),
            usage("RECYCLED_CONTENT_GTE@V1", true, 1),
            usage("RECYCLED_CONTENT_GTE@V1", false, 1),
        ],
        expect![[r#"
            charge:1 CARBON_*: 10 from 10 receipts, 0.10 EUR
              10 x 0.01 = 0.10
            charge:2 CARBON_FOOTPRINT_LTE: 1 from 1 receipts, 0.05 EUR
              1 x 0.05 = 0.05
            charge:3 C*: 100 from 100 receipts, 7.00 EUR
              100 x 0.07 = 7.00
            net total 7.15 EUR
            tax S 19 % of 7.15 EUR: 1.36 EUR
            total 8.51 EUR
            unpriced RECYCLED_CONTENT_GTE@V1 false: 3
            unpriced RECYCLED_CONTENT_GTE@V1 true: 1
        "#]],
    );
}

#[test]
fn a_period_without_usage_still_owes_the_first_tiers_flat_fee() {
    let mut charge = per_unit("*", "0");
    charge.model = Model::Graduated(vec![
        Tier { up_to: Some(100), unit_price: decimal("0.05"), flat_fee: decimal("5.00") },
        Tier { up_to: None, unit_price: decimal("0.04"), flat_fee: decimal("3.00") },
    ]);
    check(
        terms(vec![charge]),
        month_from("2026-10-01"),
        &[],
        expect![[r#"
        charge:1 *: 0 from 0 receipts, 5.00 EUR
          tier 1 (1 to 100): 0 x 0.05 + 5.00 flat = 5.00
        net total 5.00 EUR
        tax S 19 % of 5.00 EUR: 0.95 EUR
        total 5.95 EUR
    "#]],
    );
}

/// A plan that counts distinct products, and then receipts without a product one by one.
fn distinct_plan() -> Plan {
    let mut products = per_unit("*", "0.20");
    products.name = "Products".to_owned();
    products.meter = Meter::DistinctProducts;
    Plan::new(terms(vec![products, per_unit("C*", "0.05")])).unwrap()
}

fn without_product(predicate: &'static str, receipts: u64) -> Usage<'static> {
    let mut row = usage(predicate, true, receipts);
    row.kind.has_product = false;
    row
}

fn draft_distinct(receipts: u64, values: Option<u64>) -> Result<String, Error> {
    let plan = distinct_plan();
    let rows = [
        usage("CERT_VALID@V1", true, receipts),
        without_product("CERT_VALID@V1", 3),
        without_product("DUE_DILIGENCE_VALID@V1", 2),
    ];
    let distinct: Vec<_> =
        values.map(|values| Distinct { charge: 1, values }).into_iter().collect();
    let slot = month_from("2026-10-01");
    let input = Input { plan: &plan, slot, usage: &rows, distinct: &distinct, tax: None };
    draft(&input).map(|draft| render(&draft))
}

#[test]
fn a_distinct_meter_takes_only_receipts_that_carry_the_field() {
    expect![[r#"
        charge:1 Products: 4 from 40 receipts, 0.80 EUR
          4 x 0.20 = 0.80
        charge:2 C*: 3 from 3 receipts, 0.15 EUR
          3 x 0.05 = 0.15
        net total 0.95 EUR
        unpriced DUE_DILIGENCE_VALID@V1 true: 2
    "#]]
    .assert_eq(&draft_distinct(40, Some(4)).unwrap());
    // Each receipt may carry a value of its own, and without receipts no count is needed.
    assert!(draft_distinct(40, Some(40)).is_ok());
    assert_eq!(draft_distinct(0, None), draft_distinct(0, Some(0)));
    assert!(draft_distinct(0, None).is_ok());
}

#[test]
fn a_distinct_count_that_cannot_be_is_refused() {
    let refusal = |values| draft_distinct(40, values).unwrap_err().to_string();
    expect![[r#"charge 1 "Products" counts distinct_products, but no count of them was given"#]]
        .assert_eq(&refusal(None));
    expect![[r#"charge 1 "Products" takes 40 receipts, which cannot have 41 distinct_products"#]]
        .assert_eq(&refusal(Some(41)));
    expect![[r#"charge 1 "Products" takes 40 receipts, which cannot have 0 distinct_products"#]]
        .assert_eq(&refusal(Some(0)));
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let plan = Plan::new(terms(vec![per_unit("*", "999999999999.9999999999")])).unwrap();
    let refusal = |rows: &[Usage<'_>]| {
        let slot = month_from("2026-10-01");
        let input = Input { plan: &plan, slot, usage: rows, distinct: &[], tax: None };
        draft(&input).unwrap_err().to_string()
    };
    let most = usage("CERT_VALID@V1", true, u64::MAX);
    expect![[r#"charge 1 "*": 18446744073709551615 x 999999999999.9999999999 is too large to be computed exactly; check the quantity and the price"#]].assert_eq(&refusal(&[most]));
    expect!["usage: 18446744073709551615 + 18446744073709551615 receipts is too large to be computed exactly; check the quantity and the price"].assert_eq(&refusal(&[most, most]));
}
