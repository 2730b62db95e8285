//! The form of each field of a party.
#![deny(clippy::arithmetic_side_effects)]

use super::{CHARS_MAX, Field, TERMS_DAYS_MAX, Why};

/// The value without the spaces that people write into it.
pub(super) fn tidy(field: Field, text: &str) -> String {
    match field {
        Field::VatId | Field::Iban | Field::Bic => {
            let letters = text.chars().filter(|letter| !letter.is_whitespace());
            letters.collect::<String>().to_ascii_uppercase()
        }
        _ => text.trim().to_owned(),
    }
}

/// What is wrong with a value that was made tidy.
pub(super) fn fault(field: Field, text: &str) -> Option<Why> {
    let is_text = (1..=CHARS_MAX).contains(&text.chars().count())
        && !text.contains(|letter: char| letter.is_control());
    if !is_text {
        return Some(Why::TextForm);
    }
    match field {
        Field::Country => (!is_country(text)).then_some(Why::CountryUnknown),
        Field::VatId => vat_id(text),
        Field::ElectronicScheme => (!is_scheme(text)).then_some(Why::SchemeForm),
        Field::ContactEmail => (!is_email(text)).then_some(Why::EmailForm),
        Field::TermsDays => {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            let days = text.parse::<u16>().ok().filter(|days| plain && *days <= TERMS_DAYS_MAX);
            days.is_none().then_some(Why::TermsRange)
        }
        Field::Iban => iban(text),
        Field::Bic => {
            let holds = matches!(text.len(), 8 | 11) && is_alphanumeric(text);
            (!holds).then_some(Why::BicForm)
        }
        _ => None,
    }
}

fn vat_id(text: &str) -> Option<Why> {
    let Some((prefix, rest)) = text.split_at_checked(2) else { return Some(Why::VatPrefix) };
    if !is_country(prefix) && !matches!(prefix, "EL" | "XI") {
        return Some(Why::VatPrefix);
    }
    let holds = (2..=13).contains(&rest.len()) && is_alphanumeric(rest);
    (!holds).then_some(Why::VatForm)
}

fn is_scheme(text: &str) -> bool {
    text == "EM" || (text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && host.contains('.')
            && !host.starts_with('.')
            && !host.ends_with('.')
            && !text.contains(char::is_whitespace)
            && !host.contains('@')
    })
}

/// ISO 13616: the number that is made of the letters (A is 10) with the first four at the end is 1
/// modulo 97.
fn iban(text: &str) -> Option<Why> {
    let Some((head, rest)) = text.split_at_checked(4) else { return Some(Why::IbanForm) };
    let has_form = (11..=30).contains(&rest.len())
        && is_alphanumeric(text)
        && head.get(..2).is_some_and(is_country)
        && head.get(2..).is_some_and(|check| check.bytes().all(|byte| byte.is_ascii_digit()));
    if !has_form {
        return Some(Why::IbanForm);
    }
    let rest = rest.chars().chain(head.chars()).try_fold(0_u32, |sum, letter| {
        let value = letter.to_digit(36)?;
        let shift = if value < 10 { 10 } else { 100 };
        sum.checked_mul(shift)?.checked_add(value)?.checked_rem(97)
    });
    (rest != Some(1)).then_some(Why::IbanChecksum)
}

fn is_alphanumeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

/// True for a code of ISO 3166-1 alpha-2 that is assigned.
pub(super) fn is_country(code: &str) -> bool {
    COUNTRIES.binary_search(&code).is_ok()
}

/// Sorted.
#[rustfmt::skip]
pub(super) const COUNTRIES: [&str; 249] = [
    "AD", "AE", "AF", "AG", "AI", "AL", "AM", "AO", "AQ", "AR", "AS", "AT", "AU", "AW", "AX", "AZ",
    "BA", "BB", "BD", "BE", "BF", "BG", "BH", "BI", "BJ", "BL", "BM", "BN", "BO", "BQ", "BR", "BS",
    "BT", "BV", "BW", "BY", "BZ", "CA", "CC", "CD", "CF", "CG", "CH", "CI", "CK", "CL", "CM", "CN",
    "CO", "CR", "CU", "CV", "CW", "CX", "CY", "CZ", "DE", "DJ", "DK", "DM", "DO", "DZ", "EC", "EE",
    "EG", "EH", "ER", "ES", "ET", "FI", "FJ", "FK", "FM", "FO", "FR", "GA", "GB", "GD", "GE", "GF",
    "GG", "GH", "GI", "GL", "GM", "GN", "GP", "GQ", "GR", "GS", "GT", "GU", "GW", "GY", "HK", "HM",
    "HN", "HR", "HT", "HU", "ID", "IE", "IL", "IM", "IN", "IO", "IQ", "IR", "IS", "IT", "JE", "JM",
    "JO", "JP", "KE", "KG", "KH", "KI", "KM", "KN", "KP", "KR", "KW", "KY", "KZ", "LA", "LB", "LC",
    "LI", "LK", "LR", "LS", "LT", "LU", "LV", "LY", "MA", "MC", "MD", "ME", "MF", "MG", "MH", "MK",
    "ML", "MM", "MN", "MO", "MP", "MQ", "MR", "MS", "MT", "MU", "MV", "MW", "MX", "MY", "MZ", "NA",
    "NC", "NE", "NF", "NG", "NI", "NL", "NO", "NP", "NR", "NU", "NZ", "OM", "PA", "PE", "PF", "PG",
    "PH", "PK", "PL", "PM", "PN", "PR", "PS", "PT", "PW", "PY", "QA", "RE", "RO", "RS", "RU", "RW",
    "SA", "SB", "SC", "SD", "SE", "SG", "SH", "SI", "SJ", "SK", "SL", "SM", "SN", "SO", "SR", "SS",
    "ST", "SV", "SX", "SY", "SZ", "TC", "TD", "TF", "TG", "TH", "TJ", "TK", "TL", "TM", "TN", "TO",
    "TR", "TT", "TV", "TW", "TZ", "UA", "UG", "UM", "US", "UY", "UZ", "VA", "VC", "VE", "VG", "VI",
    "VN", "VU", "WF", "WS", "YE", "YT", "ZA", "ZM", "ZW",
];
