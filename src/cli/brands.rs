//! `prooftally brands list|show|set|park|unpark`.

use billing::ids::BrandId;
use chrono_tz::Tz;
use clap::Subcommand;

use super::output::{Cell, Listing, Output};
use super::profile::{Profiles, Taxes};
use super::{Problem, asking};
use crate::config::Config;
use crate::store::Store;
use crate::store::brands::{self, Brand, Profile, Rename};
use crate::store::forms::{display_name, reason};
use crate::store::requests::Ask;

#[derive(Debug, Subcommand)]
pub enum Brands {
    /// All brands with their zone and receipts
    List,
    /// One brand
    Show { brand: String },
    /// Change a brand's name or zone; the engine must run for a change of zone
    Set {
        brand: String,
        /// What people call it
        #[arg(long, value_parser = display_name)]
        name: Option<String>,
        /// IANA zone of its usage days, for example Europe/Berlin; its usage is rebuilt
        #[arg(long)]
        zone: Option<Tz>,
    },
    /// What invoices say of a brand: names, addresses, terms
    #[command(subcommand)]
    Profile(Profiles),
    /// How a brand is taxed, from which day
    #[command(subcommand)]
    Tax(Taxes),
    /// Keep the events of a brand from now on, and count none of them until it is unparked
    Park {
        brand: String,
        /// Why; kept with what was asked
        #[arg(long, value_name = "REASON", value_parser = reason)]
        because: String,
    },
    /// Meter the parked events of a brand, once the cause is gone
    Unpark { brand: String },
}

impl Brands {
    pub async fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        let store = super::store(config)?;
        match self {
            Brands::List => list(&brands::profiles(&store.pool, None).await?).print(output),
            Brands::Show { brand } => {
                let profiles = brands::profiles(&store.pool, Some(&brand)).await?;
                if profiles.is_empty() {
                    return Err(no_such(&brand));
                }
                list(&profiles).print(output)
            }
            Brands::Profile(verb) => verb.run(&store, output).await,
            Brands::Tax(verb) => verb.run(&store, output).await,
            Brands::Park { brand, because } => {
                let ask = Ask::Park { brand: brand.clone(), because };
                carry_out(&store, &brand, &ask).await
            }
            Brands::Unpark { brand } => {
                carry_out(&store, &brand, &Ask::Unpark { brand: brand.clone() }).await
            }
            Brands::Set { brand, name, zone } => {
                let id = known(&store, &brand).await?.id;
                if let Some(name) = &name {
                    let by = asking::operator();
                    let rename = Rename { name, seen: None };
                    brands::set_display_name(&store.pool, &id, rename, &by).await?;
                    eprintln!("{brand} is called {name}");
                }
                if let Some(zone) = zone {
                    let ask = Ask::SetZone {
                        brand: brand.clone(),
                        zone: zone.name().to_owned(),
                        seen: None,
                    };
                    let answer = asking::ask_engine(&store, &ask).await?;
                    eprintln!("{brand} counts its days in {zone}: {answer}");
                }
                if name.is_none() && zone.is_none() {
                    let text = "say what to set: --name or --zone";
                    return Err(Problem::Refused(text.to_owned()).into());
                }
                Ok(())
            }
        }
    }
}

async fn carry_out(store: &Store, brand: &str, ask: &Ask) -> anyhow::Result<()> {
    must_exist(store, brand).await?;
    let answer = asking::ask_engine(store, ask).await?;
    eprintln!("{brand}: {answer}");
    Ok(())
}

/// Refuses a brand that is not known.
pub async fn must_exist(store: &Store, brand: &str) -> anyhow::Result<()> {
    known(store, brand).await.map(drop)
}

/// The brand named `brand`, which must be known.
pub async fn known(store: &Store, brand: &str) -> anyhow::Result<Brand> {
    let found = match BrandId::new(brand) {
        Some(id) => brands::find(&store.pool, &id).await?,
        None => None,
    };
    found.ok_or_else(|| no_such(brand))
}

fn no_such(brand: &str) -> anyhow::Error {
    let text = format!("there is no brand {brand}; a brand is created by its first event");
    Problem::NotFound(text).into()
}

fn list(profiles: &[Profile]) -> Listing {
    let mut listing =
        Listing::new(["brand", "name", "zone", "receipts", "parked", "parked_at", "created_at"]);
    for profile in profiles {
        listing.row([
            profile.brand.id.as_str().into(),
            profile.display_name.clone().into(),
            profile.brand.zone.name().into(),
            profile.receipts.into(),
            profile.parked.into(),
            profile.parked_at.into(),
            Cell::from(profile.created_at),
        ]);
    }
    listing
}
