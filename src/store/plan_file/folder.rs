//! Where plan files are kept, for what was not applied yet.

use std::io::ErrorKind;
use std::path::PathBuf;

use billing::ids;
use billing::plan::Plan;

/// The network's price list, which is there without a file.
const BUILT_IN: (&str, &str) =
    ("zkdpp-standard", include_str!("../../../config/plans/zkdpp-standard.toml"));

/// Plan files, and the plan of brands without an assignment.
#[derive(Clone, Debug)]
pub struct PriceLists {
    pub folder: PathBuf,
    pub default_plan: String,
}

/// Why a plan's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("plan {file} cannot be read")]
    Io { file: String, source: std::io::Error },
    #[error("the file of plan {name} cannot be used")]
    Unusable { name: String, source: super::Error },
}

impl PriceLists {
    /// The text of the file of the plan `name`, or of the network's price list, which is built in.
    ///
    /// # Errors
    /// If there is no such file, or it cannot be read.
    pub fn text(&self, name: &str) -> Result<String, Error> {
        let file = self.folder.join(format!("{name}.toml"));
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok(text),
            Err(_) if name == BUILT_IN.0 => Ok(BUILT_IN.1.to_owned()),
            Err(source) => Err(Error::Io { file: file.display().to_string(), source }),
        }
    }

    /// The plan in the file of the plan `name`, or the network's price list.
    ///
    /// # Errors
    /// As [`Self::text`]; or if the text is no plan.
    pub fn plan(&self, name: &str) -> Result<Plan, Error> {
        let text = self.text(name)?;
        super::parse(&text).map_err(|source| Error::Unusable { name: name.to_owned(), source })
    }

    /// The plan in the file of that name; `None` if there is no such file.
    ///
    /// # Errors
    /// If the file is there and cannot be used.
    pub fn find(&self, name: &str) -> Result<Option<Plan>, Error> {
        if !ids::is_name(name, ids::NAME_BYTES_MAX) {
            return Ok(None);
        }
        match self.plan(name) {
            Ok(plan) => Ok(Some(plan)),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
