//! `prooftally invoices …`: previews, drafts, and documents with what became of them.

mod amend;
mod finalize;
pub mod list;
mod verify;

use billing::plan::Plan;
use clap::Subcommand;

use super::Problem;
use super::output::Output;
use super::preview::Preview;

use crate::config::Config;
use crate::engine;
use crate::store::Store;
use crate::store::documents::{self, Listed};
use crate::store::issue::Refused;

#[derive(Debug, Subcommand)]
pub enum Invoices {
    /// What the counted usage of a period costs so far; writes nothing
    Preview(Preview),
    /// Compute documents again from the ledger and compare them, byte for byte; exit code 10 if they differ
    Verify(verify::Verify),
    /// Invoices and adjustments that were issued, newest first; or the drafts
    List(list::List),
    /// One invoice with its lines, balance and history
    Show(list::Show),
    /// Issue the invoice of a brand's period, or of all brands
    Finalize(finalize::Finalize),
    /// Take a document back that was not delivered; its period is open again
    Void(amend::Void),
    /// Credit all of an invoice that is not credited yet; its period is open again
    Cancel(amend::Cancel),
    /// Note that a document was sent, so that it can no longer be voided
    Sent(amend::Sent),
    /// Record a payment
    Pay(amend::Pay),
    /// Note that what is due of an invoice is no longer expected
    WriteOff(amend::WriteOff),
}

impl Invoices {
    pub async fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        let store = super::store(config)?;
        match self {
            Invoices::Preview(preview) => preview.run(config, &store, output).await,
            Invoices::Verify(verify) => verify.run(&store, output).await,
            Invoices::List(list) => list.run(&store, Some(false), output).await,
            Invoices::Show(show) => show.run(&store, output).await,
            Invoices::Finalize(finalize) => finalize.run(config, &store, output).await,
            Invoices::Void(void) => void.run(&store).await,
            Invoices::Cancel(cancel) => cancel.run(config, &store).await,
            Invoices::Sent(sent) => sent.run(&store).await,
            Invoices::Pay(pay) => pay.run(config, &store).await,
            Invoices::WriteOff(write_off) => write_off.run(&store).await,
        }
    }
}

/// The document that is called so.
pub async fn known(store: &Store, name: &str) -> anyhow::Result<Listed> {
    let found = documents::find(&store.pool, name, None).await?;
    found.ok_or_else(|| {
        let text = format!("there is no document {name}; see `prooftally invoices list`");
        Problem::NotFound(text).into()
    })
}

/// A refusal with its exit code.
pub fn refusal(refused: Refused) -> anyhow::Error {
    match refused {
        Refused::Store(error) => error.into(),
        refused => Problem::Refused(refused.to_string()).into(),
    }
}

/// The text of the file of the plan `name`, or of the network's price list, which is built in.
pub fn text_of_plan_file(config: &Config, name: &str) -> anyhow::Result<String> {
    Ok(engine::price_lists(config).text(name)?)
}

/// The plan in the file of the plan `name`, or the network's price list that is built in.
pub fn plan_of_file(config: &Config, name: &str) -> anyhow::Result<Plan> {
    Ok(engine::price_lists(config).plan(name)?)
}
