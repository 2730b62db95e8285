//! `prooftally config check|show`.

use clap::Subcommand;

use crate::config::Loaded;

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Say whether the configuration can be used, and if not, everything that is wrong with it
    Check,
    /// Print the configuration in force, where each value comes from, secrets masked
    Show,
}

impl ConfigVerb {
    pub fn run(self, loaded: &Loaded) -> anyhow::Result<()> {
        match self {
            ConfigVerb::Check => super::output::print("the configuration is good\n"),
            ConfigVerb::Show => super::output::print(&loaded.render()),
        }
    }
}
