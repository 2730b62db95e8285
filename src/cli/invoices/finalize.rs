//! `invoices finalize`: issue what a person has approved, one or all.

use billing::document::{Document, Kind};
use billing::hash::Hash;
use chrono::{NaiveDate, Utc};
use clap::{ArgGroup, Args};
use rust_decimal::Decimal;

use super::refusal;
use crate::cli::asking::operator;
use crate::cli::output::{Cell, Listing, Output};
use crate::cli::preview::day;
use crate::cli::{Problem, brands, progress};
use crate::config::Config;
use crate::engine::billing_terms;
use crate::store::billing_run::{self, NotApproved, Ready, RunApproval, Summary, Which};
use crate::store::drafts::{self, Named};
use crate::store::issue::{self, Approval};
use crate::store::{Error, Store};

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("whose").required(true).args(["brand", "all"]),
    after_help = "The document is computed anew. One brand's needs what was approved: the draft's etag or \
        its expected total, as `invoices list --state draft` and `periods list` show them. A run needs what \
        `--dry-run` shows: its etag, or how many documents of which total. What speaks against a document \
        is listed; `periods override` answers for a reason."
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Finalize {
    /// The brand that pays
    #[arg(long)]
    brand: Option<String>,
    /// Every brand whose document nothing speaks against
    #[arg(long, conflicts_with = "adjustment")]
    all: bool,
    /// A day of the period, or its month as YYYY-MM
    #[arg(long, value_parser = day, required_unless_present_any = ["adjustment", "all"])]
    period: Option<NaiveDate>,
    /// The brand's adjustment, which is no period's invoice
    #[arg(long, conflicts_with = "period")]
    adjustment: bool,
    /// The draft's etag, or the run's
    #[arg(long)]
    etag: Option<String>,
    /// The total that is expected, tax included; of a run, the sum of all its documents
    #[arg(long, allow_negative_numbers = true)]
    total: Option<Decimal>,
    /// How many documents are expected
    #[arg(long, requires = "all")]
    count: Option<u64>,
    /// Only show what would be issued, and what a run's approval has to say
    #[arg(long, requires = "all")]
    dry_run: bool,
    /// Issue whatever is due, also what nobody has seen, and the periods that are due afterwards
    #[arg(long, requires = "all", conflicts_with_all = ["etag", "total", "count", "dry_run"])]
    unapproved: bool,
}

impl Finalize {
    pub async fn run(self, config: &Config, store: &Store, output: Output) -> anyhow::Result<()> {
        if self.all {
            return self.run_all(config, store, output).await;
        }
        let approval = Approval { etag: self.parsed_etag()?, total: self.total };
        if approval.etag.is_none() && approval.total.is_none() {
            let text = "say what was approved: --etag or --total of the draft";
            return Err(Problem::Refused(text.to_owned()).into());
        }
        let brand = brands::known(store, self.brand.as_deref().unwrap_or_default()).await?;
        let named = match self.period {
            Some(day) => Named::Day(day),
            None => Named::Adjustment,
        };
        let (terms, by) = (billing_terms(config), operator());
        let issued = drafts::finalize(store, &terms, &brand, named, &approval, &by).await;
        if let Some(issued) = issued.map_err(refusal)? {
            return listing(&[(brand, issued)]).print(output);
        }
        let text = format!(
            "nothing of {} is due there: the period has not ended, is invoiced, or has no plan; see \
             `prooftally periods list --brand {0}`",
            brand.id
        );
        Err(Problem::NotFound(text).into())
    }

    fn parsed_etag(&self) -> anyhow::Result<Option<Hash>> {
        let parse = |text: &String| {
            let wrong = || Problem::Refused("an etag is 64 hexadecimal digits".to_owned());
            Ok(Hash::parse(text).ok_or_else(wrong)?)
        };
        self.etag.as_ref().map(parse).transpose()
    }

    async fn run_all(self, config: &Config, store: &Store, output: Output) -> anyhow::Result<()> {
        let terms = billing_terms(config);
        let approval =
            RunApproval { etag: self.parsed_etag()?, count: self.count, total: self.total };
        let says_something = self.etag.is_some() || self.count.is_some() || self.total.is_some();
        if self.dry_run {
            return self.show_all(config, store, output).await;
        }
        if !says_something && !self.unapproved {
            let text = "say what was approved: --etag, or --count and --total, as --dry-run shows them; \
                or --unapproved for whatever is due";
            return Err(Problem::Refused(text.to_owned()).into());
        }
        let approval = says_something.then_some(approval);
        let which = Which { day: self.period, approval, ..Which::default() };
        let bar = progress::bar("documents", 0);
        let tell = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let done =
            billing_run::issue_all(store, &terms, &which, Utc::now(), &operator(), tell).await;
        bar.finish_and_clear();
        let done = match done {
            Err(NotApproved::Store(error)) => return Err(error.into()),
            Err(changed @ (NotApproved::Changed(_) | NotApproved::TooMany { .. })) => {
                return Err(Problem::Refused(changed.to_string()).into());
            }
            Ok(done) => done,
        };
        listing(&done.issued).print(output)?;
        for refused in &done.refused {
            eprintln!("{}: {}", refused.brand.id, refused.why);
        }
        eprintln!("{} issued, {} refused", done.issued.len(), done.refused.len());
        unattributed(store).await?;
        if done.refused.is_empty() {
            return Ok(());
        }
        Err(Problem::Refused(format!("{} documents were refused", done.refused.len())).into())
    }

    /// What a run would issue, and what its approval says.
    async fn show_all(&self, config: &Config, store: &Store, output: Output) -> anyhow::Result<()> {
        let which = Which { day: self.period, ..Which::default() };
        let looked =
            billing_run::look(store, &billing_terms(config), None, Utc::now(), None).await?;
        let Ready { ready, refused } = Ready::of(looked, &which);
        let mut listing =
            Listing::new(["brand", "first_day", "end", "kind", "currency", "total", "etag"]);
        for candidate in &ready {
            let Some(document) = &candidate.document else { continue };
            listing.row([
                candidate.brand.id.as_str().into(),
                candidate.slot.map(|slot| slot.period.start()).into(),
                candidate.slot.map(|slot| slot.period.end()).into(),
                kind(document).into(),
                document.currency.code().into(),
                Cell::Decimal((document.total * Decimal::from(document.sign())).to_string()),
                candidate.etag().map(|etag| etag.to_string()).into(),
            ]);
        }
        listing.print(output)?;
        for refused in &refused {
            eprintln!("{}: {}", refused.brand.id, refused.why);
        }
        eprintln!("due: {}", Summary::of(&ready));
        Ok(())
    }
}

fn kind(document: &Document) -> &'static str {
    match document.kind {
        Kind::Invoice => "invoice",
        Kind::CreditNote => "credit_note",
        Kind::Adjustment => "adjustment",
    }
}

/// Says how many events no brand can be billed for: they block nobody, and somebody signs them off.
async fn unattributed(store: &Store) -> Result<(), Error> {
    let open = crate::store::rejections::open_without_brand(&store.pool).await?;
    if open > 0 {
        eprintln!("{open} open rejections name no known brand: `prooftally events rejected list`");
    }
    Ok(())
}

fn listing(issued: &[(crate::store::brands::Brand, issue::Issued)]) -> Listing {
    let mut listing = Listing::new(["brand", "number", "document_no", "total"]);
    for (brand, issued) in issued {
        listing.row([
            brand.id.as_str().into(),
            issued.number.clone().into(),
            issued.document_no.into(),
            Cell::Decimal(issued.total.to_string()),
        ]);
    }
    listing
}
