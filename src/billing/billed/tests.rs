//! What a period owes after everything that can happen to it.
#![allow(clippy::arithmetic_side_effects)]

use expect_test::{Expect, expect};

use super::*;
use crate::document::compose;
use crate::document::tests::{Book, decimal, eur, month, per_unit, render, terms, volume};
use crate::plan::Terms;

mod splits;

const SEPTEMBER: &str = "2026-09-01";
const OCTOBER: &str = "2026-10-01";

/// September with `before` receipts billed, then `late` more (or fewer), then their document.
fn late(terms: Terms, before: i64, late: i64, expected: Expect) {
    let mut book = Book::default();
    book.open(SEPTEMBER, 1, terms, "19");
    book.count(SEPTEMBER, "A", before);
    let mut text = render(book.bill(Some(SEPTEMBER), "2026-10-04"));
    book.count(SEPTEMBER, "A", late);
    text += &render(book.bill(None, "2026-11-04"));
    expected.assert_eq(&text);
}

#[test]
fn late_usage_at_the_same_price() {
    late(
        terms(vec![per_unit("A", "0.03")]),
        10,
        5,
        expect![[r#"
        invoice periods INV-2026-000001 of 2026-10-04
        1. 2026-09 charge:1 A: 10 for 0.30 at S 19 %
           10 x 0.03 = 0.30
        tax S 19 % of 0.30: 0.06
        net 0.30 + tax 0.06 = 0.36
        adjustment periods INV-2026-000002 of 2026-11-04
        1. 2026-09 charge:1 A: 5 for 0.15 at S 19 %
           billed 10 for 0.30, owed 15 for 0.45
           15 x 0.03 = 0.45
        tax S 19 % of 0.15: 0.03
        net 0.15 + tax 0.03 = 0.18
    "#]],
    );
}

#[test]
fn late_usage_that_reaches_a_cheaper_volume_tier_is_a_credit_note() {
    late(
        terms(vec![volume("A")]),
        90,
        20,
        expect![[r#"
        invoice periods INV-2026-000001 of 2026-10-04
        1. 2026-09 charge:1 A: 90 for 9.00 at S 19 %
           tier 1 (1 to 100): 90 x 0.10 = 9.00
        tax S 19 % of 9.00: 1.71
        net 9.00 + tax 1.71 = 10.71
        creditnote periods CN-2026-000001 of 2026-11-04
        1. 2026-09 charge:1 A: -20 for 3.50 at S 19 %
           billed 90 for 9.00, owed 110 for 5.50
           tier 2 (101 and up): 110 x 0.05 = 5.50
        tax S 19 % of 3.50: 0.67
        net 3.50 + tax 0.67 = 4.17
    "#]],
    );
}

#[test]
fn late_usage_that_fills_a_minimum_costs_nothing() {
    let minimum = Some(decimal("20.00"));
    late(
        Terms { minimum, ..terms(vec![per_unit("A", "0.10")]) },
        90,
        50,
        expect![[r#"
        invoice periods INV-2026-000001 of 2026-10-04
        1. 2026-09 charge:1 A: 90 for 9.00 at S 19 %
           90 x 0.10 = 9.00
        2. 2026-09 minimum Minimum: 1 for 11.00 at S 19 %
           from 9.00 EUR to 20.00 EUR
        tax S 19 % of 20.00: 3.80
        net 20.00 + tax 3.80 = 23.80
        adjustment periods without a number of 2026-11-04
        1. 2026-09 charge:1 A: 50 for 5.00 at S 19 %
           billed 90 for 9.00, owed 140 for 14.00
           140 x 0.10 = 14.00
        2. 2026-09 minimum Minimum: 0 for -5.00 at S 19 %
           billed 1 for 11.00, owed 1 for 6.00
           from 14.00 EUR to 20.00 EUR
        tax S 19 % of 0.00: 0.00
        net 0.00 + tax 0.00 = 0.00
    "#]],
    );
}

#[test]
fn late_usage_that_hits_a_maximum() {
    let maximum = Some(decimal("10.00"));
    late(
        Terms { maximum, ..terms(vec![per_unit("A", "0.10")]) },
        90,
        50,
        expect![[r#"
        invoice periods INV-2026-000001 of 2026-10-04
        1. 2026-09 charge:1 A: 90 for 9.00 at S 19 %
           90 x 0.10 = 9.00
        tax S 19 % of 9.00: 1.71
        net 9.00 + tax 1.71 = 10.71
        adjustment periods INV-2026-000002 of 2026-11-04
        1. 2026-09 charge:1 A: 50 for 5.00 at S 19 %
           billed 90 for 9.00, owed 140 for 14.00
           140 x 0.10 = 14.00
        2. 2026-09 maximum Maximum: 1 for -4.00 at S 19 %
           billed 0 for 0.00, owed 1 for -4.00
           from 14.00 EUR to 10.00 EUR
        tax S 19 % of 1.00: 0.19
        net 1.00 + tax 0.19 = 1.19
    "#]],
    );
}

#[test]
fn late_usage_that_changes_a_quantity_and_no_amount_has_its_line() {
    late(
        terms(vec![per_unit("A", "0.001")]),
        6,
        3,
        expect![[r#"
        invoice periods INV-2026-000001 of 2026-10-04
        1. 2026-09 charge:1 A: 6 for 0.01 at S 19 %
           6 x 0.001 = 0.006
        tax S 19 % of 0.01: 0.00
        net 0.01 + tax 0.00 = 0.01
        adjustment periods without a number of 2026-11-04
        1. 2026-09 charge:1 A: 3 for 0.00 at S 19 %
           billed 6 for 0.01, owed 9 for 0.01
           9 x 0.001 = 0.009
        tax S 19 % of 0.00: 0.00
        net 0.00 + tax 0.00 = 0.00
    "#]],
    );
}

#[test]
fn voided_receipts_are_given_back() {
    late(
        terms(vec![per_unit("A", "0.03")]),
        10,
        -10,
        expect![[r#"
        invoice periods INV-2026-000001 of 2026-10-04
        1. 2026-09 charge:1 A: 10 for 0.30 at S 19 %
           10 x 0.03 = 0.30
        tax S 19 % of 0.30: 0.06
        net 0.30 + tax 0.06 = 0.36
        creditnote periods CN-2026-000001 of 2026-11-04
        1. 2026-09 charge:1 A: 10 for 0.30 at S 19 %
           billed 10 for 0.30, owed 0 for 0.00
        tax S 19 % of 0.30: 0.06
        net 0.30 + tax 0.06 = 0.36
    "#]],
    );
}

/// A late receipt comes with the next invoice; the discounts and limits of that invoice's own
/// period do not see it.
#[test]
fn late_usage_on_the_next_invoice() {
    let plan = || Terms {
        discounts: vec![crate::document::tests::percent("Partner", "10")],
        minimum: Some(decimal("5.00")),
        ..terms(vec![volume("A")])
    };
    let mut book = Book::default();
    book.open(SEPTEMBER, 1, plan(), "19");
    book.open(OCTOBER, 1, plan(), "19");
    book.count(SEPTEMBER, "A", 90);
    book.bill(Some(SEPTEMBER), "2026-10-04");
    book.count(OCTOBER, "A", 40);
    book.count(SEPTEMBER, "A", 20);
    expect![[r#"
        invoice periods INV-2026-000002 of 2026-11-04
        1. 2026-09 charge:1 A: 20 for -3.50 at S 19 %
           billed 90 for 9.00, owed 110 for 5.50
           tier 2 (101 and up): 110 x 0.05 = 5.50
        2. 2026-09 discount:1 Partner: 0 for 0.35 at S 19 %
           billed 1 for -0.90, owed 1 for -0.55
           10 % of 5.50 EUR
        3. 2026-09 minimum Minimum: 1 for 0.05 at S 19 %
           billed 0 for 0.00, owed 1 for 0.05
           from 4.95 EUR to 5.00 EUR
        4. 2026-10 charge:1 A: 40 for 4.00 at S 19 %
           tier 1 (1 to 100): 40 x 0.10 = 4.00
        5. 2026-10 discount:1 Partner: 1 for -0.40 at S 19 %
           10 % of 4.00 EUR
        6. 2026-10 minimum Minimum: 1 for 1.40 at S 19 %
           from 3.60 EUR to 5.00 EUR
        tax S 19 % of 1.90: 0.36
        net 1.90 + tax 0.36 = 2.26
    "#]]
    .assert_eq(&render(book.bill(Some(OCTOBER), "2026-11-04")));
}

/// Receipts late by 1, 2 and 13 periods, across a change of price and one of tax.
#[test]
fn each_period_is_adjusted_at_its_own_price_and_tax() {
    let mut book = Book::default();
    let firsts: Vec<String> =
        (0..15).map(|number| format!("{}-{:02}-01", 2026 + number / 12, number % 12 + 1)).collect();
    for (number, first) in firsts.iter().enumerate() {
        // The price rises in June 2026, the tax in January 2027.
        let (version, price) = if number < 5 { (1, "0.10") } else { (2, "0.12") };
        let rate = if number < 12 { "19" } else { "20" };
        book.open(first, version, terms(vec![per_unit("A", price)]), rate);
        book.count(first, "A", 100);
        if number < 14 {
            let issued = month(first).period.end().to_string();
            book.bill(Some(first), &issued);
        }
    }
    let frozen: Vec<_> = book.documents.iter().map(|document| document.hash().unwrap()).collect();
    for (first, receipts) in
        [("2027-02-01", 1), ("2027-01-01", 2), ("2026-12-01", 3), ("2026-02-01", 4)]
    {
        book.count(first, "A", receipts);
    }
    let document = book.bill(Some("2027-03-01"), "2027-04-04");
    expect![[r#"
        invoice periods INV-2027-000004 of 2027-04-04
        1. 2026-02 charge:1 A: 4 for 0.40 at S 19 %
           billed 100 for 10.00, owed 104 for 10.40
           104 x 0.10 = 10.40
        2. 2026-12 charge:1 A: 3 for 0.36 at S 19 %
           billed 100 for 12.00, owed 103 for 12.36
           103 x 0.12 = 12.36
        3. 2027-01 charge:1 A: 2 for 0.24 at S 20 %
           billed 100 for 12.00, owed 102 for 12.24
           102 x 0.12 = 12.24
        4. 2027-02 charge:1 A: 1 for 0.12 at S 20 %
           billed 100 for 12.00, owed 101 for 12.12
           101 x 0.12 = 12.12
        5. 2027-03 charge:1 A: 100 for 12.00 at S 20 %
           100 x 0.12 = 12.00
        tax S 19 % of 0.76: 0.14
        tax S 20 % of 12.36: 2.47
        net 13.12 + tax 2.61 = 15.73
    "#]]
    .assert_eq(&render(document));
    let versions: Vec<_> = document.periods.iter().map(|period| period.plan_version).collect();
    assert_eq!(versions, [1, 2, 2, 2, 2]);
    let now: Vec<_> = book.documents.iter().map(|document| document.hash().unwrap()).collect();
    assert_eq!(now[..14], frozen, "what was issued did not change");
}

/// A favour is not in billed: late usage is charged as if it had not been given.
#[test]
fn a_goodwill_credit_before_late_usage() {
    use crate::document::credit::{Amounts, Credited, Terms as CreditTerms, credit};
    let mut book = Book::default();
    book.open(SEPTEMBER, 1, terms(vec![volume("A")]), "19");
    book.count(SEPTEMBER, "A", 90);
    let invoice = book.bill(Some(SEPTEMBER), "2026-10-04").clone();
    let note = CreditTerms {
        issue_date: invoice.issue_date,
        note: "Sorry",
        billing_version: 1,
        previous: None,
    };
    let favour = Amounts::Goodwill(vec![(1, eur("2.00"))]);
    let note = credit(&invoice, &Credited::default(), &favour, &note).unwrap();
    let mut text = render(book.issue(note));
    book.count(SEPTEMBER, "A", 5);
    text += &render(book.bill(None, "2026-11-04"));
    expect![[r#"
        creditnote goodwill CN-2026-000001 of 2026-10-04
        1. 2026-09 credits line 1 of INV-2026-000001 A: 1 for 2.00 at S 19 %
        tax S 19 % of 2.00: 0.38
        net 2.00 + tax 0.38 = 2.38
        adjustment periods INV-2026-000002 of 2026-11-04
        1. 2026-09 charge:1 A: 5 for 0.50 at S 19 %
           billed 90 for 9.00, owed 95 for 9.50
           tier 1 (1 to 100): 95 x 0.10 = 9.50
        tax S 19 % of 0.50: 0.10
        net 0.50 + tax 0.10 = 0.60
    "#]]
    .assert_eq(&text);
}

/// Cancelled and issued again at another price: the period owes all of it again.
#[test]
fn cancel_and_issue_again() {
    use crate::document::credit::{Amounts, Credited, Terms as CreditTerms, credit};
    let mut book = Book::default();
    book.open(SEPTEMBER, 1, terms(vec![per_unit("A", "0.10")]), "19");
    book.count(SEPTEMBER, "A", 90);
    let invoice = book.bill(Some(SEPTEMBER), "2026-10-04").clone();
    book.count(SEPTEMBER, "A", 5);
    let late = book.bill(None, "2026-10-05").clone();
    let mut text = String::new();
    for document in [&late, &invoice] {
        let note = CreditTerms {
            issue_date: late.issue_date,
            note: "Wrong price",
            billing_version: 1,
            previous: None,
        };
        let note = credit(document, &Credited::default(), &Amounts::Cancel, &note).unwrap();
        text += &render(book.issue(note));
        book.unbill(document);
    }
    let account = book.accounts.get_mut(&month(SEPTEMBER).period.start()).unwrap();
    account.cutoff = 0;
    account.plan = Plan::new(terms(vec![per_unit("A", "0.08")])).unwrap();
    let again = book.bill(Some(SEPTEMBER), "2026-10-06");
    assert_eq!(again.lines[0].adjustment, None, "nothing stands billed, so nothing is adjusted");
    text += &render(again);
    expect![[r#"
        creditnote cancel CN-2026-000001 of 2026-10-05
        1. 2026-09 credits line 1 of INV-2026-000002 A: 1 for 0.50 at S 19 %
        tax S 19 % of 0.50: 0.10
        net 0.50 + tax 0.10 = 0.60
        creditnote cancel CN-2026-000002 of 2026-10-05
        1. 2026-09 credits line 1 of INV-2026-000001 A: 1 for 9.00 at S 19 %
        tax S 19 % of 9.00: 1.71
        net 9.00 + tax 1.71 = 10.71
        invoice periods INV-2026-000003 of 2026-10-06
        1. 2026-09 charge:1 A: 95 for 7.60 at S 19 %
           95 x 0.08 = 7.60
        tax S 19 % of 7.60: 1.44
        net 7.60 + tax 1.44 = 9.04
    "#]]
    .assert_eq(&text);
}

/// A period that was closed with nothing billed owes its late usage like any first usage.
#[test]
fn late_usage_of_a_period_that_was_closed_at_zero() {
    let mut book = Book::default();
    book.open(SEPTEMBER, 1, terms(vec![per_unit("A", "0.10")]), "19");
    let mut text = render(book.bill(Some(SEPTEMBER), "2026-10-04"));
    book.count(SEPTEMBER, "A", 2);
    text += &render(book.bill(None, "2026-11-04"));
    expect![[r#"
        invoice periods without a number of 2026-10-04
        net 0.00 + tax 0.00 = 0.00
        adjustment periods INV-2026-000001 of 2026-11-04
        1. 2026-09 charge:1 A: 2 for 0.20 at S 19 %
           2 x 0.10 = 0.20
        tax S 19 % of 0.20: 0.04
        net 0.20 + tax 0.04 = 0.24
    "#]]
    .assert_eq(&text);
}

/// September is taxed at 19 %, October at 20 %; what one gives back the other charges. Nothing is
/// left net, but tax is, and its sign says what the document is.
#[test]
fn a_net_total_of_zero_with_tax() {
    let mut text = String::new();
    for (september, october) in [(-100, 100), (100, -100)] {
        let mut book = Book::default();
        for (first, rate) in [(SEPTEMBER, "19"), (OCTOBER, "20")] {
            book.open(first, 1, terms(vec![per_unit("A", "0.10")]), rate);
            book.count(first, "A", 100);
            book.bill(Some(first), "2026-11-04");
        }
        book.count(SEPTEMBER, "A", september);
        book.count(OCTOBER, "A", october);
        text += &render(book.bill(None, "2026-12-04"));
    }
    expect![[r#"
        adjustment periods INV-2026-000003 of 2026-12-04
        1. 2026-09 charge:1 A: -100 for -10.00 at S 19 %
           billed 100 for 10.00, owed 0 for 0.00
        2. 2026-10 charge:1 A: 100 for 10.00 at S 20 %
           billed 100 for 10.00, owed 200 for 20.00
           200 x 0.10 = 20.00
        tax S 19 % of -10.00: -1.90
        tax S 20 % of 10.00: 2.00
        net 0.00 + tax 0.10 = 0.10
        creditnote periods CN-2026-000001 of 2026-12-04
        1. 2026-09 charge:1 A: -100 for -10.00 at S 19 %
           billed 100 for 10.00, owed 200 for 20.00
           200 x 0.10 = 20.00
        2. 2026-10 charge:1 A: 100 for 10.00 at S 20 %
           billed 100 for 10.00, owed 0 for 0.00
        tax S 19 % of -10.00: -1.90
        tax S 20 % of 10.00: 2.00
        net 0.00 + tax 0.10 = 0.10
    "#]]
    .assert_eq(&text);
}

/// A late receipt of a product that was counted already changes neither quantity nor amount, but it
/// must be in `billed` all the same.
#[test]
fn a_late_receipt_of_a_known_product_has_its_line() {
    let mut charge = per_unit("A", "0.20");
    charge.meter = Meter::DistinctProducts;
    let plan = Plan::new(terms(vec![charge])).unwrap();
    let slot = month(SEPTEMBER);
    let predicate = crate::ids::Predicate::new("A", "V1").unwrap();
    let kind =
        crate::plan::UsageKind { predicate, result: true, has_product: true, has_supplier: true };
    let usage = [crate::draft::Usage { kind, receipts: 5 }];
    let distinct = [crate::draft::Distinct { charge: 1, values: 3 }];
    let input =
        crate::draft::Input { plan: &plan, slot, usage: &usage, distinct: &distinct, tax: None };
    let draft = crate::draft::draft(&input).unwrap();
    let billed = Charged {
        period: slot.period.start(),
        key: LineKey::Charge(1),
        quantity: 3,
        receipts: 4,
        amount: eur("0.60"),
    };
    let owed = owed(&plan, &draft, &[billed]).unwrap();
    let changes: Vec<_> = owed.iter().map(|owed| (owed.key, owed.change)).collect();
    let change = Standing { quantity: 0, receipts: 1, amount: eur("0.00") };
    assert_eq!(changes, [(LineKey::Charge(1), change)]);
    assert_eq!(owed[0].meter, Some(Meter::DistinctProducts));
}

#[test]
fn what_was_billed_and_is_in_no_plan_is_refused() {
    let plan = Plan::new(terms(vec![per_unit("A", "0.10")])).unwrap();
    let slot = month(SEPTEMBER);
    let input = crate::draft::Input { plan: &plan, slot, usage: &[], distinct: &[], tax: None };
    let draft = crate::draft::draft(&input).unwrap();
    let row = |key, amount, quantity| Charged {
        period: slot.period.start(),
        key,
        quantity,
        receipts: quantity,
        amount,
    };
    let refusal = |rows: &[Charged]| owed(&plan, &draft, rows).unwrap_err().to_string();
    let one = eur("1.00");
    expect!["charge:2 was billed, but the plan recorded for the period has no such line"]
        .assert_eq(&refusal(&[row(LineKey::Charge(2), one, 1)]));
    expect!["minimum was billed, but the plan recorded for the period has no such line"]
        .assert_eq(&refusal(&[row(LineKey::Minimum, one, 1)]));
    let key = LineKey::Charge(1);
    expect!["charge:1: the quantity is above 2^63 - 1; split the period"]
        .assert_eq(&refusal(&[row(key, one, i64::MAX), row(key, one, 1)]));
    expect!["charge:1: the quantity is above 2^63 - 1; split the period"]
        .assert_eq(&refusal(&[row(key, one, i64::MIN)]));
    let yen = Money::zero(Currency::from_code("JPY").unwrap());
    expect!["charge:1: EUR and JPY cannot be added; a document has one currency"]
        .assert_eq(&refusal(&[row(key, one, 1), row(key, yen, 1)]));
    assert!(opposites(&[row(key, one, i64::MIN)]).is_err());
    let there_and_back = [row(key, one, 7), opposites(&[row(key, one, 7)]).unwrap()[0]];
    assert_eq!(owed(&plan, &draft, &there_and_back), Ok(Vec::new()));
}

#[test]
fn a_document_has_one_currency_and_a_period() {
    let mut book = Book::default();
    book.open(SEPTEMBER, 1, terms(vec![per_unit("A", "0.10")]), "19");
    book.count(SEPTEMBER, "A", 1);
    let account = &book.accounts[&month(SEPTEMBER).period.start()];
    let party = crate::document::Party::default();
    let parts = |currency, periods| compose::Parts {
        brand: "ACME",
        currency,
        zone: "UTC",
        issuer: &party,
        buyer: &party,
        regular: true,
        periods,
        issue_date: month(OCTOBER).period.start(),
        terms_days: 30,
        overrides: Vec::new(),
        billing_version: 0,
        previous: None,
    };
    let yen = Currency::from_code("JPY").unwrap();
    let mixed = compose::compose(parts(yen, vec![account.part(account.owed(), 1)]));
    assert!(matches!(mixed, Err(compose::Error::Money(_))), "{mixed:?}");
    let none = compose::compose(parts(Currency::EUR, Vec::new()));
    assert_eq!(none, Err(compose::Error::NoPeriod));
    let mut long = parts(Currency::EUR, vec![account.part(account.owed(), 1)]);
    long.terms_days = 366;
    assert_eq!(compose::compose(long), Err(compose::Error::Terms(366)));
}
