//! What the tests of the price models share, and what is true of all of them.
#![allow(clippy::arithmetic_side_effects)]

use expect_test::Expect;
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::plan::{Model, Tier};

pub(super) fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

/// Tiers from rows of (up to, unit price, flat fee); `inf` is the open end.
pub(super) fn tiers(rows: &[(&str, &str, &str)]) -> Vec<Tier> {
    rows.iter()
        .map(|(up_to, unit_price, flat_fee)| Tier {
            up_to: up_to.parse().ok(),
            unit_price: decimal(unit_price),
            flat_fee: decimal(flat_fee),
        })
        .collect()
}

/// Prices each quantity and prints one line for it, with its steps.
#[expect(clippy::needless_pass_by_value, reason = "a case reads better without borrows")]
pub(super) fn check(model: &Model, quantities: &[u64], expected: Expect) {
    let table: String = quantities
        .iter()
        .map(|&units| {
            let priced = price(model, units).unwrap();
            let steps: Vec<_> = priced.steps.iter().map(Step::to_string).collect();
            format!("{units} units: {}  [{}]\n", priced.exact.normalize(), steps.join("; "))
        })
        .collect();
    expected.assert_eq(&table);
}

/// Units of 10^-10, in which the second implementation counts.
const PRICE_SCALE: u32 = 10;

fn integer(price: Decimal) -> i128 {
    let mut price = price;
    price.rescale(PRICE_SCALE);
    price.mantissa()
}

/// The tier of the unit with this number, found by walking up.
fn tier_of(tiers: &[Tier], unit: u64) -> usize {
    let mut index = 0;
    while tiers[index].up_to.is_some_and(|up_to| unit > up_to) {
        index += 1;
    }
    index
}

/// Prices again, unit by unit, in integers.
pub(crate) fn naive(model: &Model, units: u64) -> i128 {
    match model {
        Model::PerUnit { unit_price } => (0..units).map(|_| integer(*unit_price)).sum(),
        Model::Package { size, price } => {
            (0..units).filter(|unit| unit % size == 0).map(|_| integer(*price)).sum()
        }
        Model::Volume(tiers) => {
            let tier = tiers[tier_of(tiers, units)];
            integer(tier.flat_fee) + (0..units).map(|_| integer(tier.unit_price)).sum::<i128>()
        }
        Model::Graduated(tiers) => {
            let mut sum = integer(tiers[0].flat_fee);
            let mut reached = 0;
            for unit in 1..=units {
                let tier = tier_of(tiers, unit);
                if tier > reached {
                    reached = tier;
                    sum += integer(tiers[tier].flat_fee);
                }
                sum += integer(tiers[tier].unit_price);
            }
            sum
        }
    }
}

fn any_price() -> impl Strategy<Value = Decimal> {
    (0_i64..=100_000_000_000, 0_u32..=10)
        .prop_map(|(mantissa, scale)| Decimal::new(mantissa, scale))
}

fn any_tiers() -> impl Strategy<Value = Vec<Tier>> {
    let row = (1_u64..40, any_price(), prop_oneof![Just(Decimal::ZERO), any_price()]);
    proptest::collection::vec(row, 1..6).prop_map(|rows| {
        let last = rows.len() - 1;
        let mut bound = 0;
        rows.into_iter()
            .enumerate()
            .map(|(index, (width, unit_price, flat_fee))| {
                bound += width;
                let up_to = (index != last).then_some(bound);
                Tier { up_to, unit_price, flat_fee }
            })
            .collect()
    })
}

pub(crate) fn any_model() -> impl Strategy<Value = Model> {
    prop_oneof![
        any_price().prop_map(|unit_price| Model::PerUnit { unit_price }),
        any_tiers().prop_map(Model::Graduated),
        any_tiers().prop_map(Model::Volume),
        (1_u64..30, any_price()).prop_map(|(size, price)| Model::Package { size, price }),
    ]
}

proptest! {
    #[test]
    fn a_price_is_what_counting_unit_by_unit_gives(model in any_model(), units in 0_u64..200) {
        let priced = price(&model, units).unwrap();
        prop_assert_eq!(integer(priced.exact), naive(&model, units));
        prop_assert!(!priced.steps.is_empty());
    }

    /// All units are in some tier and none in two.
    #[test]
    fn the_tiers_of_a_graduated_price_share_out_all_units(
        tiers in any_tiers(), units in any::<u64>(),
    ) {
        let Ok(priced) = price(&Model::Graduated(tiers), units) else { return Ok(()) };
        let within: u64 = priced
            .steps
            .iter()
            .map(|step| match step {
                Step::Tier { units, .. } => *units,
                other => panic!("{other:?} is not a tier"),
            })
            .sum();
        prop_assert_eq!(within, units);
    }
}
