//! The issuer of invoices, in versions by date: `[[issuer]]`.
//!
//! A version is checked as a whole, so that a configuration never holds an issuer that an invoice
//! could not name.

use std::collections::BTreeMap;

use billing::party::{Field, Party, Role};
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use toml::Value;

/// Who issues invoices from a day on, until the next version's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Issuer {
    pub from: NaiveDate,
    /// Whose calendar gives the issue date.
    pub zone: Tz,
    /// By the names of [`Field`].
    #[serde(flatten)]
    pub fields: BTreeMap<String, String>,
}

impl Issuer {
    /// The party that documents name.
    pub fn party(&self) -> Party {
        let known = self.fields.iter();
        let values = known.filter_map(|(name, text)| Some((Field::from_name(name)?, text.clone())));
        Party::new(Role::Issuer, values).expect("a configuration is checked when it is loaded")
    }
}

/// Most versions.
const ISSUERS_MAX: usize = 100;

/// Everything that is wrong with the versions, each with its number, from 1.
pub(super) fn faults(value: &Value) -> Vec<String> {
    let tables: Option<Vec<&toml::Table>> =
        value.as_array().and_then(|list| list.iter().map(Value::as_table).collect());
    let Some(tables) = tables else {
        return vec!["`issuer` must be versions, each under a line [[issuer]]".to_owned()];
    };
    if tables.len() > ISSUERS_MAX {
        return vec![format!("there are more than {ISSUERS_MAX} versions of the issuer")];
    }
    let mut faults = Vec::new();
    let mut seen: Vec<NaiveDate> = Vec::new();
    for (number, table) in (1..).zip(tables) {
        let mut told = of_version(table);
        if let Some(from) = date(table) {
            if seen.contains(&from) {
                told.push(format!("from {from} is that of another version"));
            }
            seen.push(from);
        }
        faults.extend(told.into_iter().map(|why| format!("[[issuer]] number {number}: {why}")));
    }
    faults
}

fn date(table: &toml::Table) -> Option<NaiveDate> {
    table.get("from")?.as_str()?.parse().ok()
}

fn of_version(table: &toml::Table) -> Vec<String> {
    let mut faults = Vec::new();
    if date(table).is_none() {
        faults.push("from must be a date in quotes, such as \"2026-01-01\"".to_owned());
    }
    let zone = table.get("zone").and_then(Value::as_str);
    if zone.is_none_or(|zone| zone.parse::<Tz>().is_err()) {
        faults.push("zone must be an IANA time zone, such as \"Europe/Berlin\"".to_owned());
    }
    let mut values = Vec::new();
    for (name, value) in table.iter().filter(|(name, _)| !matches!(name.as_str(), "from" | "zone"))
    {
        match (Field::from_name(name), value.as_str()) {
            (Some(field), Some(text)) => values.push((field, text.to_owned())),
            (Some(_), None) => faults.push(format!("{name} must be a text in quotes")),
            (None, _) => faults.push(format!("unknown key {name}; there are {}", names())),
        }
    }
    match Party::new(Role::Issuer, values) {
        Err(wrong) => faults.extend(wrong.iter().map(ToString::to_string)),
        Ok(party) => faults.extend(party.missing(None).iter().map(|any| {
            let any: Vec<&str> = any.iter().map(|field| field.as_str()).collect();
            format!("{} is missing, which an invoice needs", any.join(" or "))
        })),
    }
    faults
}

fn names() -> String {
    let fields = Field::ALL.into_iter().filter(|field| field.belongs_to(Role::Issuer));
    let names: Vec<&str> = fields.map(Field::as_str).collect();
    format!("from, zone, {}", names.join(", "))
}

/// The version in force on a day; `None` before the first.
pub fn in_force(issuers: &[Issuer], day: NaiveDate) -> Option<&Issuer> {
    issuers.iter().filter(|issuer| issuer.from <= day).max_by_key(|issuer| issuer.from)
}
