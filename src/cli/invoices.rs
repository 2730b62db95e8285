//! `prooftally invoices preview|verify`.

use anyhow::Context as _;
use billing::plan::Plan;
use clap::Subcommand;

use super::output::Output;
use super::preview::Preview;
use super::verify::Verify;
use crate::config::Config;
use crate::store::plan_file;

#[derive(Debug, Subcommand)]
pub enum Invoices {
    /// What the counted usage of a period costs so far; writes nothing
    Preview(Preview),
    /// Compute documents again from the ledger and compare them, byte for byte; exit code 10 if they differ
    Verify(Verify),
}

impl Invoices {
    pub async fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        let store = super::store(config)?;
        match self {
            Invoices::Preview(preview) => preview.run(config, &store, output).await,
            Invoices::Verify(verify) => verify.run(&store, output).await,
        }
    }
}

/// The text of the file of the plan `name`, or of the network's price list, which is built in.
pub fn text_of_plan_file(config: &Config, name: &str) -> anyhow::Result<String> {
    const BUILT_IN: (&str, &str) =
        ("zkdpp-standard", include_str!("../../config/plans/zkdpp-standard.toml"));
    let file = config.billing.plans_dir.join(format!("{name}.toml"));
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(text),
        Err(_) if name == BUILT_IN.0 => Ok(BUILT_IN.1.to_owned()),
        Err(error) => Err(error).with_context(|| format!("plan {} cannot be read", file.display())),
    }
}

/// The plan in the file of the plan `name`, or the network's price list that is built in.
pub fn plan_of_file(config: &Config, name: &str) -> anyhow::Result<Plan> {
    let text = text_of_plan_file(config, name)?;
    plan_file::parse(&text).with_context(|| format!("the file of plan {name} cannot be used"))
}
