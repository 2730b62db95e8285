//! What makes a plan one that cannot be priced.
#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;

use rust_decimal::Decimal;

use super::{
    AMOUNT_MAX, CHARGES_MAX, Charge, DECIMALS_MAX, DISCOUNTS_MAX, Discount, Fault, LABEL_CHARS_MAX,
    Meter, Model, Reduction, TIERS_MAX, Terms, Tier,
};
use crate::currency::Currency;
use crate::{ids, plain};

/// Everything wrong with `terms`, in the order of its parts.
pub(super) fn faults(terms: &Terms) -> Vec<Fault> {
    let mut found = Found::default();
    if !ids::is_name(&terms.name, ids::NAME_BYTES_MAX) {
        found.add("name", format!("`{}` is not 1 to 64 of `A-Z a-z 0-9 _ -`", terms.name));
    }
    let amounts =
        [("fixed_fee", terms.fixed_fee), ("minimum", terms.minimum), ("maximum", terms.maximum)];
    for (at, amount) in amounts {
        if let Some(amount) = amount {
            found.minor_units(at, amount, terms.currency);
        }
    }
    if let (Some(minimum), Some(maximum)) = (terms.minimum, terms.maximum)
        && minimum > maximum
    {
        found.add("minimum", format!("{minimum} is above the maximum of {maximum}"));
    }
    charges(&mut found, &terms.charges);
    discounts(&mut found, terms);
    found.faults
}

/// The labels that are not what they look like, in their order.
pub(super) fn labels(terms: &Terms) -> Vec<Fault> {
    let charges = terms.charges.iter().enumerate();
    let charges = charges.map(|(index, charge)| (place(index, charge), &charge.name));
    let discounts = (1_usize..).zip(&terms.discounts);
    let discounts = discounts.map(|(number, of)| (place_of_discount(number, of), &of.name));
    let fault = |(at, name): (String, &String)| {
        let why = format!("its name {}", plain::fault(name)?);
        Some(Fault { at, why })
    };
    charges.chain(discounts).filter_map(fault).collect()
}

#[derive(Default)]
struct Found {
    faults: Vec<Fault>,
}

impl Found {
    fn add(&mut self, at: impl Into<String>, why: impl Into<String>) {
        self.faults.push(Fault { at: at.into(), why: why.into() });
    }

    fn label(&mut self, at: &str, name: &str) {
        let chars = name.chars().count();
        if !(1..=LABEL_CHARS_MAX).contains(&chars) || name.chars().any(char::is_control) {
            self.add(at, format!("its name is not 1 to {LABEL_CHARS_MAX} printable characters"));
        }
    }

    /// A price with up to 10 decimals.
    fn price(&mut self, at: &str, what: &str, price: Decimal) {
        if price.normalize().scale() > DECIMALS_MAX {
            self.add(at, format!("{what} {price} has more than {DECIMALS_MAX} decimals"));
        }
        self.bounds(at, what, price);
    }

    /// An amount that stands on an invoice as it is.
    fn minor_units(&mut self, at: &str, amount: Decimal, currency: Currency) {
        if amount.normalize().scale() > currency.minor_units() {
            let decimals = currency.minor_units();
            self.add(
                at,
                format!("{amount} is not in whole minor units; {currency} has {decimals}"),
            );
        }
        self.bounds(at, "amount", amount);
    }

    fn bounds(&mut self, at: &str, what: &str, amount: Decimal) {
        if amount < Decimal::ZERO {
            self.add(at, format!("{what} {amount} is negative; amounts are lowered by discounts"));
        } else if amount >= AMOUNT_MAX {
            self.add(at, format!("{what} {amount} is not below {AMOUNT_MAX}"));
        }
    }
}

