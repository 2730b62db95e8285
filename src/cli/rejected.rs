//! `prooftally events rejected list|retry|dismiss`.

use billing::receipt::Reason;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};

use super::output::{Cell, Listing, Output};
use super::{Problem, asking};
use crate::store::Store;
use crate::store::forms::reason;
use crate::store::rejections::{self, Filter, Rejection};
use crate::store::requests::Ask;

#[derive(Debug, Subcommand)]
pub enum Rejected {
    /// List them
    List {
        #[command(flatten)]
        which: Which,
        #[arg(long, value_enum, default_value_t)]
        state: State,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: i64,
        /// Show the event's bytes too
        #[arg(long)]
        raw: bool,
    },
    /// Read them again and count what can be counted now
    Retry {
        #[command(flatten)]
        which: Which,
    },
    /// Give them up
    Dismiss {
        #[command(flatten)]
        which: Which,
        /// Why; kept with the rejection
        #[arg(long = "because", value_name = "REASON", value_parser = reason)]
        why: String,
    },
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum State {
    #[default]
    Open,
    Retried,
    Dismissed,
    Any,
}

impl State {
    fn filter(self) -> Option<String> {
        let state = match self {
            State::Open => "open",
            State::Retried => "retried",
            State::Dismissed => "dismissed",
            State::Any => return None,
        };
        Some(state.to_owned())
    }
}

/// Which rejections are meant.
#[derive(Debug, Args)]
pub struct Which {
    /// Numbers of rejections
    numbers: Vec<i64>,
    /// Only those with this reason
    #[arg(long, value_parser = PossibleValuesParser::new(Reason::names()))]
    reason: Option<String>,
    /// Only those that name this brand
    #[arg(long)]
    brand: Option<String>,
    /// All that are open
    #[arg(long, conflicts_with_all = ["numbers", "reason", "brand"])]
    all: bool,
}

impl Rejected {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        match self {
            Rejected::List { which, state, limit, raw } => {
                let filter = which.filter(state.filter(), 0, limit);
                let found = rejections::list(&store.pool, &filter).await?;
                list(&found, raw).print(output)
            }
            Rejected::Retry { which } => {
                ask_in_pages(store, &which, |numbers| Ask::RetryRejections { numbers }).await
            }
            Rejected::Dismiss { which, why } => {
                ask_in_pages(store, &which, |numbers| Ask::DismissRejections {
                    numbers,
                    reason: why.clone(),
                })
                .await
            }
        }
    }
}

impl Which {
    fn filter(&self, state: Option<String>, after: i64, limit: i64) -> Filter {
        Filter {
            numbers: self.numbers.clone(),
            reason: self.reason.clone(),
            brand: self.brand.clone(),
            state,
            after,
            limit,
        }
    }
}

/// Asks the engine for the open rejections that are meant, so many at a time that each makes one
/// chunk.
async fn ask_in_pages(
    store: &Store,
    which: &Which,
    ask: impl Fn(Vec<i64>) -> Ask,
) -> anyhow::Result<()> {
    let mut filter = which.filter(None, 0, rejections::PAGE_ROWS);
    if !which.all && !filter.is_narrow() {
        let text = "say which rejections: numbers, --reason, --brand, or --all";
        return Err(Problem::Refused(text.to_owned()).into());
    }
    loop {
        let numbers = rejections::page(&store.pool, &filter).await?;
        let Some(&last) = numbers.last() else {
            if filter.after == 0 {
                let text = "no open rejection is meant; `prooftally events rejected list` has them";
                return Err(Problem::NotFound(text.to_owned()).into());
            }
            return Ok(());
        };
        filter.after = last;
        let count = numbers.len();
        let answer = asking::ask_engine(store, &ask(numbers)).await?;
        super::output::print(&format!("{count} rejections: {answer}\n"))?;
    }
}

fn list(found: &[Rejection], raw: bool) -> Listing {
    let mut columns = vec![
        "rejection",
        "epoch",
        "sequence",
        "stored_at",
        "subject",
        "reason",
        "detail",
        "brand",
        "receipt",
        "state",
        "entry",
        "settlement",
    ];
    if raw {
        columns.push("raw");
    }
    let mut listing = Listing::new(columns);
    for rejection in found {
        let mut cells: Vec<Cell> = vec![
            rejection.rejection_no.into(),
            i64::from(rejection.epoch).into(),
            rejection.sequence.into(),
            rejection.stored_at.into(),
            rejection.subject.clone().into(),
            rejection.reason.clone().into(),
            rejection.detail.clone().into(),
            rejection.brand_id.clone().into(),
            rejection.receipt_id.clone().into(),
            rejection.state.clone().into(),
            rejection.entry.into(),
            rejection.settlement.clone().into(),
        ];
        if raw {
            // Escaped, since the bytes are an outsider's and a terminal would obey some of them.
            cells.push(rejection.raw.escape_ascii().to_string().into());
        }
        listing.row(cells);
    }
    listing
}
