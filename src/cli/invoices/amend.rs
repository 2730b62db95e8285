//! `invoices void|cancel|sent|pay`: what happens to a document after it was issued.

use chrono::{NaiveDate, Utc};
use clap::Args;
use rust_decimal::Decimal;

use super::{known, refusal};
use crate::cli::asking::operator;
use crate::config::Config;
use crate::engine::billing_terms;
use crate::store::forms::reason;
use crate::store::{Store, issue};

#[derive(Debug, Args)]
pub struct Void {
    /// Its number
    number: String,
    /// Why; kept with the document
    #[arg(long, value_name = "REASON", value_parser = reason)]
    because: String,
}

#[derive(Debug, Args)]
pub struct Cancel {
    /// Its number
    number: String,
    /// Why; it stands on the credit note
    #[arg(long, value_name = "REASON", value_parser = reason)]
    because: String,
}

#[derive(Debug, Args)]
pub struct Sent {
    /// Its number
    number: String,
    /// How or to whom
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    note: Option<String>,
}

#[derive(Debug, Args)]
pub struct WriteOff {
    /// Its number
    number: String,
    /// Why; kept with the document
    #[arg(long, value_name = "REASON", value_parser = reason)]
    because: String,
}

#[derive(Debug, Args)]
pub struct Pay {
    /// The invoice's number
    number: String,
    /// What was paid; below zero for what was paid back
    #[arg(long, allow_hyphen_values = true)]
    amount: Decimal,
    /// When: today at the latest, and at most a year before the invoice was issued
    #[arg(long, value_name = "DATE", value_parser = crate::cli::day::day)]
    on: NaiveDate,
    /// The bank's reference; a payment of the same reference is recorded once
    #[arg(long, value_parser = crate::store::forms::reference)]
    reference: String,
    /// More than is still owed of the invoice is paid with it, on purpose
    #[arg(long)]
    overpaid: bool,
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
        let note = self.note.as_deref();
        let is_new = issue::mark_sent(&store.pool, &document, note, &operator()).await;
        let how = if is_new.map_err(refusal)? { "is noted as sent" } else { "was sent already" };
        eprintln!("{} {how}", document.name());
        Ok(())
    }
}

impl WriteOff {
    pub async fn run(self, store: &Store) -> anyhow::Result<()> {
        let document = known(store, &self.number).await?;
        let (name, due) = (document.name(), document.balance()?.due);
        let (pool, because, by) = (&store.pool, &self.because, operator());
        let is_new = issue::write_off(pool, &document, because, &by).await.map_err(refusal)?;
        let how = if is_new { "is written off" } else { "was written off already" };
        eprintln!("{name} {how}: {due} was due");
        Ok(())
    }
}

impl Pay {
    pub async fn run(self, config: &Config, store: &Store) -> anyhow::Result<()> {
        let document = known(store, &self.number).await?;
        let told = issue::Told {
            amount: self.amount,
            paid_on: self.on,
            reference: &self.reference,
            overpaid: self.overpaid,
        };
        let (issuers, now, by) = (billing_terms(config).issuers, Utc::now(), operator());
        let paid = issue::pay(&store.pool, &issuers, &document, told, now, &by).await;
        let (_, is_new) = paid.map_err(refusal)?;
        if !is_new {
            eprintln!("a payment of reference {} is recorded already", self.reference);
            return Ok(());
        }
        let name = document.name();
        let balance = known(store, &name).await?.balance()?;
        eprintln!("{name}: {}, {} is due", balance.state.as_str(), balance.due);
        Ok(())
    }
}
