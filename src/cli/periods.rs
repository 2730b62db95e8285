//! `prooftally periods list|show|override`: what is due, and what speaks against issuing it.

use billing::hash::Hash;
use billing::ids::BrandId;
use chrono::{NaiveDate, Utc};
use clap::{Args, Subcommand};

use super::asking::operator;
use super::invoices::refusal;
use super::output::{Cell, Listing, Output};
use super::preview::day;
use super::{Problem, brands};
use crate::config::Config;
use crate::engine::billing_terms;
use crate::store::documents::{self, Filter};
use crate::store::drafts::{self, Named, NewAnswer};
use crate::store::due::Candidate;
use crate::store::forms::reason;
use crate::store::{Store, billing_run};

#[derive(Debug, Subcommand)]
pub enum Periods {
    /// Periods that have ended: due, with what speaks against their invoices, or invoiced
    List {
        /// Only this brand's
        #[arg(long)]
        brand: Option<String>,
        /// Only the period with this day, or this month as YYYY-MM
        #[arg(long, value_parser = day)]
        period: Option<NaiveDate>,
    },
    /// Everything that speaks against the invoice of one period, a reason a row
    Show {
        brand: String,
        /// A day of the period, or its month as YYYY-MM
        #[arg(long, value_parser = day)]
        period: NaiveDate,
    },
    /// Answer for a reason against the invoice of a period, as it is now; it stands on the document
    Override(Override),
}

#[derive(Debug, Args)]
pub struct Override {
    brand: String,
    /// A day of the period, or its month as YYYY-MM
    #[arg(long, value_parser = day)]
    period: NaiveDate,
    /// The reason's name, as `periods show` gives it
    #[arg(long)]
    reason: String,
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    because: String,
    /// The cases that were seen, as `periods show` gives them; if there are others by now, it is refused
    #[arg(long, value_name = "CASES", value_parser = cases)]
    cases: Option<Hash>,
}

fn cases(text: &str) -> Result<Hash, String> {
    Hash::parse(text)
        .ok_or_else(|| "64 hexadecimal digits, as `periods show` gives them".to_owned())
}

impl Periods {
    pub async fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        let store = super::store(config)?;
        match self {
            Periods::List { brand, period } => {
                list(config, &store, brand.as_deref(), period, output).await
            }
            Periods::Show { brand, period } => {
                let candidate = due(config, &store, &brand, period).await?;
                show(&candidate).print(output)
            }
            Periods::Override(over) => over.run(config, &store).await,
        }
    }
}

async fn list(
    config: &Config,
    store: &Store,
    brand: Option<&str>,
    day: Option<NaiveDate>,
    output: Output,
) -> anyhow::Result<()> {
    let brand_no = match brand {
        Some(brand) => Some(brands::known(store, brand).await?.no),
        None => None,
    };
    let mut listing = Listing::new([
        "brand",
        "first_day",
        "end",
        "state",
        "currency",
        "net",
        "total",
        "document",
        "reasons",
        "etag",
    ]);
    let looked =
        billing_run::look(store, &billing_terms(config), brand_no, Utc::now(), None).await?;
    for (brand, candidates) in looked {
        let candidates = match candidates {
            Ok(candidates) => candidates,
            Err(error) => {
                eprintln!("{}: {error}", brand.id);
                continue;
            }
        };
        let is_wanted = |one: &&Candidate| {
            day.is_none_or(|day| one.slot.is_some_and(|slot| slot.period.contains(day)))
        };
        for candidate in candidates.iter().filter(is_wanted) {
            listing.row(row(candidate));
        }
    }
    let filter = Filter {
        brand_no,
        state: Some("finalized".to_owned()),
        day,
        limit: 100_000,
        ..Filter::default()
    };
    for document in documents::list(&store.pool, &filter).await? {
        let Some(start) = document.period_start else { continue };
        listing.row([
            document.brand_id.as_str().into(),
            start.into(),
            document.period_end.into(),
            "invoiced".into(),
            document.currency.as_str().into(),
            Cell::Decimal(document.net_total.to_string()),
            Cell::Decimal(document.total.to_string()),
            document.name().into(),
            Cell::Nothing,
            Cell::Nothing,
        ]);
    }
    listing.print(output)
}

fn row(candidate: &Candidate) -> Vec<Cell> {
    let left = candidate.decide().err().map_or(Vec::new(), |blocked| blocked.0);
    let names: Vec<&str> = left.iter().map(|finding| finding.reason.as_str()).collect();
    let document = candidate.document.as_ref();
    let state = match (names.is_empty(), candidate.slot) {
        (true, Some(_)) => "ready",
        (false, Some(_)) => "blocked",
        (_, None) => "adjustment",
    };
    vec![
        candidate.brand.id.as_str().into(),
        candidate.slot.map(|slot| slot.period.start()).into(),
        candidate.slot.map(|slot| slot.period.end()).into(),
        state.into(),
        candidate.currency.map(|currency| currency.code().to_owned()).into(),
        document.map_or(Cell::Nothing, |one| Cell::Decimal(one.net_total.to_string())),
        document.map_or(Cell::Nothing, |one| Cell::Decimal(one.total.to_string())),
        Cell::Nothing,
        names.join(" ").into(),
        candidate.etag().map(|etag| etag.to_string()).into(),
    ]
}

/// The candidate of a brand's period.
async fn due(
    config: &Config,
    store: &Store,
    brand: &str,
    day: NaiveDate,
) -> anyhow::Result<Candidate> {
    let brand = brands::known(store, brand).await?;
    let terms = billing_terms(config);
    let mut snapshot = store.snapshot().await?;
    let found = drafts::find(&mut snapshot, &terms, &brand, Named::Day(day), Utc::now()).await?;
    snapshot.rollback().await?;
    found.ok_or_else(|| not_due(&brand.id, day))
}

fn not_due(brand: &BrandId, day: NaiveDate) -> anyhow::Error {
    let text = format!(
        "no period of {brand} with {day} is due: it has not ended, is invoiced, or has no plan"
    );
    Problem::NotFound(text).into()
}

fn show(candidate: &Candidate) -> Listing {
    let mut listing =
        Listing::new(["reason", "overridden_by", "can_be_overridden", "what", "cases"]);
    for finding in &candidate.findings {
        let can_be_overridden = finding.reason.can_be_overridden();
        listing.row([
            finding.reason.as_str().into(),
            candidate.answered(finding).map(|said| said.by.clone()).into(),
            can_be_overridden.into(),
            finding.message.as_str().into(),
            can_be_overridden.then(|| finding.cases.digest().to_string()).into(),
        ]);
    }
    listing
}

impl Override {
    async fn run(self, config: &Config, store: &Store) -> anyhow::Result<()> {
        let brand = brands::known(store, &self.brand).await?;
        let (terms, named, by) = (billing_terms(config), Named::Day(self.period), operator());
        let (reason, because) = (self.reason.as_str(), self.because.as_str());
        let answer = NewAnswer { reason, seen: self.cases, because, by: &by };
        let start = drafts::override_reason(store, &terms, &brand, named, answer)
            .await
            .map_err(refusal)?
            .ok_or_else(|| not_due(&brand.id, self.period))?;
        eprintln!(
            "{reason} is answered for on the period from {start} of {}, as it is now",
            brand.id
        );
        Ok(())
    }
}
