//! `prooftally usage`.

use billing::ids::BrandId;
use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use futures_util::TryStreamExt as _;

use super::Problem;
use super::output::{Cell, Output};
use super::rows::Rows;
use crate::store::Store;
use crate::store::usage::{self, Dimension, Query, UsageRow};

#[derive(Debug, Args)]
pub struct Usage {
    /// What to group by; several are separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "brand,predicate")]
    by: Vec<By>,
    /// Only this brand
    #[arg(long)]
    brand: Option<String>,
    /// First usage day, in the brand's zone
    #[arg(long, value_name = "DATE", value_parser = super::day::day)]
    from: Option<NaiveDate>,
    /// The day after the last usage day
    #[arg(long, value_name = "DATE", value_parser = super::day::day)]
    until: Option<NaiveDate>,
}

/// Supplier and product read the ledger, which takes longer than the usage rows.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Brand,
    Day,
    /// From Monday
    Week,
    Month,
    Predicate,
    Result,
    Supplier,
    Product,
}

impl From<By> for Dimension {
    fn from(by: By) -> Self {
        match by {
            By::Brand => Dimension::Brand,
            By::Day => Dimension::Day,
            By::Week => Dimension::Week,
            By::Month => Dimension::Month,
            By::Predicate => Dimension::Predicate,
            By::Result => Dimension::Result,
            By::Supplier => Dimension::Supplier,
            By::Product => Dimension::Product,
        }
    }
}

impl Usage {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        let mut by: Vec<Dimension> = Vec::new();
        for dimension in self.by.into_iter().map(Dimension::from) {
            if !by.contains(&dimension) {
                by.push(dimension);
            }
        }
        let brand = self
            .brand
            .map(|id| {
                BrandId::new(&id)
                    .ok_or_else(|| Problem::NotFound(format!("{id:?} cannot be a brand's id")))
            })
            .transpose()?;
        if let Some(brand) = &brand {
            super::brands::must_exist(store, brand.as_str()).await?;
        }
        let query = Query { by, brand, from: self.from, until: self.until };
        print(store, &query, output).await
    }
}

/// Prints the rows under the columns that were asked for, as the database gives them.
pub async fn print(store: &Store, query: &Query, output: Output) -> anyhow::Result<()> {
    let mut columns: Vec<&'static str> =
        query.by.iter().map(|dimension| dimension.column()).collect();
    columns.push("receipts");
    if !query.reads_ledger() {
        columns.push("duplicates");
    }
    let mut printed = Rows::new(columns, output);
    let mut snapshot = store.snapshot().await?;
    let mut rows = usage::rows(&mut snapshot, query);
    while let Some(row) = rows.try_next().await? {
        let mut cells: Vec<Cell> =
            query.by.iter().map(|dimension| cell(&row, *dimension)).collect();
        cells.push(row.receipts.into());
        if !query.reads_ledger() {
            cells.push(row.duplicates.into());
        }
        printed.row(cells)?;
    }
    printed.end()
}

fn cell(row: &UsageRow, dimension: Dimension) -> Cell {
    match dimension {
        Dimension::Brand => row.brand.clone().into(),
        Dimension::Day => row.usage_day.into(),
        Dimension::Week => row.week.into(),
        Dimension::Month => row.month.into(),
        Dimension::Predicate => row.predicate.clone().into(),
        Dimension::Result => row.result.into(),
        Dimension::Supplier => row.supplier.clone().into(),
        Dimension::Product => row.product.clone().into(),
    }
}
