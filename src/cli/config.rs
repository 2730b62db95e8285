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
    pub fn run(self, loaded: &Loaded) {
        match self {
            ConfigVerb::Check => println!("the configuration is good"),
            ConfigVerb::Show => print!("{}", loaded.render()),
        }
    }
}
