use expect_test::{Expect, expect};

use super::*;

fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

fn standard(rate: &str) -> Treatment {
    Treatment::new(Category::Standard, decimal(rate), None).unwrap()
}

fn exempt(category: Category, text: &str) -> Treatment {
    Treatment::new(category, Decimal::ZERO, Some(text.to_owned())).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "a case reads better without borrows")]
fn check(lines: &[(&str, Treatment)], expected: Expect) {
    let lines = lines
        .iter()
        .map(|(amount, tax)| (Money::new(decimal(amount), Currency::EUR).unwrap(), tax));
    let text = match totals(Currency::EUR, lines) {
        Err(error) => error.to_string(),
        Ok(Totals { groups, tax, total }) => {
            let mut text = String::new();
            for Group { category, rate_percent, exemptions, taxable, tax } in groups {
                let reasons: Vec<_> = exemptions.into_iter().collect();
                let code = category.code();
                text += &format!("{code} {rate_percent} % of {taxable}: {tax} {reasons:?}\n");
            }
            text + &format!("tax {tax}, total {total}")
        }
    };
    expected.assert_eq(&text);
}

/// Taxed line by line these would be 0.00 each; together 0.06 at 19 % are 0.0114.
#[test]
fn tax_is_computed_on_the_sum_of_a_group() {
    check(
        &[("0.02", standard("19")), ("0.02", standard("19.00")), ("0.02", standard("19"))],
        expect![[r#"
            S 19 % of 0.06 EUR: 0.01 EUR []
            tax 0.01 EUR, total 0.07 EUR"#]],
    );
}

#[test]
fn each_category_and_rate_is_a_group() {
    check(
        &[
            ("10.00", standard("19")),
            ("10.50", standard("7")),
            ("-3.00", standard("19")),
            ("5.00", exempt(Category::ReverseCharge, "reverse charge")),
            ("1.00", exempt(Category::ReverseCharge, "Article 196")),
            ("4.00", Treatment::new(Category::Zero, Decimal::ZERO, None).unwrap()),
        ],
        expect![[r#"
            S 7 % of 10.50 EUR: 0.74 EUR []
            S 19 % of 7.00 EUR: 1.33 EUR []
            Z 0 % of 4.00 EUR: 0.00 EUR []
            AE 0 % of 6.00 EUR: 0.00 EUR ["Article 196", "reverse charge"]
            tax 2.07 EUR, total 29.57 EUR"#]],
    );
    check(&[], expect!["tax 0.00 EUR, total 0.00 EUR"]);
}

#[test]
fn a_negative_group_has_negative_tax_rounded_away_from_zero() {
    check(
        &[("-0.50", standard("19"))],
        expect![[r#"
        S 19 % of -0.50 EUR: -0.10 EUR []
        tax -0.10 EUR, total -0.60 EUR"#]],
    );
}

#[test]
fn out_of_scope_stands_alone() {
    let outside = exempt(Category::OutOfScope, "not subject to VAT");
    check(
        &[("5.00", outside.clone()), ("1.00", outside.clone())],
        expect![[r#"
        O 0 % of 6.00 EUR: 0.00 EUR ["not subject to VAT"]
        tax 0.00 EUR, total 6.00 EUR"#]],
    );
    check(
        &[("5.00", outside), ("1.00", standard("19"))],
        expect!["lines outside the scope of VAT (O) and others cannot stand on one document"],
    );
}

#[test]
fn a_treatment_is_consistent() {
    let refusal = |category, rate, text: Option<&str>| {
        Treatment::new(category, decimal(rate), text.map(str::to_owned)).unwrap_err().to_string()
    };
    expect!["category S needs a rate above 0 and at most 100 %, not 0"].assert_eq(&refusal(
        Category::Standard,
        "0",
        None,
    ));
    expect!["category S needs a rate above 0 and at most 100 %, not 100.1"].assert_eq(&refusal(
        Category::Standard,
        "100.1",
        None,
    ));
    expect!["the rate 19.00001 has more than 4 decimals"].assert_eq(&refusal(
        Category::Standard,
        "19.00001",
        None,
    ));
    expect!["category S takes no exemption text"].assert_eq(&refusal(
        Category::Standard,
        "19",
        Some("why"),
    ));
    expect!["category Z has a rate of 0 %, not 1"].assert_eq(&refusal(Category::Zero, "1", None));
    expect!["category AE needs an exemption text that says why no tax is due"].assert_eq(&refusal(
        Category::ReverseCharge,
        "0",
        Some(" "),
    ));
    expect!["category O needs an exemption text that says why no tax is due"].assert_eq(&refusal(
        Category::OutOfScope,
        "0",
        None,
    ));
    // The highest rate, and the most decimals.
    assert_eq!(standard("100").rate_percent().to_string(), "100");
    assert_eq!(standard("19.1234").rate_percent().to_string(), "19.1234");
    assert_eq!(standard("19.0000").rate_percent().to_string(), "19");
    assert_eq!(standard("19").exemption(), None);
    assert_eq!(exempt(Category::Exempt, "why").exemption(), Some("why"));
    for category in Category::ALL {
        assert_eq!(Category::from_code(category.code()), Some(category));
    }
}

#[test]
fn the_treatment_of_a_day_is_the_last_one_that_began() {
    let day = |text: &str| text.parse::<NaiveDate>().unwrap();
    let dated = |from, rate| {
        let rate = Decimal::from_str_exact(rate).unwrap();
        let treatment = Treatment::new(Category::Standard, rate, None).unwrap();
        Dated { from: day(from), treatment }
    };
    // The third one corrects the second.
    let versions =
        [dated("2026-01-01", "19"), dated("2026-07-01", "61"), dated("2026-07-01", "16")];
    let rate = |on| in_force(&versions, day(on)).map(|found| found.rate_percent().to_string());
    assert_eq!(rate("2025-12-31"), None);
    assert_eq!(rate("2026-01-01").as_deref(), Some("19"));
    assert_eq!(rate("2026-06-30").as_deref(), Some("19"));
    assert_eq!(rate("2026-07-01").as_deref(), Some("16"));
    assert_eq!(in_force(&[], day("2026-01-01")), None);
}
