//! `prooftally invoices preview`.

use anyhow::Context as _;
use billing::draft::{self, Draft, Input, Usage};
use billing::ids::{BrandId, Predicate};
use billing::period::{Anchor, Grid, Period, Slot};
use billing::plan::{Plan, UsageKind};
use chrono::NaiveDate;
use clap::{Args, Subcommand};

use super::Problem;
use super::output::{Cell, Listing, Output};
use super::plans::versions;
use crate::config::Config;
use crate::store::usage::{self, Dimension, Query, UsageRow};
use crate::store::{Store, plan_file};

#[derive(Debug, Subcommand)]
pub enum Invoices {
    /// What the counted usage of a period costs so far; writes nothing
    Preview(Preview),
}

#[derive(Debug, Args)]
pub struct Preview {
    /// The brand that pays
    #[arg(long)]
    brand: String,
    /// A day of the period, or its month as YYYY-MM; today by default
    #[arg(long, value_parser = day)]
    period: Option<NaiveDate>,
}

impl Invoices {
    pub async fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        let Invoices::Preview(Preview { brand, period }) = self;
        let day = period.unwrap_or_else(|| chrono::Utc::now().date_naive());
        let brand = BrandId::new(&brand)
            .ok_or_else(|| Problem::NotFound(format!("{brand:?} cannot be a brand's id")))?;
        let store = super::store(config)?;
        super::brands::must_exist(&store, brand.as_str()).await?;
        preview(config, &store, &brand, day, output).await
    }
}

/// Reads `YYYY-MM-DD`, or `YYYY-MM` as the first of the month.
fn day(text: &str) -> Result<NaiveDate, String> {
    text.parse()
        .or_else(|_| format!("{text}-01").parse())
        .map_err(|_| "write a day as YYYY-MM-DD or a month as YYYY-MM".to_owned())
}

/// Prints what a brand's period costs so far.
pub async fn preview(
    config: &Config,
    store: &Store,
    brand: &BrandId,
    day: NaiveDate,
    output: Output,
) -> anyhow::Result<()> {
    let (plan, version) = plan_of_day(config, store, day).await?;
    let grid = Grid { cadence: plan.terms().cadence, anchor: Anchor::Calendar };
    let period = grid.whole_period(day).context("the period is beyond the calendar")?;
    let query = Query {
        by: vec![Dimension::Predicate, Dimension::Result],
        brand: Some(brand.clone()),
        from: Some(period.start()),
        until: Some(period.end()),
    };
    let rows = usage::query(&store.pool, &query).await?;
    let usage = rows.iter().map(billed).collect::<anyhow::Result<Vec<_>>>()?;
    let input =
        Input { plan: &plan, slot: Slot::whole(period), usage: &usage, distinct: &[], tax: None };
    let draft = draft::draft(&input)?;
    if output == Output::Table {
        print_head(brand, &plan, version, period, draft.receipts);
    }
    lines(&draft).print(output)?;
    for unpriced in &draft.unpriced {
        eprintln!("unpriced: {} receipts of {}", unpriced.receipts, unpriced.kind.predicate);
    }
    Ok(())
}

/// The plan that `billing.default_plan` names: the version in force on the first day of the period of
/// `day`, with its number, or its file if none is.
async fn plan_of_day(
    config: &Config,
    store: &Store,
    day: NaiveDate,
) -> anyhow::Result<(Plan, Option<i32>)> {
    let name = &config.billing.default_plan;
    let reigns = versions::reigns(store, name).await?;
    match versions::of_day(&reigns, day) {
        Some(reign) => Ok((reign.plan.clone(), Some(reign.version))),
        None => Ok((plan_of_file(config, name)?, None)),
    }
}

/// The plan in the file of the plan `name`, or the network's price list that is built in.
pub fn plan_of_file(config: &Config, name: &str) -> anyhow::Result<Plan> {
    const BUILT_IN: (&str, &str) =
        ("zkdpp-standard", include_str!("../../config/plans/zkdpp-standard.toml"));
    let file = config.billing.plans_dir.join(format!("{name}.toml"));
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(_) if name == BUILT_IN.0 => BUILT_IN.1.to_owned(),
        Err(error) => {
            return Err(error).with_context(|| format!("plan {} cannot be read", file.display()));
        }
    };
    plan_file::parse(&text).with_context(|| format!("plan {} cannot be used", file.display()))
}

fn billed(row: &UsageRow) -> anyhow::Result<Usage<'_>> {
    let predicate = row.predicate.as_deref().and_then(Predicate::parse);
    let predicate = predicate.context("a usage row has a predicate that cannot be read")?;
    let kind = UsageKind {
        predicate,
        result: row.result.unwrap_or(true),
        has_product: true,
        has_supplier: true,
    };
    let receipts = u64::try_from(row.receipts).context("a usage row counts below zero")?;
    Ok(Usage { kind, receipts })
}

fn print_head(brand: &BrandId, plan: &Plan, version: Option<i32>, period: Period, receipts: u64) {
    let version = version.map_or_else(String::new, |version| format!(" version {version}"));
    println!(
        "{brand}, {} to {}, plan {}{version}: {receipts} receipts\n",
        period.start(),
        period.last_day(),
        plan.terms().name
    );
}

fn lines(draft: &Draft<'_>) -> Listing {
    let mut listing =
        Listing::new(["line", "what", "quantity", "arithmetic", "receipts", "amount", "currency"]);
    let mut row = |line: String,
                   what: String,
                   arithmetic: String,
                   quantity: Cell,
                   receipts: u64,
                   amount: billing::money::Money| {
        listing.row([
            line.into(),
            what.into(),
            quantity,
            arithmetic.into(),
            i64::try_from(receipts).unwrap_or(i64::MAX).into(),
            Cell::Decimal(amount.amount().to_string()),
            amount.currency().code().into(),
        ]);
    };
    for line in &draft.lines {
        let quantity = i64::try_from(line.quantity).unwrap_or(i64::MAX).into();
        let arithmetic = line.arithmetic.explain().join("; ");
        let (key, label) = (line.key.to_string(), line.label.clone());
        row(key, label, arithmetic, quantity, line.receipts, line.amount);
    }
    let label = "net total, before tax".to_owned();
    row(
        "net_total".to_owned(),
        label,
        String::new(),
        Cell::Nothing,
        draft.receipts,
        draft.net_total,
    );
    listing
}
