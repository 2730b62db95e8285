//! `prooftally conflicts list|show|resolve|dismiss`.

use billing::receipt::Content;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};

use super::output::{Cell, Listing, Output};
use super::{Problem, asking, brands};
use crate::store::Store;
use crate::store::conflicts::{self, Conflict, Filter};
use crate::store::forms::reason;
use crate::store::requests::Ask;

#[derive(Debug, Subcommand)]
pub enum Conflicts {
    /// List them
    List {
        #[command(flatten)]
        which: Which,
        #[arg(long, value_enum, default_value_t)]
        state: State,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// One of them with its event
    Show { number: i64 },
    /// The other content is right: take back what was counted and count it instead. A dismissed one
    /// can be resolved too, by its number
    Resolve {
        #[command(flatten)]
        which: Which,
        /// Why; kept with the conflict and the entries
        #[arg(long = "because", value_name = "REASON", value_parser = reason)]
        why: String,
    },
    /// What was counted stands
    Dismiss {
        #[command(flatten)]
        which: Which,
        /// Why; kept with the conflict
        #[arg(long = "because", value_name = "REASON", value_parser = reason)]
        why: String,
    },
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum State {
    #[default]
    Open,
    Resolved,
    Dismissed,
    Any,
}

impl State {
    fn filter(self) -> Option<String> {
        let state = match self {
            State::Open => "open",
            State::Resolved => "resolved",
            State::Dismissed => "dismissed",
            State::Any => return None,
        };
        Some(state.to_owned())
    }
}

/// Which conflicts are meant.
#[derive(Debug, Args)]
pub struct Which {
    /// Numbers of conflicts
    numbers: Vec<i64>,
    /// Only those of this brand
    #[arg(long)]
    brand: Option<String>,
    /// Only those that contradict this field
    #[arg(long, value_parser = PossibleValuesParser::new(Content::FIELDS))]
    field: Option<String>,
    /// All that are open
    #[arg(long, conflicts_with_all = ["numbers", "brand", "field"])]
    all: bool,
}

impl Which {
    /// A brand that is none has no conflicts, and a typing error finds nothing.
    async fn must_be_known(&self, store: &Store) -> anyhow::Result<()> {
        if let Some(brand) = &self.brand {
            brands::known(store, brand).await?;
        }
        Ok(())
    }

    fn filter(&self, state: Option<String>, after: i64, limit: i64) -> Filter {
        Filter {
            numbers: self.numbers.clone(),
            brand: self.brand.clone(),
            field: self.field.clone(),
            state,
            after,
            limit,
        }
    }
}

impl Conflicts {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        match self {
            Conflicts::List { which, state, limit } => {
                which.must_be_known(store).await?;
                let filter = which.filter(state.filter(), 0, limit);
                list(&conflicts::list(&store.pool, &filter).await?, false).print(output)
            }
            Conflicts::Show { number } => {
                let filter = Filter { numbers: vec![number], limit: 1, ..Filter::default() };
                let found = conflicts::list(&store.pool, &filter).await?;
                if found.is_empty() {
                    return Err(Problem::NotFound(format!("there is no conflict {number}")).into());
                }
                list(&found, true).print(output)
            }
            Conflicts::Resolve { which, why } => {
                // By its number a dismissed one is meant too: it is the way back.
                let state = if which.numbers.is_empty() { State::Open } else { State::Any };
                let ask = |numbers| Ask::ResolveConflicts { numbers, because: why.clone() };
                ask_in_pages(store, &which, state, ask).await
            }
            Conflicts::Dismiss { which, why } => {
                let ask = |numbers| Ask::DismissConflicts { numbers, because: why.clone() };
                ask_in_pages(store, &which, State::Open, ask).await
            }
        }
    }
}

/// Asks the engine for the conflicts that are meant, so many at a time that metering is not kept
/// waiting for long.
async fn ask_in_pages(
    store: &Store,
    which: &Which,
    state: State,
    ask: impl Fn(Vec<i64>) -> Ask,
) -> anyhow::Result<()> {
    which.must_be_known(store).await?;
    let mut filter = which.filter(state.filter(), 0, conflicts::PAGE_ROWS);
    if !which.all && !filter.is_narrow() {
        let text = "say which conflicts: numbers, --brand, --field, or --all";
        return Err(Problem::Refused(text.to_owned()).into());
    }
    loop {
        let numbers = conflicts::page(&store.pool, &filter).await?;
        let Some(&last) = numbers.last() else {
            if filter.after == 0 {
                let text = "no open conflict is meant; `prooftally conflicts list` has them";
                return Err(Problem::NotFound(text.to_owned()).into());
            }
            return Ok(());
        };
        filter.after = last;
        let count = numbers.len();
        let answer = asking::ask_engine(store, &ask(numbers)).await?;
        super::output::print(&format!("{count} conflicts: {answer}\n"))?;
    }
}

fn list(found: &[Conflict], with_event: bool) -> Listing {
    let mut columns = vec![
        "conflict",
        "brand",
        "receipt",
        "fields",
        "entry",
        "epoch",
        "sequence",
        "last_sequence",
        "seen",
        "stored_at",
        "state",
        "resolution",
        "settled_at",
        "settled_by",
        "settlement",
    ];
    if with_event {
        columns.push("raw");
    }
    let mut listing = Listing::new(columns);
    for conflict in found {
        let mut cells: Vec<Cell> = vec![
            conflict.conflict_no.into(),
            conflict.brand_id.clone().into(),
            conflict.receipt_id.clone().into(),
            conflict.fields.join(" ").into(),
            conflict.entry.into(),
            i64::from(conflict.epoch).into(),
            conflict.sequence.into(),
            conflict.last_sequence.into(),
            conflict.seen.into(),
            conflict.stored_at.into(),
            conflict.state.clone().into(),
            conflict.resolution.into(),
            conflict.settled_at.into(),
            conflict.settled_by.clone().into(),
            conflict.settlement.clone().into(),
        ];
        if with_event {
            // Escaped, since the bytes are an outsider's and a terminal would obey some of them.
            cells.push(conflict.raw.escape_ascii().to_string().into());
        }
        listing.row(cells);
    }
    listing
}
