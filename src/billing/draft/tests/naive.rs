//! A second implementation of the order of work, which knows nothing of the first: it takes
//! receipts one by one, counts in integers of 10^-10, and divides where the first one shifts.

use proptest::prelude::*;

use super::*;
use crate::pricing::tests::{any_model, naive as price};

const ONE: i128 = 10_000_000_000;
const CENT: i128 = ONE / 100;

/// The nearest whole number to `dividend` / `divisor`, a half upwards; neither is negative.
fn nearest(dividend: i128, divisor: i128) -> i128 {
    (2 * dividend + divisor) / (2 * divisor)
}

fn cents(amount: Decimal) -> i128 {
    let mut amount = amount;
    amount.rescale(2);
    amount.mantissa()
}

/// Which charge of `any_terms` takes the receipt, written out by hand: charge 1 takes results that
/// failed of predicate A, charge 2 all else of A, charge 3 predicate B; C is unpriced.
fn charge_of(name: &str, result: bool) -> Option<usize> {
    match (name, result) {
        ("A", false) => Some(0),
        ("A", true) => Some(1),
        ("B", _) => Some(2),
        _ => None,
    }
}

/// Net amounts in cents by line key, without lines of nothing.
fn naive(terms: &Terms, slot: Slot, receipts: &[(&str, bool)]) -> Vec<(String, i128)> {
    // Days of the whole period before the slot, in it, and after it, one by one.
    let all: Vec<_> =
        slot.whole.start().iter_days().take_while(|day| *day < slot.whole.end()).collect();
    let count = |days: usize| i128::try_from(days).unwrap();
    let before = all.iter().filter(|day| **day < slot.period.start()).count();
    let up_to = before + all.iter().filter(|day| slot.period.contains(**day)).count();
    let prorated = |whole: Decimal| {
        let due = |days: usize| nearest(cents(whole) * count(days), count(all.len()));
        due(up_to) - due(before)
    };
    let mut lines = Vec::new();
    let mut net = terms.fixed_fee.map_or(0, prorated);
    lines.push(("fixed_fee".to_owned(), net, 0));

    let mut left = 0;
    for (index, charge) in terms.charges.iter().enumerate() {
        let taken =
            receipts.iter().filter(|(name, result)| charge_of(name, *result) == Some(index));
        let count = taken.count();
        let mut units = u64::try_from(count).unwrap();
        for _ in 0..charge.free_units {
            units -= u64::from(units > 0);
        }
        let amount = nearest(price(&charge.model, units), CENT);
        left += amount;
        lines.push((format!("charge:{}", index + 1), amount, count));
    }
    for (index, discount) in terms.discounts.iter().enumerate() {
        let off = match discount.reduction {
            Reduction::Percent(percent) => {
                let mut percent = percent;
                percent.rescale(10);
                nearest(left * percent.mantissa(), 100 * ONE)
            }
            Reduction::Absolute(amount) => left.min(cents(amount)),
        };
        left -= off;
        lines.push((format!("discount:{}", index + 1), -off, 0));
    }
    net += left;
    let maximum = terms.maximum.map_or(i128::MAX, prorated);
    let minimum = terms.minimum.map_or(i128::MIN, prorated).min(maximum);
    lines.push(("minimum".to_owned(), minimum.max(net) - net, 0));
    lines.push(("maximum".to_owned(), maximum.min(net) - net, 0));
    lines
        .into_iter()
        .filter(|(_, amount, receipts)| *amount != 0 || *receipts > 0)
        .map(|(key, amount, _)| (key, amount))
        .collect()
}

fn money() -> impl Strategy<Value = Decimal> {
    (0_i64..20_000).prop_map(|cents| Decimal::new(cents, 2))
}

