//! Days on the command line: one form and one range for all of them.

use chrono::{Datelike, NaiveDate};

/// Reads a day as `YYYY-MM-DD`, of the years 1970 to 9999, which is what periods and the database have.
///
/// # Errors
/// What is wrong, for the person who typed it.
pub fn day(text: &str) -> Result<NaiveDate, String> {
    let day: NaiveDate = text.parse().map_err(|_| "write a day as YYYY-MM-DD".to_owned())?;
    if (1970..=9999).contains(&day.year()) {
        Ok(day)
    } else {
        Err("a day is in the years 1970 to 9999".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_of_the_years_that_periods_have() {
        for good in ["1970-01-01", "2026-09-20", "9999-12-31"] {
            assert_eq!(day(good).map(|day| day.to_string()), Ok(good.to_owned()));
        }
        for bad in ["1969-12-31", "+10000-01-01", "-9999-01-01", "0001-01-01"] {
            assert_eq!(day(bad), Err("a day is in the years 1970 to 9999".to_owned()), "{bad}");
        }
        for bad in ["2026-02-30", "tomorrow", "2026-09", ""] {
            assert_eq!(day(bad), Err("write a day as YYYY-MM-DD".to_owned()), "{bad}");
        }
    }
}
