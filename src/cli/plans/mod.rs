//! `prooftally plans test|apply|withdraw|list|show|unpriced`.

mod cases;
mod changes;
mod unpriced;
pub mod versions;

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use clap::{Args, Subcommand};

use super::Problem;
use super::output::Output;
use crate::config::Config;
use crate::store::plan_file::FILE_BYTES_MAX;

#[derive(Debug, Subcommand)]
pub enum Plans {
    /// Check what finance expects of plans, periods and usage days; needs no database
    Test(Test),
    /// Add a plan file as a new version, which is never changed afterwards
    Apply(Apply),
    /// Take back the newest version of a plan, if no document has used it
    Withdraw(Withdraw),
    /// All versions of all plans
    List,
    /// The text of a version as it was applied
    Show(Show),
    /// Counted usage that no charge takes, by the version that prices its period
    Unpriced {
        /// Put all brands to this plan; if it is left out, each to that of its assignment, and those
        /// without one to billing.default_plan
        #[arg(long, value_name = "NAME")]
        plan: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Prints what differs: case, what, expected, got. Exit code 1 if a case \
    fails, 4 if a file is missing, 5 if one cannot be used.")]
pub struct Test {
    /// The cases, as config/plans/zkdpp-standard.cases.toml describes them
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Prints what the version changes: charges, prices and limits that are added, \
    removed or changed. Applying the newest version's text again changes nothing."
)]
pub struct Apply {
    /// The plan file; config/plans/zkdpp-standard.toml describes how it is written
    file: PathBuf,
    /// Print what the version would change and write nothing
    #[arg(long)]
    dry_run: bool,
    /// First day on which it is in force, after the newest version's, at most two years ahead; today
    /// in UTC if left out, but the first version needs one. A
    /// period takes the version that is in force on its first day
    #[arg(long, value_name = "DATE", value_parser = super::day::day)]
    effective_from: Option<NaiveDate>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "It is then as if the version had never been applied, but stays on the record, and \
    its number is not used again. A plan's only version stays while an assignment has the plan."
)]
pub struct Withdraw {
    /// The plan's name
    name: String,
    /// The version's number; it must be the newest
    #[arg(long, value_name = "N")]
    version: i32,
    /// Why, for the record
    #[arg(long, value_parser = crate::store::forms::reason)]
    because: String,
}

#[derive(Debug, Args)]
pub struct Show {
    /// The plan's name
    name: String,
    /// The version's number; the newest if it is left out
    #[arg(long, value_name = "N")]
    version: Option<i32>,
}

impl Plans {
    /// Runs the verb; only those that need the database load the configuration.
    pub async fn run(
        self,
        config: impl FnOnce() -> anyhow::Result<Config>,
        output: Output,
    ) -> anyhow::Result<()> {
        match self {
            Plans::Test(Test { file }) => cases::test(&file, output),
            Plans::Apply(apply) => versions::apply(&super::store(&config()?)?, apply, output).await,
            Plans::Withdraw(withdraw) => {
                versions::withdraw(&super::store(&config()?)?, withdraw).await
            }
            Plans::List => versions::list(&super::store(&config()?)?, output).await,
            Plans::Show(show) => versions::show(&super::store(&config()?)?, show, output).await,
            Plans::Unpriced { plan } => {
                let config = config()?;
                unpriced::unpriced(&config, &super::store(&config)?, plan, output).await
            }
        }
    }
}

/// The text of a file that a person named.
pub fn read(file: &Path) -> Result<String, Problem> {
    read_at_most(file, FILE_BYTES_MAX).map_err(|error| {
        let text = format!("{} cannot be read: {error}", file.display());
        match error.kind() {
            ErrorKind::NotFound => Problem::NotFound(text),
            _ => Problem::Refused(text),
        }
    })
}

/// Reads a text of up to `bytes_max` bytes, whatever the path leads to.
fn read_at_most(file: &Path, bytes_max: usize) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        let text = format!("it has more than {bytes_max} bytes");
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, text));
    }
    String::from_utf8(bytes).map_err(|_| {
        std::io::Error::new(ErrorKind::InvalidData, "it is not UTF-8 text: save it as UTF-8")
    })
}
