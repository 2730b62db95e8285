//! Previews as a table and CSV (a row a line) and as JSON (with each step of the arithmetic).

use std::collections::BTreeMap;
use std::io::Write as _;

use billing::line::{Arithmetic, Line};
use billing::money::Money;
use billing::pricing::Step;
use serde_json::{Value, json};

use super::{Case, Shown, Unpriced};
use crate::cli::output::{Cell, Listing, Output, stdout};

/// One brand, with its lines.
pub(super) fn one(case: &Case, output: Output) -> anyhow::Result<()> {
    let draft = case.draft()?;
    match output {
        Output::Json => {
            let mut stdout = stdout();
            serde_json::to_writer_pretty(&mut stdout, &object(case, &draft))?;
            writeln!(stdout)?;
        }
        Output::Csv => rows(case, &draft).print(output)?,
        Output::Table => {
            crate::cli::output::print(&format!("{}\n\n", head(case, &draft)))?;
            lines(&draft).print(output)?;
        }
    }
    for Unpriced { predicate, result, receipts } in &draft.unpriced {
        eprintln!("unpriced: {receipts} receipts of {predicate}, result {result}");
    }
    if draft.tax.is_none() {
        let brand = &case.brand.id;
        eprintln!(
            "tax is not known: `prooftally brands tax set {brand} --from DATE --category S …`"
        );
    }
    Ok(())
}

/// All brands, a row each; JSON has each of them whole.
pub(super) fn all(cases: &[Case], output: Output) -> anyhow::Result<()> {
    let drafts = cases.iter().map(Case::draft).collect::<Result<Vec<Shown>, _>>()?;
    if output == Output::Json {
        let mut objects: Vec<Value> =
            cases.iter().zip(&drafts).map(|(case, draft)| object(case, draft)).collect();
        objects.extend(sums(&drafts)?.iter().map(|(currency, sum)| {
            let text = |money: Money| money.amount().to_string();
            json!({
                "brand": ALL_BRANDS,
                "receipts": sum.receipts.to_string(),
                "currency": currency,
                "net_total": text(sum.net_total),
                "tax_total": sum.tax.map(|(tax, _)| text(tax)),
                "total": sum.tax.map(|(_, total)| text(total)),
            })
        }));
        let mut stdout = stdout();
        serde_json::to_writer_pretty(&mut stdout, &objects)?;
        writeln!(stdout)?;
        return Ok(());
    }
    let mut listing = Listing::new([
        "brand",
        "first_day",
        "last_day",
        "plan",
        "version",
        "receipts",
        "unpriced",
        "net_total",
        "tax_total",
        "total",
        "currency",
    ]);
    for (case, draft) in cases.iter().zip(&drafts) {
        let period = case.slot.period;
        let tax = draft.tax.as_ref();
        let unpriced = draft.unpriced.iter().map(|usage| usage.receipts).sum();
        listing.row([
            case.brand.id.as_str().into(),
            period.start().into(),
            period.last_day().into(),
            case.plan.terms().name.as_str().into(),
            case.version.map(i64::from).into(),
            count(draft.receipts),
            count(unpriced),
            amount(draft.net_total),
            tax.map_or(Cell::Nothing, |tax| amount(tax.tax)),
            tax.map_or(Cell::Nothing, |tax| amount(tax.total)),
            draft.net_total.currency().code().into(),
        ]);
    }
    for (currency, sum) in sums(&drafts)? {
        listing.row([
            ALL_BRANDS.into(),
            Cell::Nothing,
            Cell::Nothing,
            Cell::Nothing,
            Cell::Nothing,
            count(sum.receipts),
            count(sum.unpriced),
            amount(sum.net_total),
            sum.tax.map_or(Cell::Nothing, |(tax, _)| amount(tax)),
            sum.tax.map_or(Cell::Nothing, |(_, total)| amount(total)),
            currency.into(),
        ]);
    }
    listing.print(output)
}

/// The lines, each with whose and when it is, so that files can be put together.
fn rows(case: &Case, draft: &Shown) -> Listing {
    let Listing { columns, rows } = lines(draft);
    let own = ["brand", "first_day", "last_day", "plan", "version"];
    let mut listing = Listing::new(own.into_iter().chain(columns));
    for row in rows {
        let period = case.slot.period;
        let own: [Cell; 5] = [
            case.brand.id.as_str().into(),
            period.start().into(),
            period.last_day().into(),
            case.plan.terms().name.as_str().into(),
            case.version.map(i64::from).into(),
        ];
        listing.row(own.into_iter().chain(row));
    }
    listing
}

