#![allow(clippy::arithmetic_side_effects)]

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

fn share(text: &str, numerator: u32, denominator: u32) -> Result<Money, Overflow> {
    Money::share_half_up(decimal(text), numerator, denominator, Currency::EUR)
}

fn euro(text: &str) -> Money {
    Money::new(decimal(text), Currency::EUR).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "a table row reads better without borrows")]
fn check(rows: &[(&str, &str)], expected: Expect) {
    let table: String = rows
        .iter()
        .map(|(exact, code)| {
            let currency = Currency::from_code(code).unwrap();
            let rounded = Money::round_half_up(decimal(exact), currency).unwrap();
            format!("{exact} -> {rounded}\n")
        })
        .collect();
    expected.assert_eq(&table);
}

#[test]
fn halves_go_away_from_zero() {
    check(
        &[
            ("0.004999", "EUR"),
            ("0.005", "EUR"),
            ("0.015", "EUR"),
            ("0.025", "EUR"),
            ("-0.004999", "EUR"),
            ("-0.005", "EUR"),
            ("-0.025", "EUR"),
            ("2", "EUR"),
            ("0.5", "JPY"),
            ("1.49", "JPY"),
            ("0.0005", "KWD"),
            ("0.00005", "CLF"),
            ("-0.001", "EUR"),
        ],
        expect![[r#"
            0.004999 -> 0.00 EUR
            0.005 -> 0.01 EUR
            0.015 -> 0.02 EUR
            0.025 -> 0.03 EUR
            -0.004999 -> 0.00 EUR
            -0.005 -> -0.01 EUR
            -0.025 -> -0.03 EUR
            2 -> 2.00 EUR
            0.5 -> 1 JPY
            1.49 -> 1 JPY
            0.0005 -> 0.001 KWD
            0.00005 -> 0.0001 CLF
            -0.001 -> 0.00 EUR
        "#]],
    );
}

#[test]
fn a_prorated_amount_is_rounded_once() {
    assert_eq!(share("99.00", 11, 30), Ok(euro("36.30")));
    assert_eq!(share("100.00", 1, 3), Ok(euro("33.33")));
    assert_eq!(share("0.01", 1, 2), Ok(euro("0.01")));
    assert_eq!(share("-0.01", 1, 2), Ok(euro("-0.01")));
    assert!(share("1.00", 1, 0).is_err());
}

#[test]
fn a_sum_keeps_its_currency_and_its_decimals() {
    let yen = Money::zero(Currency::from_code("JPY").unwrap());
    assert_eq!(
        euro("1.00").plus(yen).unwrap_err().to_string(),
        "EUR and JPY cannot be added; a document has one currency"
    );
    assert!(euro("1.00").minus(yen).is_err());
    assert_eq!(euro("0.10").minus(euro("0.30")).unwrap().to_string(), "-0.20 EUR");
    assert_eq!(euro("0.10").plus(euro("-0.10")).unwrap().to_string(), "0.00 EUR");
    assert_eq!(euro("0.00").opposite().to_string(), "0.00 EUR");
    assert_eq!(euro("-0.20").opposite(), euro("0.20"));
    assert_eq!(sum(Currency::EUR, []), Ok(euro("0.00")));
    assert!(euro("-0.01").is_negative() && !euro("0.00").is_negative());
}

#[test]
fn money_is_in_whole_minor_units() {
    assert_eq!(Money::new(decimal("0.005"), Currency::EUR), None);
    assert_eq!(euro("3.1000").to_string(), "3.10 EUR");
    assert_eq!(format!("{:?}", euro("3.1")), "3.10 EUR");
    assert!(Money::new(Decimal::MAX, Currency::EUR).is_none());
    assert!(Money::round_half_up(Decimal::MAX, Currency::EUR).is_err());
}

proptest! {
    /// The second implementation rounds in words: cut the digits off, look at the rest.
    #[test]
    fn rounding_agrees_with_rust_decimal(mantissa in any::<i64>(), scale in 0_u32..=18) {
        let exact = Decimal::new(mantissa, scale);
        let rounded = Money::round_half_up(exact, Currency::EUR).unwrap();
        let naive = exact
            .round_dp_with_strategy(2, rust_decimal::RoundingStrategy::MidpointAwayFromZero);
        prop_assert_eq!(rounded.amount(), naive);
        prop_assert_eq!(rounded.amount().scale(), 2);
        prop_assert_eq!(rounded.opposite(), Money::round_half_up(-exact, Currency::EUR).unwrap());
    }
}