fn charges(found: &mut Found, charges: &[Charge]) {
    if charges.is_empty() {
        found.add(
            "charges",
            "there are none, so all usage would be unpriced; if usage is free, write one with \
             predicate `*@*` and unit price 0",
        );
    }
    if charges.len() > CHARGES_MAX {
        found.add("charges", format!("there are {}, more than {CHARGES_MAX}", charges.len()));
        return;
    }
    let mut names = BTreeSet::new();
    for (index, charge) in charges.iter().enumerate() {
        let at = place(index, charge);
        found.label(&at, &charge.name);
        if !names.insert(charge.name.as_str()) {
            found.add(&at, "an earlier charge has this name; lines could not be told apart");
        }
        match &charge.model {
            Model::PerUnit { unit_price } => found.price(&at, "unit price", *unit_price),
            Model::Package { size, price } => {
                if *size == 0 {
                    found.add(&at, "a package has 0 units; it has at least 1");
                }
                found.price(&at, "price", *price);
            }
            Model::Graduated(tiers) | Model::Volume(tiers) => self::tiers(found, &at, tiers),
        }
        let (earlier, _) = charges.split_at(index);
        if let Some(covering) = covering(earlier, charge) {
            found.add(&at, format!("it never takes any usage; all of it goes to {covering}"));
        }
    }
}

fn tiers(found: &mut Found, charge: &str, tiers: &[Tier]) {
    if tiers.is_empty() || tiers.len() > TIERS_MAX {
        found.add(charge, format!("it has {} tiers, not 1 to {TIERS_MAX}", tiers.len()));
    }
    let mut below = 0;
    let mut open = false;
    for (number, tier) in (1..).zip(tiers) {
        let at = format!("{charge}, tier {number}");
        found.price(&at, "unit price", tier.unit_price);
        found.price(&at, "flat fee", tier.flat_fee);
        if open {
            found.add(&at, "it follows an open tier; only the last has no `up_to`");
        }
        match tier.up_to {
            None => open = true,
            Some(up_to) if up_to <= below => {
                found.add(&at, format!("up_to {up_to} is not above {below}, where it begins"));
            }
            Some(up_to) => below = up_to,
        }
    }
    if !open && !tiers.is_empty() {
        found.add(
            charge,
            format!("quantities above {below} have no tier; leave out the last up_to"),
        );
    }
}

fn discounts(found: &mut Found, terms: &Terms) {
    if terms.discounts.len() > DISCOUNTS_MAX {
        let count = terms.discounts.len();
        found.add("discounts", format!("there are {count}, more than {DISCOUNTS_MAX}"));
    }
    let mut absolute_before = false;
    for (number, discount) in (1_usize..).zip(&terms.discounts) {
        let at = place_of_discount(number, discount);
        found.label(&at, &discount.name);
        let before = terms.discounts.iter().take(number.saturating_sub(1));
        if before.clone().any(|other| other.name == discount.name) {
            found.add(&at, "another discount has this name; differences are told by name");
        }
        match discount.reduction {
            Reduction::Absolute(amount) => {
                absolute_before = true;
                found.minor_units(&at, amount, terms.currency);
            }
            Reduction::Percent(percent) => {
                found.price(&at, "percentage", percent);
                if percent.is_zero() || percent > Decimal::ONE_HUNDRED {
                    found.add(&at, format!("{percent} % is not above 0 and at most 100"));
                }
                if absolute_before {
                    found.add(&at, "it follows an absolute discount; percentages come first");
                }
            }
        }
    }
}

fn place(index: usize, charge: &Charge) -> String {
    format!("charge {} {:?}", index.saturating_add(1), charge.name)
}

fn place_of_discount(number: usize, discount: &Discount) -> String {
    format!("discount {number} {:?}", discount.name)
}

/// The earlier charges that leave `charge` nothing: for each result that it takes there is one that
/// takes the same predicates.
fn covering(earlier: &[Charge], charge: &Charge) -> Option<String> {
    let results =
        [true, false].into_iter().filter(|&result| charge.selector.results().take(result));
    let mut places = Vec::new();
    for result in results {
        let (index, first) = earlier.iter().enumerate().find(|(_, first)| {
            first.selector.results().take(result)
                && first.selector.covers_predicates_of(&charge.selector)
                // A distinct meter leaves receipts without its field to later charges.
                && (first.meter == Meter::Receipts || first.meter == charge.meter)
        })?;
        let place = place(index, first);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Some(places.join(" and "))
}
