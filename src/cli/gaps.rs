//! `prooftally gaps list|accept`.

use clap::{Args, Subcommand, ValueEnum};

use super::output::{Cell, Listing, Output};
use super::{Problem, asking};
use crate::store::Store;
use crate::store::forms::reason;
use crate::store::gaps::{self, Filter, Gap};
use crate::store::requests::Ask;

#[derive(Debug, Subcommand)]
pub enum Gaps {
    /// List them
    List {
        #[arg(long, value_enum, default_value_t)]
        state: State,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// Accept that what is in them will not come
    Accept {
        #[command(flatten)]
        which: Which,
        /// Why; kept with the gap
        #[arg(long = "because", value_name = "REASON", value_parser = reason)]
        why: String,
    },
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum State {
    #[default]
    Open,
    Accepted,
    Any,
}

impl State {
    fn is_open(self) -> Option<bool> {
        match self {
            State::Open => Some(true),
            State::Accepted => Some(false),
            State::Any => None,
        }
    }
}

/// Which gaps are meant.
#[derive(Debug, Args)]
#[group(required = true)]
pub struct Which {
    /// Numbers of gaps
    numbers: Vec<i64>,
    /// All that are open
    #[arg(long, conflicts_with = "numbers")]
    all: bool,
}

impl Gaps {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        match self {
            Gaps::List { state, limit } => {
                let filter = Filter { numbers: Vec::new(), is_open: state.is_open(), limit };
                list(&gaps::list(&store.pool, &filter).await?).print(output)
            }
            Gaps::Accept { which, why } => accept(store, which, &why).await,
        }
    }
}

/// Asks for as many at a time as a request carries easily.
async fn accept(store: &Store, which: Which, why: &str) -> anyhow::Result<()> {
    let mut is_first = true;
    loop {
        let filter =
            Filter { numbers: which.numbers.clone(), is_open: Some(true), limit: gaps::PAGE_ROWS };
        let found = gaps::list(&store.pool, &filter).await?;
        let numbers: Vec<i64> = found.iter().map(|gap| gap.gap_no).collect();
        if let Some(missing) = which.numbers.iter().find(|number| !numbers.contains(number))
            && is_first
        {
            let text =
                format!("gap {missing} is not open; `prooftally gaps list` has those that are");
            return Err(Problem::NotFound(text).into());
        }
        if numbers.is_empty() {
            if is_first {
                let text = "no gap is open".to_owned();
                return Err(Problem::NotFound(text).into());
            }
            return Ok(());
        }
        is_first = false;
        let ask = Ask::AcceptGaps { numbers, reason: why.to_owned() };
        super::output::print(&format!("{}\n", asking::ask_engine(store, &ask).await?))?;
    }
}

fn list(found: &[Gap]) -> Listing {
    let mut listing = Listing::new([
        "gap",
        "epoch",
        "first",
        "last",
        "reason",
        "detail",
        "found_at",
        "blocks_periods_that_begin_before",
        "accepted_at",
        "accepted_by",
        "acceptance",
    ]);
    for gap in found {
        // Nothing has come after it yet, so no period is safe.
        let blocks = match (gap.accepted_at, gap.next_stored_at) {
            (Some(_), _) => Cell::Nothing,
            (None, Some(at)) => at.into(),
            (None, None) => "any time".into(),
        };
        listing.row([
            gap.gap_no.into(),
            i64::from(gap.epoch).into(),
            gap.first.into(),
            gap.last.into(),
            gap.reason.clone().into(),
            gap.detail.clone().into(),
            gap.found_at.into(),
            blocks,
            gap.accepted_at.into(),
            gap.accepted_by.clone().into(),
            gap.acceptance.clone().into(),
        ]);
    }
    listing
}