fn any_discounts() -> impl Strategy<Value = Vec<Discount>> {
    let percents = proptest::collection::vec((1_i64..=10_000_000, 0_u32..=5), 0..3);
    let absolutes = proptest::collection::vec(money(), 0..3);
    (percents, absolutes).prop_map(|(percents, absolutes)| {
        let percents = percents.into_iter().map(|(mantissa, scale)| {
            let percent = Decimal::new(mantissa, scale).min(Decimal::ONE_HUNDRED);
            Reduction::Percent(percent)
        });
        percents
            .chain(absolutes.into_iter().map(Reduction::Absolute))
            .enumerate()
            .map(|(n, reduction)| Discount { name: format!("Discount {n}"), reduction })
            .collect()
    })
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let charges = proptest::collection::vec((any_model(), 0_u64..8), 3..=3);
    let limits = (proptest::option::of(money()), proptest::option::of(money()));
    (charges, any_discounts(), proptest::option::of(money()), limits).prop_map(
        |(models, discounts, fixed_fee, (one, other))| {
            let selectors =
                [("A@*", Results::False), ("A@V1", Results::Any), ("B*@*", Results::Any)];
            let charges = models
                .into_iter()
                .zip(selectors)
                .enumerate()
                .map(|(index, ((model, free_units), (predicates, results)))| Charge {
                    name: format!("Charge {index}"),
                    selector: Selector::parse(predicates, results).unwrap(),
                    meter: Meter::Receipts,
                    free_units,
                    model,
                })
                .collect();
            let (minimum, maximum) = match (one, other) {
                (Some(one), Some(other)) => (Some(one.min(other)), Some(one.max(other))),
                limits => limits,
            };
            Terms { fixed_fee, discounts, minimum, maximum, ..terms(charges) }
        },
    )
}

type Receipts = Vec<(&'static str, bool)>;

/// Receipts, and the same receipts in another order.
fn any_receipts() -> impl Strategy<Value = (Receipts, Receipts)> {
    let one = (proptest::sample::select(vec!["A", "B", "C"]), any::<bool>());
    proptest::collection::vec(one, 0..120)
        .prop_flat_map(|receipts| (Just(receipts.clone()), Just(receipts).prop_shuffle()))
}

fn any_slot() -> impl Strategy<Value = Slot> {
    (1_u32..=30).prop_map(|day| month_from(&format!("2026-09-{day:02}")))
}

fn rows(receipts: &[(&'static str, bool)], group: usize) -> Vec<Usage<'static>> {
    let mut rows: Vec<Usage<'static>> = Vec::new();
    for (index, (name, result)) in receipts.iter().enumerate() {
        let predicate = Predicate::new(name, "V1").unwrap();
        let kind = UsageKind { predicate, result: *result, has_product: true, has_supplier: true };
        // A row takes a further receipt only within its group, so kinds come in many rows.
        match rows.last_mut() {
            Some(row) if row.kind == kind && index % group != 0 => row.receipts += 1,
            _ => rows.push(Usage { kind, receipts: 1 }),
        }
    }
    rows
}

proptest! {
    #[test]
    fn the_draft_is_what_the_second_implementation_gives(
        terms in any_terms(),
        slot in any_slot(),
        (receipts, shuffled) in any_receipts(),
        group in 1_usize..10,
    ) {
        let plan = Plan::new(terms.clone()).unwrap();
        let tax = german_vat();
        let usage = rows(&receipts, group);
        let input = Input { plan: &plan, slot, usage: &usage, distinct: &[], tax: Some(&tax) };
        let first = draft(&input).unwrap();

        let lines: Vec<(String, i128)> = first
            .lines
            .iter()
            .map(|line| (line.key.to_string(), line.amount.amount().mantissa()))
            .collect();
        prop_assert_eq!(&lines, &naive(&terms, slot, &receipts));

        // The sum of the lines is the net total; tax is 19 % of it.
        let net: i128 = lines.iter().map(|(_, amount)| amount).sum();
        prop_assert!(net >= 0);
        prop_assert_eq!(first.net_total.amount().mantissa(), net);
        let totals = first.tax.as_ref().unwrap();
        prop_assert_eq!(totals.tax.amount().mantissa(), nearest(net * 19, 100));
        prop_assert_eq!(totals.total.amount().mantissa(), net + nearest(net * 19, 100));

        // No receipt is lost between lines and unpriced usage.
        let priced: u64 = first.lines.iter().map(|line| line.receipts).sum();
        let unpriced: u64 = first.unpriced.iter().map(|row| row.receipts).sum();
        prop_assert_eq!(priced + unpriced, u64::try_from(receipts.len()).unwrap());
        prop_assert_eq!(first.receipts, priced + unpriced);

        // Neither order nor grouping matters.
        let usage = rows(&shuffled, usize::MAX);
        let again = draft(&Input { usage: &usage, ..input }).unwrap();
        prop_assert_eq!(first, again);
    }
}
