//! What a version of a plan changes: its terms beside those of the version before it.

use std::collections::BTreeSet;

use billing::plan::{Charge, Discount, Model, Plan, Reduction, Tier};
use rust_decimal::Decimal;

/// A term that was added, removed or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
    /// For example `charge "Certificate": price`.
    pub what: String,
    /// Empty where there was nothing.
    pub before: String,
    /// Empty where nothing is left.
    pub after: String,
}

/// The terms that were added, removed or changed; charges and discounts go by name.
pub fn changes(before: Option<&Plan>, after: &Plan) -> Vec<Change> {
    let mut found = Vec::new();
    let mut add = |change, what: &str, before: &str, after: &str| {
        let [what, before, after] = [what, before, after].map(str::to_owned);
        found.push(Change { change, what, before, after });
    };
    let old = before.map(parts).unwrap_or_default();
    let new = parts(after);
    let names: BTreeSet<&str> = new.iter().map(|part| part.what.as_str()).collect();
    for Part { what, text } in old.iter().filter(|part| !names.contains(part.what.as_str())) {
        add("removed", what, text, "");
    }
    for Part { what, text } in &new {
        match old.iter().find(|part| part.what == *what) {
            None => add("added", what, "", text),
            Some(part) if part.text == *text => {}
            Some(part) => add("changed", what, &part.text, text),
        }
    }
    if let Some(before) = before
        && let Some((was, is)) = orders(before, after)
    {
        add("changed", "order of charges", &was, &is);
    }
    found
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
