//! `prooftally holds list|set|clear`.

use chrono::NaiveDate;
use clap::Subcommand;

use super::asking::operator;
use super::output::{Listing, Output};
use super::{Problem, brands};
use crate::store::Store;
use crate::store::forms::reason;
use crate::store::holds::{self, Filter};

#[derive(Debug, Subcommand)]
pub enum Holds {
    /// Those that stand
    List {
        /// Released ones too
        #[arg(long)]
        all: bool,
    },
    /// Issue nothing of a brand, or of one of its periods, until it is cleared
    Set {
        brand: String,
        /// Only the period that begins on this day
        #[arg(long, value_name = "DATE", value_parser = super::day::day)]
        period_start: Option<NaiveDate>,
        /// Why
        #[arg(long, value_name = "REASON", value_parser = reason)]
        because: String,
    },
    /// Clear a hold
    Clear {
        number: i64,
        /// Why
        #[arg(long, value_name = "REASON", value_parser = reason)]
        because: String,
    },
}

impl Holds {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        match self {
            Holds::List { all } => {
                let mut listing = Listing::new([
                    "number",
                    "brand",
                    "period_start",
                    "because",
                    "set_at",
                    "set_by",
                    "cleared_at",
                    "cleared_by",
                ]);
                let filter = Filter { released: all, limit: i64::MAX, ..Filter::default() };
                for hold in holds::list(&store.pool, &filter).await? {
                    listing.row([
                        hold.hold_no.into(),
                        hold.brand_id.into(),
                        hold.period_start.into(),
                        hold.because.into(),
                        hold.made_at.into(),
                        hold.made_by.into(),
                        hold.released_at.into(),
                        hold.released_by.into(),
                    ]);
                }
                listing.print(output)
            }
            Holds::Set { brand, period_start, because } => {
                let brand = brands::known(store, &brand).await?.id;
                let by = operator();
                let no = holds::set(&store.pool, &brand, period_start, &because, &by).await?;
                eprintln!("hold {no} on {brand}: clear it with `prooftally holds clear {no}`");
                Ok(())
            }
            Holds::Clear { number, because } => {
                if holds::clear(&store.pool, number, &because, &operator()).await? {
                    eprintln!("hold {number} is cleared");
                    return Ok(());
                }
                Err(Problem::NotFound(format!("no hold {number} stands")).into())
            }
        }
    }
}
