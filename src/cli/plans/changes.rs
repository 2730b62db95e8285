//! What a version of a plan changes: its terms beside those of the version before it.

use std::collections::BTreeSet;

use billing::plan::{Charge, Discount, Model, Plan, Reduction, Tier};
use rust_decimal::Decimal;

use crate::cli::output::Listing;

/// The terms that were added, removed or changed, a row each; charges and discounts go by name.
pub fn changes(before: Option<&Plan>, after: &Plan) -> Listing {
    let mut listing = Listing::new(["change", "what", "before", "after"]);
    let old = before.map(parts).unwrap_or_default();
    let new = parts(after);
    let names: BTreeSet<&str> = new.iter().map(|part| part.what.as_str()).collect();
    for Part { what, text } in old.iter().filter(|part| !names.contains(part.what.as_str())) {
        listing.row(["removed".into(), what.as_str().into(), text.as_str().into(), "".into()]);
    }
    for Part { what, text } in &new {
        let (change, was) = match old.iter().find(|part| part.what == *what) {
            None => ("added", ""),
            Some(part) if part.text == *text => continue,
            Some(part) => ("changed", part.text.as_str()),
        };
        listing.row([change.into(), what.as_str().into(), was.into(), text.as_str().into()]);
    }
    if let Some(before) = before
        && let Some((was, is)) = orders(before, after)
    {
        listing.row(["changed".into(), "order of charges".into(), was.into(), is.into()]);
    }
    listing
}

/// A term and what it says.
struct Part {
    what: String,
    text: String,
}

fn parts(plan: &Plan) -> Vec<Part> {
    let terms = plan.terms();
    let part = |what: &str, text: String| Part { what: what.to_owned(), text };
    let mut parts = vec![
        part("currency", terms.currency.code().to_owned()),
        part("cadence", terms.cadence.as_str().to_owned()),
    ];
    let amounts =
        [("fixed fee", terms.fixed_fee), ("minimum", terms.minimum), ("maximum", terms.maximum)];
    for (what, amount) in amounts {
        parts.extend(amount.map(|amount| part(what, plain(amount))));
    }
    parts.extend(terms.charges.iter().flat_map(charge));
    parts.extend(terms.discounts.iter().map(discount));
    parts
}

fn charge(charge: &Charge) -> [Part; 3] {
    let Charge { name, selector, meter, free_units, model } = charge;
    let takes = format!("{selector}, result {}", selector.results().as_str());
    let counts = format!("{}, {free_units} free", meter.as_str());
    [("takes", takes), ("counts", counts), ("price", price(model))]
        .map(|(field, text)| Part { what: format!("charge {name:?}: {field}"), text })
}

fn price(model: &Model) -> String {
    let price = match model {
        Model::PerUnit { unit_price } => plain(*unit_price),
        Model::Graduated(rows) | Model::Volume(rows) => {
            rows.iter().map(tier).collect::<Vec<_>>().join("; ")
        }
        Model::Package { size, price } => format!("{} for {size}", plain(*price)),
    };
    format!("{} {price}", model.as_str())
}

fn tier(tier: &Tier) -> String {
    let until = tier.up_to.map_or_else(|| "then".to_owned(), |up_to| format!("to {up_to}"));
    let flat = match plain(tier.flat_fee).as_str() {
        "0" => String::new(),
        fee => format!(" + {fee} flat"),
    };
    format!("{until}: {}{flat}", plain(tier.unit_price))
}

fn discount(discount: &Discount) -> Part {
    let text = match discount.reduction {
        Reduction::Percent(percent) => format!("{} %", plain(percent)),
        Reduction::Absolute(amount) => plain(amount),
    };
    Part { what: format!("discount {:?}", discount.name), text }
}

/// `1.50` and `1.5` are one price.
fn plain(amount: Decimal) -> String {
    amount.normalize().to_string()
}

/// The order of the charges that both have, if it differs: the first that matches takes the usage.
fn orders(before: &Plan, after: &Plan) -> Option<(String, String)> {
    let shared = |plan: &Plan, other: &Plan| {
        let has = |name: &str| other.terms().charges.iter().any(|charge| charge.name == name);
        let charges = plan.terms().charges.iter().map(|charge| charge.name.clone());
        charges.filter(|name| has(name)).collect::<Vec<_>>()
    };
    let (was, is) = (shared(before, after), shared(after, before));
    (was != is).then(|| (was.join(", "), is.join(", ")))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::store::plan_file;

    const BEFORE: &str = r#"
        name = "p"
        currency = "EUR"
        cadence = "monthly"
        fixed_fee = "99.00"
        charge = [
            { name = "A", predicate = "A@V1", model = "per_unit", unit_price = "0.030" },
            { name = "B", predicate = "B@*", model = "per_unit", unit_price = "0.05" },
            { name = "C", predicate = "C@V1", model = "package", package_size = 50, package_price = "4" },
        ]
        discount = [{ name = "Partner", percent = "10" }]
    "#;

    const AFTER: &str = r#"
        name = "p"
        currency = "EUR"
        cadence = "monthly"
        minimum = "200"
        charge = [
            { name = "B", predicate = "B@*", result = "true", model = "per_unit", unit_price = "0.05" },
            { name = "A", predicate = "A@V1", free_units = 100, model = "volume", tiers = [
                { up_to = 10, unit_price = "0.03", flat_fee = "5" }, { unit_price = "0.02" }] },
            { name = "D", predicate = "D@V1", meter = "distinct_products", model = "per_unit", unit_price = "1" },
        ]
        discount = [{ name = "Partner", amount = "2" }]
    "#;

    #[test]
    fn each_term_that_differs_is_a_row() {
        let (before, after) = (plan_file::parse(BEFORE), plan_file::parse(AFTER));
        let found = changes(Some(&before.unwrap()), &after.unwrap());
        expect![[r#"
             change   what                before            after
             removed  fixed fee           99
             removed  charge "C": takes   C@V1, result any
             removed  charge "C": counts  receipts, 0 free
             removed  charge "C": price   package 4 for 50
             added    minimum                               200
             changed  charge "B": takes   B@*, result any   B@*, result true
             changed  charge "A": counts  receipts, 0 free  receipts, 100 free
             changed  charge "A": price   per_unit 0.03     volume to 10: 0.03 + 5 flat; then: 0.02
             added    charge "D": takes                     D@V1, result any
             added    charge "D": counts                    distinct_products, 0 free
             added    charge "D": price                     per_unit 1
             changed  discount "Partner"  10 %              2
             changed  order of charges    A, B              B, A"#]]
        .assert_eq(&found.table().lines().map(str::trim).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn another_way_to_write_it_is_no_change() {
        let before = plan_file::parse(BEFORE).unwrap();
        let after = BEFORE.replace("\"0.030\"", "\"0.03\"").replace("99.00", "99");
        assert!(changes(Some(&before), &plan_file::parse(&after).unwrap()).rows.is_empty());
    }

    #[test]
    fn a_first_version_adds_everything() {
        let found = changes(None, &plan_file::parse(BEFORE).unwrap());
        assert_eq!(found.rows.len(), 13);
        assert!(found.rows.iter().all(|row| row[0] == "added".into()));
    }
}
