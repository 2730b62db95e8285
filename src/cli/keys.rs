//! `prooftally keys create|list|revoke`: the API's keys.

use chrono::{Days, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::asking::operator;
use super::output::{Listing, Output};
use super::{Problem, brands};
use crate::store::api_keys::{self, New, Role};
use crate::store::{Store, forms};

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key; it is printed once, on standard output, and cannot be read again
    Create(Create),
    /// All keys, without their secrets
    List,
    /// Revoke a key, for ever; the API takes it for a second longer at most
    Revoke {
        /// Its number, as `keys list` has it
        number: i64,
    },
}

#[derive(Debug, Args)]
pub struct Create {
    /// Who will use it, for people
    #[arg(long, value_parser = forms::key_name)]
    name: String,
    /// What it may do
    #[arg(long, value_parser = PossibleValuesParser::new(Role::ALL.map(Role::as_str)))]
    role: String,
    /// The brand that it sees alone; only with finance_read
    #[arg(long)]
    brand: Option<String>,
    /// Days that it holds; for ever if it is left out
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    expires_in_days: Option<u64>,
}

impl Keys {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        match self {
            Keys::Create(create) => create.run(store).await,
            Keys::List => list(store, output).await,
            Keys::Revoke { number } => {
                if api_keys::revoke(&store.pool, number, &operator()).await? {
                    eprintln!("key {number} is revoked");
                    return Ok(());
                }
                Err(Problem::NotFound(format!("there is no key {number} that holds")).into())
            }
        }
    }
}

impl Create {
    async fn run(self, store: &Store) -> anyhow::Result<()> {
        let role = Role::from_name(&self.role)
            .ok_or_else(|| Problem::Refused(format!("there is no role {}", self.role)))?;
        if self.brand.is_some() && role != Role::FinanceRead {
            let text = "a key of one brand reads: its role is finance_read";
            return Err(Problem::Refused(text.to_owned()).into());
        }
        let brand_no = match &self.brand {
            Some(brand) => Some(brands::known(store, brand).await?.no),
            None => None,
        };
        let expires_at =
            self.expires_in_days.and_then(|days| Utc::now().checked_add_days(Days::new(days)));
        let new = New { name: self.name, role, brand_no, expires_at };
        let made = api_keys::create(&store.pool, &new, &operator()).await?;
        eprintln!("key {} for {}: keep it, it is not shown again", made.key_no, new.name);
        println!("{}", made.key);
        Ok(())
    }
}

async fn list(store: &Store, output: Output) -> anyhow::Result<()> {
    let mut listing = Listing::new([
        "number",
        "prefix",
        "name",
        "role",
        "brand",
        "expires_at",
        "made_at",
        "made_by",
        "last_used_at",
        "revoked_at",
        "revoked_by",
    ]);
    for key in api_keys::list(&store.pool, 0, i64::MAX).await? {
        listing.row([
            key.key_no.into(),
            key.prefix.into(),
            key.name.into(),
            key.role.into(),
            key.brand_id.into(),
            key.expires_at.into(),
            key.made_at.into(),
            key.made_by.into(),
            key.last_used_at.into(),
            key.revoked_at.into(),
            key.revoked_by.into(),
        ]);
    }
    listing.print(output)
}
