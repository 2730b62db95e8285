//! `prooftally brands profile set|show|history` and `brands tax set|list`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use billing::party::{Fault, Field, Party, Role};
use billing::tax::{self, Dated, Treatment};
use chrono::{NaiveDate, Utc};
use clap::{Args, Subcommand};
use rust_decimal::Decimal;

use super::asking::operator;
use super::output::{Cell, Listing, Output};
use super::{Problem, brands, plans};
use crate::store::Store;
use crate::store::profiles::{self, TaxRecord};

#[derive(Debug, Subcommand)]
pub enum Profiles {
    /// Change what invoices say of a brand; a version is added and the earlier ones stay
    Set(Set),
    /// What invoices say of a brand, and what they still need
    Show {
        brand: String,
        /// The version's number; the newest if it is left out
        #[arg(long, value_name = "N")]
        version: Option<i32>,
    },
    /// All versions: who changed which field, when, from what to what
    History { brand: String },
}

#[derive(Debug, Args)]
#[command(after_help = FIELDS)]
pub struct Set {
    brand: String,
    /// Fields to change, each as name=value; name= removes it
    #[arg(value_name = "NAME=VALUE", value_parser = assignment)]
    fields: Vec<(Field, String)>,
    /// A TOML file with all fields, as name = "value"; what it leaves out is removed
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

const FIELDS: &str = "Fields: legal_name, street, street_more, city, postcode, country (ISO 3166-1), \
    vat_id, registration_id, electronic_scheme (of the EAS list, such as 0088, or EM) with \
    electronic_address, contact_name, contact_email, contact_phone, buyer_reference, purchase_order, \
    terms_days.";

#[derive(Debug, Subcommand)]
pub enum Taxes {
    /// Say how a brand is taxed from a day on
    Set(TaxSet),
    /// How a brand is taxed, with what was corrected
    List { brand: String },
}

#[derive(Debug, Args)]
#[command(
    after_help = "A line takes the treatment of the last day of its period. Setting a day again \
    corrects it; the earlier row stays in the list."
)]
pub struct TaxSet {
    brand: String,
    /// First day
    #[arg(long, value_name = "DATE", value_parser = super::day::day)]
    from: NaiveDate,
    /// S standard, Z zero rated, E exempt, AE reverse charge, O outside the scope of VAT
    #[arg(long)]
    category: String,
    /// In percent; needed for S, 0 for the others
    #[arg(long, value_name = "PERCENT", default_value = "0")]
    rate: Decimal,
    /// Why no tax is due; needed for E, AE and O
    #[arg(long, value_name = "TEXT", value_parser = crate::store::forms::reason)]
    exemption: Option<String>,
}

fn assignment(text: &str) -> Result<(Field, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as name=value")?;
    let field = field(name)?;
    Ok((field, value.to_owned()))
}

fn field(name: &str) -> Result<Field, String> {
    Field::from_name(name.trim()).ok_or_else(|| {
        let fields = Field::ALL.into_iter().filter(|field| field.belongs_to(Role::Buyer));
        let names: Vec<&str> = fields.map(Field::as_str).collect();
        format!("there is no field {name}; there are {}", names.join(", "))
    })
}

impl Profiles {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        match self {
            Profiles::Set(set) => self::set(store, set).await,
            Profiles::Show { brand, version } => show(store, &brand, version, output).await,
            Profiles::History { brand } => history(store, &brand, output).await,
        }
    }
}

async fn set(store: &Store, set: Set) -> anyhow::Result<()> {
    let Set { brand, fields, file } = set;
    let brand = brands::known(store, &brand).await?.id;
    let whole = file.map(|file| read(&file)).transpose()?;
    if whole.is_none() && fields.is_empty() {
        let text = "say what to set: name=value, or a file with -f";
        return Err(Problem::Refused(text.to_owned()).into());
    }
    let merged = |newest: Option<&profiles::Version>| {
        let mut values: BTreeMap<Field, String> = match (whole, newest) {
            (Some(whole), _) => whole,
            (None, Some(newest)) => {
                newest.party.values().map(|(field, text)| (field, text.to_owned())).collect()
            }
            (None, None) => BTreeMap::new(),
        };
        for (field, value) in fields {
            if value.trim().is_empty() {
                values.remove(&field);
            } else {
                values.insert(field, value);
            }
        }
        Party::new(Role::Buyer, values)
    };
    let (before, after) = profiles::change(&store.pool, &brand, &operator(), merged)
        .await?
        .map_err(|faults| Problem::Refused(refusal(&faults)))?;
    if before == after {
        eprintln!("the profile of {brand} has this very content: nothing to change");
    } else {
        eprintln!("version {after} of the profile of {brand}");
    }
    Ok(())
}

fn refusal(faults: &[Fault]) -> String {
    let told = faults.iter().map(|fault| format!("{fault} ({})", fault.why.name()));
    told.collect::<Vec<_>>().join("; ")
}