/// What drafts of one currency come to; tax and total only if all of them have one.
struct Sum {
    net_total: Money,
    tax: Option<(Money, Money)>,
    receipts: u64,
    unpriced: u64,
}

/// By currency.
fn sums(drafts: &[Shown]) -> anyhow::Result<BTreeMap<&'static str, Sum>> {
    let mut sums = BTreeMap::new();
    for draft in drafts {
        let currency = draft.net_total.currency();
        let zero = Money::zero(currency);
        let sum = sums.entry(currency.code()).or_insert(Sum {
            net_total: zero,
            tax: Some((zero, zero)),
            receipts: 0,
            unpriced: 0,
        });
        sum.net_total = sum.net_total.plus(draft.net_total)?;
        sum.tax = match (sum.tax, &draft.tax) {
            (Some((tax, total)), Some(own)) => Some((tax.plus(own.tax)?, total.plus(own.total)?)),
            _ => None,
        };
        sum.receipts = sum.receipts.saturating_add(draft.receipts);
        let unpriced = draft.unpriced.iter().map(|usage| usage.receipts);
        sum.unpriced = unpriced.fold(sum.unpriced, u64::saturating_add);
    }
    Ok(sums)
}

/// Stands where a row of a sum has no brand; no brand can be called that.
pub(super) const ALL_BRANDS: &str = "all brands";

fn head(case: &Case, draft: &Shown) -> String {
    let Case { brand, plan, version, slot, until, is_projected, .. } = case;
    let (period, whole) = (slot.period, slot.whole);
    let version =
        version.map_or_else(|| " (its file)".to_owned(), |version| format!(" version {version}"));
    let stub = if slot.is_stub() {
        format!(" ({} of {} days)", period.days(), whole.days())
    } else {
        String::new()
    };
    let receipts = match (is_projected, *until == period.last_day()) {
        (true, _) => format!("about {} receipts, projected", draft.receipts),
        (false, true) => format!("{} receipts", draft.receipts),
        (false, false) => format!("{} receipts until {until}", draft.receipts),
    };
    let (start, last, name) = (period.start(), period.last_day(), &plan.terms().name);
    format!("{}, {start} to {last}{stub}, plan {name}{version}: {receipts}", brand.id)
}

fn amount(money: Money) -> Cell {
    Cell::Decimal(money.amount().to_string())
}

