//! `prooftally local up`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::config::Config;
use crate::local::{Binaries, Stack};

#[derive(Debug, Subcommand)]
pub enum Local {
    /// Start a private nats-server and PostgreSQL on free ports until Ctrl-C
    Up {
        /// Where they keep their data; without it they forget everything at the end
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
}

impl Local {
    pub async fn run(self) -> anyhow::Result<()> {
        let Local::Up { data } = self;
        let stack = Stack::start(&Binaries::find()?, data)?;
        // One nats-server holds one replica. As variables, so that the lines can be pasted into a shell that then runs the engine.
        migrate(&stack.postgres_url()).await?;
        super::output::print(&format!(
            "export PROOFTALLY__NATS__URL={}\n\
             export PROOFTALLY__DATABASE__URL={}\n\
             export PROOFTALLY__NATS__ORIGIN__REPLICAS=1\n\
             export PROOFTALLY__NATS__MIRROR__REPLICAS=1\n",
            stack.nats_url(),
            stack.application_url()
        ))?;
        eprintln!("running until Ctrl-C");
        super::serve::told_to_stop().await;
        drop(stack);
        Ok(())
    }
}

/// Migrates as the owner, so that the engine can run as the application.
pub(super) async fn migrate(owner_url: &str) -> anyhow::Result<()> {
    let mut config = Config::default();
    config.database.url = owner_url.into();
    Ok(super::store(&config)?.migrate().await?)
}
