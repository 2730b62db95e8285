//! `prooftally plans unpriced`: usage that no charge of the plan in force takes.

use crate::cli::Problem;
use crate::cli::output::{Listing, Output};
use crate::config::Config;
use crate::store::unpriced::{self, Refused, Row};
use crate::store::{Error, Store};

/// Prints it, by brand, predicate and result.
pub async fn unpriced(
    config: &Config,
    store: &Store,
    name: Option<String>,
    output: Output,
) -> anyhow::Result<()> {
    let lists = crate::engine::price_lists(config);
    let mut connection = store.pool.acquire().await.map_err(Error::from)?;
    let found = unpriced::find(&mut connection, &lists, name.as_deref()).await?;
    let rows = found.map_err(|refused| match refused {
        Refused::NoPlan(_) | Refused::Timeline(_) => {
            anyhow::Error::from(Problem::NotFound(refused.to_string()))
        }
        Refused::File(error) => error.into(),
    })?;
    if output == Output::Table && rows.is_empty() {
        eprintln!("all usage has a price");
        return Ok(());
    }
    listing(rows).print(output)
}

fn listing(rows: Vec<Row>) -> Listing {
    let mut listing =
        Listing::new(["brand", "predicate", "result", "receipts", "first_day", "last_day"]);
    for Row { brand, predicate, result, receipts, first_day, last_day } in rows {
        listing.row([
            brand.into(),
            predicate.into(),
            result.into(),
            receipts.into(),
            first_day.into(),
            last_day.into(),
        ]);
    }
    listing
}
