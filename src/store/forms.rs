//! What people write, in the forms that the database takes: days, reasons and names. The command line and
//! the API read them here, so that both take the same.

use billing::plain;
use chrono::{Datelike, NaiveDate};

/// Longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 1_000;
/// Longest reference of a payment, in characters.
pub const REFERENCE_CHARS_MAX: usize = 200;
/// Longest name of a key, in characters.
pub const KEY_NAME_CHARS_MAX: usize = 100;
/// Longest name of a brand, in characters.
pub const DISPLAY_NAME_CHARS_MAX: usize = 200;

/// Reads a day as `YYYY-MM-DD`, of the years 1970 to 9999, which is what periods and the database have.
///
/// # Errors
/// What is wrong, for the person who wrote it.
pub fn day(text: &str) -> Result<NaiveDate, String> {
    // The parser takes a sign, and numbers of fewer digits.
    let is_plain = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let day: Option<NaiveDate> = text.parse().ok().filter(|_| is_plain);
    let day = day.ok_or_else(|| "write a day as YYYY-MM-DD".to_owned())?;
    if (1970..=9999).contains(&day.year()) {
        Ok(day)
    } else {
        Err("a day is in the years 1970 to 9999".to_owned())
    }
}

/// A reason without the spaces around it: 1 to 1,000 characters.
///
/// # Errors
/// What is wrong, for the person who wrote it.
pub fn reason(text: &str) -> Result<String, String> {
    match text.trim().chars().count() {
        1..=REASON_CHARS_MAX => storable(text.trim()),
        count => Err(format!("a reason has 1 to {REASON_CHARS_MAX} characters, not {count}")),
    }
}

/// What names a payment at the bank, without the spaces around it: 1 to 200 characters.
///
/// # Errors
/// What is wrong, for the person who wrote it.
pub fn reference(text: &str) -> Result<String, String> {
    match text.trim().chars().count() {
        1..=REFERENCE_CHARS_MAX => storable(text.trim()),
        count => Err(format!("a reference has 1 to {REFERENCE_CHARS_MAX} characters, not {count}")),
    }
}

/// What people call a brand: 1 to 200 characters.
///
/// # Errors
/// What is wrong, for the person who wrote it.
pub fn display_name(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=DISPLAY_NAME_CHARS_MAX => storable(text),
        count => Err(format!("a name has 1 to {DISPLAY_NAME_CHARS_MAX} characters, not {count}")),
    }
}

/// What people call a key of the API: 1 to 100 characters.
///
/// # Errors
/// What is wrong, for the person who wrote it.
pub fn key_name(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=KEY_NAME_CHARS_MAX => storable(text),
        count => Err(format!("a name has 1 to {KEY_NAME_CHARS_MAX} characters, not {count}")),
    }
}

/// One line that is what it looks like, since it stands in tables and on documents.
fn storable(text: &str) -> Result<String, String> {
    match plain::fault(text) {
        Some(fault) => Err(format!("it {fault}")),
        None => Ok(text.to_owned()),
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
        for bad in ["1969-12-31", "0000-01-01", "0001-01-01"] {
            assert_eq!(day(bad), Err("a day is in the years 1970 to 9999".to_owned()), "{bad}");
        }
        for bad in [
            "2026-02-30",
            "tomorrow",
            "2026-09",
            "",
            "+2026-11-26",
            "+10000-01-01",
            "-9999-01-01",
            "2026-9-1",
            "2026-09-1 ",
            " 2026-09-1",
            "2026/09/01",
            "２026-09",
        ] {
            assert_eq!(day(bad), Err("write a day as YYYY-MM-DD".to_owned()), "{bad}");
        }
    }

    #[test]
    fn a_reason_says_something_and_not_too_much() {
        assert_eq!(reason("  moved house "), Ok("moved house".to_owned()));
        for bad in ["", "  ", "a\0b", "a\nb", &"x".repeat(REASON_CHARS_MAX + 1)] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
        assert!(display_name(&"ä".repeat(DISPLAY_NAME_CHARS_MAX)).is_ok());
        assert!(display_name("").is_err());
        assert!(key_name(&"ä".repeat(KEY_NAME_CHARS_MAX)).is_ok());
        for bad in ["", "a\u{1b}[31mb", &"x".repeat(KEY_NAME_CHARS_MAX + 1)] {
            assert!(key_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(reference(" 4711 "), Ok("4711".to_owned()));
        for bad in ["", "a\tb", &"x".repeat(REFERENCE_CHARS_MAX + 1)] {
            assert!(reference(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_seen() {
        type Form = fn(&str) -> Result<String, String>;
        let forms: [Form; 4] = [reason, reference, display_name, key_name];
        for form in forms {
            let told = form("a\u{202e}b").unwrap_err();
            assert_eq!(told, "it has U+202E, which cannot be seen or turns the text around");
            assert_eq!(form("\u{5e9}\u{5dc} ✓").as_deref(), Ok("\u{5e9}\u{5dc} ✓"));
        }
    }
}
