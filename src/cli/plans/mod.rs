//! `prooftally plans test`.

mod cases;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::Problem;
use super::output::Output;

#[derive(Debug, Subcommand)]
pub enum Plans {
    /// Check what finance expects of plans, periods and usage days; needs no database
    Test(Test),
}

#[derive(Debug, Args)]
#[command(after_help = "Prints what differs: case, what, expected, got. Exit code 1 if a case \
    fails, 4 if a file is missing, 5 if one cannot be used.")]
pub struct Test {
    /// The cases, as config/plans/zkdpp-standard.cases.toml describes them
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

impl Plans {
    pub fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Plans::Test(Test { file }) => cases::test(&file, output),
        }
    }
}

/// The text of a file that a person named.
fn read(file: &Path) -> Result<String, Problem> {
    std::fs::read_to_string(file).map_err(|error| {
        let text = format!("{} cannot be read: {error}", file.display());
        match error.kind() {
            ErrorKind::NotFound => Problem::NotFound(text),
            _ => Problem::Refused(text),
        }
    })
}
