//! `prooftally credit-notes list|show|create`.

use billing::document::credit::Amounts;
use chrono::Utc;
use clap::{Args, Subcommand};
use rust_decimal::Decimal;

use super::asking::operator;
use super::invoices::{known, list, refusal};
use super::output::Output;
use crate::config::Config;
use crate::engine::billing_terms;
use crate::store::Store;
use crate::store::forms::reason;
use crate::store::issue::{self, Refused};

#[derive(Debug, Subcommand)]
pub enum CreditNotes {
    /// Those that were issued, newest first; or drafts of what periods give back
    List(list::List),
    /// One with its lines
    Show(list::Show),
    /// Give back parts of an invoice's lines, as a favour: nothing that was billed changes by it
    Create(Create),
}

#[derive(Debug, Args)]
pub struct Create {
    /// The invoice's number
    invoice: String,
    /// A line and the net amount to give back of it, such as 1=5.00
    #[arg(long = "line", value_name = "LINE=AMOUNT", required = true, value_parser = line)]
    lines: Vec<(u32, Decimal)>,
    /// Why; it stands on the credit note
    #[arg(long, value_name = "REASON", value_parser = reason)]
    because: String,
}

fn line(text: &str) -> Result<(u32, Decimal), String> {
    let (line, amount) = text.split_once('=').ok_or("write it as line=amount")?;
    let line = line.parse().map_err(|_| format!("{line} is not the number of a line"))?;
    let amount = Decimal::from_str_exact(amount).map_err(|error| format!("{amount}: {error}"))?;
    Ok((line, amount))
}

impl CreditNotes {
    pub async fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        let store = super::store(config)?;
        match self {
            CreditNotes::List(list) => list.run(&store, Some(true), output).await,
            CreditNotes::Show(show) => show.run(&store, output).await,
            CreditNotes::Create(create) => create.run(config, &store).await,
        }
    }
}

impl Create {
    async fn run(self, config: &Config, store: &Store) -> anyhow::Result<()> {
        let document = known(store, &self.invoice).await?;
        let lines = self.lines.iter();
        let amounts: Result<Vec<_>, Refused> =
            lines.map(|(line, amount)| Ok((*line, document.money(*amount)?))).collect();
        let amounts = Amounts::Goodwill(amounts.map_err(refusal)?);
        let (issuers, now) = (billing_terms(config).issuers, Utc::now());
        let (pool, because, by) = (&store.pool, &self.because, operator());
        let note = issue::favour(pool, &issuers, &document, &amounts, because, now, &by)
            .await
            .map_err(refusal)?;
        let number = note.number.unwrap_or_default();
        eprintln!("{number} gives back {} of {}", note.total, document.name());
        Ok(())
    }
}