pub(super) fn count(number: u64) -> Cell {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn lines(draft: &Shown) -> Listing {
    let mut listing =
        Listing::new(["line", "what", "quantity", "arithmetic", "receipts", "amount", "currency"]);
    for line in &draft.lines {
        listing.row([
            line.key.to_string().into(),
            line.label.as_str().into(),
            count(line.quantity),
            line.arithmetic.explain().join("; ").into(),
            count(line.receipts),
            amount(line.amount),
            line.amount.currency().code().into(),
        ]);
    }
    let mut total = |line: String, what: &str, arithmetic: String, receipts: Cell, money: Money| {
        listing.row([
            line.into(),
            what.into(),
            Cell::Nothing,
            arithmetic.into(),
            receipts,
            amount(money),
            money.currency().code().into(),
        ]);
    };
    for Unpriced { predicate, result, receipts } in &draft.unpriced {
        let what = format!("no charge takes {predicate}, result {result}");
        let nothing = Money::zero(draft.net_total.currency());
        total("unpriced".to_owned(), &what, String::new(), count(*receipts), nothing);
    }
    let receipts = count(draft.receipts);
    let (net, what) = (draft.net_total, "net total, before tax");
    total("net_total".to_owned(), what, String::new(), receipts, net);
    let Some(tax) = &draft.tax else { return listing };
    for group in &tax.groups {
        let code = group.category.code();
        let of = format!("{} % of {}", group.rate_percent, group.taxable);
        let exemptions: Vec<&str> = group.exemptions.iter().map(String::as_str).collect();
        let what = match exemptions.as_slice() {
            [] => format!("tax {code}"),
            _ => format!("tax {code}: {}", exemptions.join("; ")),
        };
        total(format!("tax:{code}"), &what, of, Cell::Nothing, group.tax);
    }
    total("total".to_owned(), "total", String::new(), Cell::Nothing, tax.total);
    listing
}

/// Amounts and quantities are texts, so that no reader turns them into floats.
fn object(case: &Case, draft: &Shown) -> Value {
    let (period, whole) = (case.slot.period, case.slot.whole);
    let tax = draft.tax.as_ref();
    let groups = tax.map(|tax| {
        let group = |group: &billing::tax::Group| {
            json!({
                "category": group.category.code(),
                "rate_percent": group.rate_percent.to_string(),
                "exemptions": group.exemptions,
                "taxable": group.taxable.amount().to_string(),
                "tax": group.tax.amount().to_string(),
            })
        };
        tax.groups.iter().map(group).collect::<Vec<_>>()
    });
    let unpriced = draft.unpriced.iter().map(|usage| {
        json!({
            "predicate": usage.predicate,
            "result": usage.result,
            "receipts": usage.receipts.to_string(),
        })
    });
    json!({
        "brand": case.brand.id.as_str(),
        "plan": case.plan.terms().name,
        "plan_version": case.version,
        "assignment": case.assignment,
        "period": {
            "first_day": period.start(),
            "last_day": period.last_day(),
            "days": period.days(),
            "of_days": whole.days(),
        },
        "usage_until": case.until,
        "projected": case.is_projected,
        "reads_ledger": case.usage.reads_ledger,
        "receipts": draft.receipts.to_string(),
        "currency": draft.net_total.currency().code(),
        "lines": draft.lines.iter().map(line).collect::<Vec<_>>(),
        "net_total": draft.net_total.amount().to_string(),
        "tax": groups,
        "tax_total": tax.map(|tax| tax.tax.amount().to_string()),
        "total": tax.map(|tax| tax.total.amount().to_string()),
        "unpriced": unpriced.collect::<Vec<_>>(),
    })
}

fn line(line: &Line) -> Value {
    let mut value = json!({
        "key": line.key.to_string(),
        "label": line.label,
        "quantity": line.quantity.to_string(),
        "receipts": line.receipts.to_string(),
        "arithmetic": line.arithmetic.explain(),
        "amount": line.amount.amount().to_string(),
    });
    let money = |money: &Money| Value::from(money.amount().to_string());
    match &line.arithmetic {
        Arithmetic::Metered { meter, free_units_used, steps, exact } => {
            value["meter"] = meter.as_str().into();
            value["free_units"] = free_units_used.to_string().into();
            value["steps"] = steps.iter().map(step).collect();
            value["exact"] = exact.to_string().into();
        }
        Arithmetic::Fixed { whole, days, of_days } => {
            value["whole"] = whole.to_string().into();
            value["days"] = (*days).into();
            value["of_days"] = (*of_days).into();
        }
        Arithmetic::Percent { percent, of } => {
            value["percent"] = percent.to_string().into();
            value["of"] = money(of);
        }
        Arithmetic::Absolute { amount, of } => {
            value["off"] = amount.to_string().into();
            value["of"] = money(of);
        }
        Arithmetic::Limit { whole, days, of_days, limit, reached } => {
            value["whole"] = whole.to_string().into();
            value["days"] = (*days).into();
            value["of_days"] = (*of_days).into();
            value["limit"] = money(limit);
            value["reached"] = money(reached);
        }
    }
    value
}

fn step(step: &Step) -> Value {
    match *step {
        Step::Units { units, unit_price, amount } => json!({
            "units": units.to_string(),
            "unit_price": unit_price.to_string(),
            "amount": amount.to_string(),
        }),
        Step::Tier { number, first, up_to, units, unit_price, flat_fee, amount } => json!({
            "tier": number,
            "first": first.to_string(),
            "up_to": up_to.map(|up_to| up_to.to_string()),
            "units": units.to_string(),
            "unit_price": unit_price.to_string(),
            "flat_fee": flat_fee.to_string(),
            "amount": amount.to_string(),
        }),
        Step::Packages { units, size, packages, price, amount } => json!({
            "units": units.to_string(),
            "package_size": size.to_string(),
            "packages": packages.to_string(),
            "package_price": price.to_string(),
            "amount": amount.to_string(),
        }),
    }
}
