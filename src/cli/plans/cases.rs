//! `prooftally plans test`: runs a file of cases and prints what differs.

use std::path::Path;

use crate::cli::Problem;
use crate::cli::output::{Listing, Output};
use crate::store::plan_file::verdict::{self, Difference};
use crate::store::plan_file::{FILE_BYTES_MAX, cases};

/// Runs the cases of `file`; plan files that it names are looked for beside it.
pub fn test(file: &Path, output: Output) -> anyhow::Result<()> {
    let text = super::read(file)?;
    let beside = |path: &str| {
        let path = file.parent().unwrap_or(Path::new("")).join(path);
        super::read_at_most(&path, FILE_BYTES_MAX).map_err(|error| error.to_string())
    };
    let cases = cases::parse(&text, &beside)
        .map_err(|error| Problem::Refused(format!("{}: {error}", file.display())))?;
    let differences = verdict::differences(&cases);
    let count = cases.count();
    if differences.is_empty() {
        if output != Output::Table {
            listing(&differences).print(output)?;
        }
        eprintln!("{count} cases hold");
        return Ok(());
    }
    listing(&differences).print(output)?;
    // A case's differences stand together, and each case has a name of its own.
    let mut failed: Vec<&str> = differences.iter().map(|found| found.case.as_str()).collect();
    failed.dedup();
    anyhow::bail!("{} of {count} cases of {} differ", failed.len(), file.display())
}

fn listing(differences: &[Difference]) -> Listing {
    let mut listing = Listing::new(["case", "what", "expected", "got"]);
    for Difference { case, what, expected, got } in differences {
        listing.row([case, what, expected, got].map(|text| text.as_str().into()));
    }
    listing
}
