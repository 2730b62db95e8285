//! `invoices void|cancel|sent|pay`: what happens to a document after it was issued.

use billing::currency::Currency;
use billing::money::Money;
use chrono::{NaiveDate, Utc};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use rust_decimal::Decimal;

use super::{known, refusal};
use crate::cli::Problem;
use crate::cli::asking::operator;
use crate::config::Config;
use crate::engine::billing_terms;
use crate::store::documents::{self, Listed};
use crate::store::{Store, issue};

#[derive(Debug, Args)]
pub struct Void {
    /// Its number
    number: String,
    /// Why; kept with the document
    #[arg(long, value_name = "REASON", value_parser = NonEmptyStringValueParser::new())]
    because: String,
}

#[derive(Debug, Args)]
pub struct Cancel {
    /// Its number
    number: String,
    /// Why; it stands on the credit note
    #[arg(long, value_name = "REASON", value_parser = NonEmptyStringValueParser::new())]
    because: String,
}

#[derive(Debug, Args)]
pub struct Sent {
    /// Its number
    number: String,
    /// How or to whom
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, Args)]
pub struct WriteOff {
    /// Its number
    number: String,
    /// Why; kept with the document
    #[arg(long, value_name = "REASON", value_parser = NonEmptyStringValueParser::new())]
    because: String,
}

#[derive(Debug, Args)]
pub struct Pay {
    /// The invoice's number
    number: String,
    /// What was paid; below zero for what was paid back
    #[arg(long, allow_hyphen_values = true)]
    amount: Decimal,
    /// When
    #[arg(long, value_name = "DATE", value_parser = crate::cli::day::day)]
    on: NaiveDate,
    /// The bank's reference; a payment of the same reference is recorded once
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    reference: String,
}

impl Void {
    pub async fn run(self, store: &Store) -> anyhow::Result<()> {
        let document = known(store, &self.number).await?;
        issue::void(&store.pool, &document, &self.because, &operator()).await.map_err(refusal)?;
        eprintln!("{} is voided; its number stays its own", document.name());
        Ok(())
    }
}

impl Cancel {
    pub async fn run(self, config: &Config, store: &Store) -> anyhow::Result<()> {
        let document = known(store, &self.number).await?;
        let (issuers, now, by) = (billing_terms(config).issuers, Utc::now(), operator());
        let issued = issue::cancel(&store.pool, &issuers, &document, &self.because, now, &by);
        let name = document.name();
        match issued.await.map_err(refusal)? {
            Some(note) => {
                let number = note.number.unwrap_or_default();
                eprintln!("{name} is cancelled by {number} of {}", note.total);
            }
            None => eprintln!("{name} is cancelled; all of it was credited before"),
        }
        Ok(())
    }
}

impl Sent {
    pub async fn run(self, store: &Store) -> anyhow::Result<()> {
        let document = known(store, &self.number).await?;
        if document.state == "voided" {
            return Err(Problem::Refused(format!("{} is voided", document.name())).into());
        }
        let note = self.note.as_deref().filter(|note| !note.trim().is_empty());
        let is_new = documents::note(&store.pool, &document, "sent", note, &operator()).await?;
        let how = if is_new { "is noted as sent" } else { "was sent already" };
        eprintln!("{} {how}", document.name());
        Ok(())
    }
}

impl WriteOff {
    pub async fn run(self, store: &Store) -> anyhow::Result<()> {
        let document = known(store, &self.number).await?;
        let (name, due) = (document.name(), document.balance()?.due);
        let is_owed = document.state == "finalized" && document.kind != "credit_note";
        if !is_owed || due.is_zero() || due.is_negative() {
            return Err(Problem::Refused(format!("nothing is due of {name}")).into());
        }
        let because = Some(self.because.as_str());
        let (pool, by) = (&store.pool, operator());
        let is_new = documents::note(pool, &document, "written_off", because, &by).await?;
        let how = if is_new { "is written off" } else { "was written off already" };
        eprintln!("{name} {how}: {due} was due");
        Ok(())
    }
}

impl Pay {
    pub async fn run(self, store: &Store) -> anyhow::Result<()> {
        let document = known(store, &self.number).await?;
        let name = document.name();
        if document.kind == "credit_note" || document.state == "voided" {
            return Err(Problem::Refused(format!("{name} is not an invoice that is paid")).into());
        }
        let amount = money(&document, self.amount)?;
        let (on, by) = (self.on, operator());
        let is_new =
            documents::pay(&store.pool, &document, amount, on, &self.reference, &by).await?;
        if !is_new {
            eprintln!("a payment of reference {} is recorded already", self.reference);
            return Ok(());
        }
        let balance = known(store, &name).await?.balance()?;
        eprintln!("{name}: {}, {} is due", balance.state.as_str(), balance.due);
        Ok(())
    }
}

/// An amount in a document's currency.
pub fn money(document: &Listed, amount: Decimal) -> anyhow::Result<Money> {
    let currency = Currency::from_code(&document.currency);
    let money = currency.and_then(|currency| {
        let mut exact = amount;
        exact.rescale(currency.minor_units());
        if exact == amount { Money::new(exact, currency) } else { None }
    });
    money.filter(|money| !money.is_zero()).ok_or_else(|| {
        let text =
            format!("{amount} is not an amount of {} in whole minor units", document.currency);
        Problem::Refused(text).into()
    })
}