fn read(file: &std::path::Path) -> anyhow::Result<BTreeMap<Field, String>> {
    let refused = |why: String| Problem::Refused(format!("{}: {why}", file.display()));
    let table: toml::Table =
        plans::read(file)?.parse().map_err(|error: toml::de::Error| refused(error.to_string()))?;
    let mut values = BTreeMap::new();
    for (name, value) in table {
        let field = field(&name).map_err(refused)?;
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            _ => return Err(refused(format!("{name} must be a text in quotes")).into()),
        };
        values.insert(field, text);
    }
    Ok(values)
}

async fn show(
    store: &Store,
    brand: &str,
    version: Option<i32>,
    output: Output,
) -> anyhow::Result<()> {
    let brand = brands::known(store, brand).await?;
    let versions = profiles::versions(&store.pool, brand.no).await?;
    let newest = versions.last().map_or(0, |newest| newest.version);
    let wanted = version.unwrap_or(newest);
    let Some(found) = versions.into_iter().find(|found| found.version == wanted) else {
        let text = match newest {
            0 => {
                format!("{} has no profile: `prooftally brands profile set` gives it one", brand.id)
            }
            newest => format!("the profile of {} has versions 1 to {newest}", brand.id),
        };
        return Err(Problem::NotFound(text).into());
    };
    let mut listing = Listing::new(["field", "value"]);
    for (field, text) in found.party.values() {
        listing.row([field.as_str().into(), text.into()]);
    }
    listing.print(output)?;
    let today = billing::usage::usage_day(Utc::now(), brand.zone);
    let taxes = profiles::taxes(&store.pool, Some(brand.no)).await?.remove(&brand.no);
    let dated: Vec<Dated> = taxes.into_iter().flatten().map(|record| record.dated).collect();
    let category = tax::in_force(&dated, today).map(Treatment::category);
    for any in found.party.missing(category) {
        let names: Vec<&str> = any.iter().map(|field| field.as_str()).collect();
        eprintln!("missing for an invoice: {}", names.join(" or "));
    }
    if category.is_none() {
        eprintln!("missing for an invoice: how it is taxed (`prooftally brands tax set`)");
    }
    Ok(())
}

async fn history(store: &Store, brand: &str, output: Output) -> anyhow::Result<()> {
    let brand = brands::known(store, brand).await?;
    let mut listing = Listing::new(["version", "at", "by", "field", "before", "after"]);
    let mut before: BTreeMap<Field, String> = BTreeMap::new();
    for found in profiles::versions(&store.pool, brand.no).await? {
        let after: BTreeMap<Field, String> =
            found.party.values().map(|(field, text)| (field, text.to_owned())).collect();
        for field in Field::ALL {
            if before.get(&field) != after.get(&field) {
                listing.row([
                    i64::from(found.version).into(),
                    found.made_at.into(),
                    found.made_by.as_str().into(),
                    field.as_str().into(),
                    before.get(&field).cloned().into(),
                    after.get(&field).cloned().into(),
                ]);
            }
        }
        before = after;
    }
    listing.print(output)
}

impl Taxes {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        match self {
            Taxes::Set(set) => set_tax(store, set).await,
            Taxes::List { brand } => {
                let brand = brands::known(store, &brand).await?;
                let taxes = profiles::taxes(&store.pool, Some(brand.no)).await?;
                list(taxes.get(&brand.no).map_or(&[], Vec::as_slice)).print(output)
            }
        }
    }
}

async fn set_tax(store: &Store, set: TaxSet) -> anyhow::Result<()> {
    let TaxSet { brand, from, category, rate, exemption } = set;
    let brand = brands::known(store, &brand).await?.id;
    let treatment = profiles::treatment(&category, rate, exemption)
        .map_err(|refused| Problem::Refused(refused.to_string()))?;
    let dated = Dated { from, treatment };
    profiles::set_tax(&store.pool, &brand, &dated, None, &operator()).await?;
    eprintln!(
        "{brand} is taxed by category {} at {} % from {from}",
        dated.treatment.category().code(),
        dated.treatment.rate_percent()
    );
    Ok(())
}

fn list(records: &[TaxRecord]) -> Listing {
    let mut listing = Listing::new([
        "from",
        "category",
        "rate_percent",
        "exemption",
        "holds",
        "set_at",
        "set_by",
    ]);
    for (at, record) in records.iter().enumerate() {
        let Dated { from, treatment } = &record.dated;
        let is_corrected = records[at + 1..].iter().any(|later| later.dated.from == *from);
        listing.row([
            (*from).into(),
            treatment.category().code().into(),
            Cell::Decimal(treatment.rate_percent().to_string()),
            treatment.exemption().map(str::to_owned).into(),
            (!is_corrected).into(),
            record.made_at.into(),
            record.made_by.as_str().into(),
        ]);
    }
    listing
}
