//! Loading a configuration, and showing what was loaded.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use toml::{Table, Value};

use super::check::get;
use super::layers::{self, Layers};
use super::problem::Error;
use super::rules::RULES;
use super::{Config, nearest};

/// What a configuration is made of.
pub struct Source<V> {
    pub file: Option<PathBuf>,
    /// All variables of the process; those that do not begin with `PROOFTALLY__` are others'.
    pub environment_variables: V,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    /// The file that holds the secret.
    Secret(PathBuf),
}

/// A configuration that was found good, and where its values come from.
pub struct Loaded {
    pub config: Config,
    /// As they were loaded, secrets masked.
    pub(super) values: Table,
    /// Of all that is not a default.
    pub(super) origins: BTreeMap<&'static str, Origin>,
}

impl Config {
    /// Loads the file and the variables over the defaults.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML; else [`Error::Refused`] with all that is wrong.
    pub fn load(source: Source<impl Iterator<Item = (String, String)>>) -> Result<Loaded, Error> {
        let mut layers = Layers::new()?;
        if let Some(file) = source.file {
            let table = layers::read(&file)?;
            layers.add_section("", table, &Origin::File(file));
        }
        // In the order of names, so that problems are listed in the same order each time.
        let variables: BTreeMap<_, _> = source.environment_variables.collect();
        for (name, text) in variables {
            layers.add_variable(name, &text);
        }
        layers.read_secrets();
        layers.finish()
    }
}

impl Loaded {
    /// Where the value of a key comes from.
    pub fn origin_of(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// The whole configuration as TOML, as it was loaded: secrets are masked, and a comment at each
    /// value says where it comes from.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut shown = "";
        for (key, _) in RULES {
            let (section, name) = nearest::split(key);
            if section.is_empty() {
                continue;
            }
            if section != shown {
                let gap = if shown.is_empty() { "" } else { "\n" };
                // Writing to a text cannot fail; so below.
                let _ = writeln!(text, "{gap}[{section}]");
                shown = section;
            }
            if let Some(value) = get(&self.values, key) {
                let _ = writeln!(text, "{name} = {value} # {}", self.origin_of(key));
            }
        }
        let issuers = get(&self.values, "issuer").and_then(Value::as_array);
        for issuer in issuers.into_iter().flatten().filter_map(Value::as_table) {
            let _ = writeln!(text, "\n[[issuer]] # {}", self.origin_of("issuer"));
            for (name, value) in issuer {
                let _ = writeln!(text, "{name} = {value}");
            }
        }
        text
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file) | Self::Secret(file) => write!(f, "{}", file.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}
