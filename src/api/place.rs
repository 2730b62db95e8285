//! Where a page of a list over brands ends: rows are in the order of the brands' ids, then of a day, then of
//! their numbers.

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;

use super::form;
use crate::store::over_brands::Place;

/// A place as `starting_after` has it, for example `brand-acme/2026-03-01/4`. No id of a brand has a slash.
pub struct Written(pub Place);

impl FromStr for Written {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/');
        let (brand, day, no) = (parts.next(), parts.next(), parts.next());
        let day = day.and_then(form::day);
        let no = no.and_then(|no| no.parse().ok());
        match (brand, day, no, parts.next()) {
            (Some(brand), Some(day), Some(no), None) if !brand.is_empty() => {
                Ok(Self(Place { brand: brand.to_owned(), day, no }))
            }
            _ => Err(()),
        }
    }
}

/// As [`Written`] reads it.
pub fn written(brand: &str, day: NaiveDate, no: i64) -> String {
    format!("{brand}/{day}/{no}")
}

impl fmt::Display for Written {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { brand, day, no } = &self.0;
        to.write_str(&written(brand, *day, *no))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let text = "brand-acme/2026-03-01/4";
        assert_eq!(text.parse::<Written>().unwrap().to_string(), text);
        for wrong in
            ["", "acme", "acme/2026-03-01", "acme/soon/4", "acme/2026-03-01/4/5", "/2026-03-01/4"]
        {
            assert!(wrong.parse::<Written>().is_err(), "{wrong:?}");
        }
    }
}
