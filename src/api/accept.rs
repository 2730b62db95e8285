//! In which form an answer is wanted: JSON, or CSV for those who ask for it.

use axum::http::{HeaderMap, header};

use super::problem::Problem;

/// The most that a form can be wanted (RFC 9110, 12.4.2), in thousandths.
const MOST: u16 = 1000;

/// Whether CSV is asked for: by the parameter `format`, or by `Accept` without it.
///
/// # Errors
/// If the parameter says something else.
pub fn wants_csv(format: Option<&str>, headers: &HeaderMap) -> Result<bool, Problem> {
    match format {
        Some("csv") => Ok(true),
        Some("json") => Ok(false),
        Some(_) => Err(Problem::query("format is json or csv")),
        None => {
            let values = headers.get_all(header::ACCEPT).iter();
            let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
            Ok(prefers_csv(&values.join(",")))
        }
    }
}

/// Whether an `Accept` wants CSV more than JSON. Of two that are wanted alike the one that is named more exactly
/// or earlier is meant; who wants neither gets JSON.
fn prefers_csv(accept: &str) -> bool {
    let ranges: Vec<(String, u16)> = accept.split(',').filter_map(range).collect();
    let (csv, json) = (wanted(&ranges, "text", "csv"), wanted(&ranges, "application", "json"));
    match (csv, json) {
        (None | Some((0, ..)), _) => false,
        (Some(_), None) => true,
        // A more exact range is a smaller number, and so is an earlier place.
        (Some((csv, exact, place)), Some((json, other_exact, other_place))) => {
            csv > json || (csv == json && (exact, place) < (other_exact, other_place))
        }
    }
}

/// How much a form is wanted, how many ranges there are that are more exact than the one that says so, and the
/// place of that one. `None` if no range has the form.
fn wanted(ranges: &[(String, u16)], kind: &str, subkind: &str) -> Option<(u16, usize, usize)> {
    let exact = format!("{kind}/{subkind}");
    let of_kind = format!("{kind}/*");
    let names = [exact.as_str(), of_kind.as_str(), "*/*"];
    names.into_iter().enumerate().find_map(|(exactness, name)| {
        let place = ranges.iter().position(|(range, _)| range == name)?;
        Some((ranges[place].1, exactness, place))
    })
}

/// A media range and how much it is wanted; `None` if that cannot be read.
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let quality = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    Some((name, quality.map_or(Some(MOST), thousandths)?))
}

/// A quality: from 0 to 1 with at most three places.
fn thousandths(quality: &str) -> Option<u16> {
    let (whole, places) = quality.split_once('.').unwrap_or((quality, ""));
    let is_written_so = places.len() <= 3 && places.bytes().all(|byte| byte.is_ascii_digit());
    let places: u16 = format!("{places:0<3}").parse().ok().filter(|_| is_written_so)?;
    match whole {
        "0" => Some(places),
        "1" if places == 0 => Some(MOST),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_chosen_where_it_is_wanted_more() {
        for (accept, is_csv) in [
            ("", false),
            ("*/*", false),
            ("application/json", false),
            ("text/csv", true),
            ("Text/CSV; charset=utf-8", true),
            ("text/*", true),
            ("text/csv;q=0", false),
            ("text/csv; q=0.000, */*", false),
            ("text/csv;Q=0.001", true),
            ("text/csv, application/json", true),
            ("application/json, text/csv", false),
            ("application/json;q=0.5, text/csv", true),
            ("text/csv;q=0.5, application/json", false),
            ("text/csv, */*;q=0.1", true),
            ("text/csv, */*", true),
            ("*/*, text/csv", true),
            ("*/*;q=0.9, text/csv;q=0.1", false),
            ("text/*;q=0, text/csv", true),
            ("text/html, text/csv;q=0.9, */*;q=0.8", true),
            ("text/html", false),
            ("application/json;q=0", false),
            ("application/json;q=0, */*", true),
            // A quality that cannot be read says nothing of its range.
            ("text/csv;q=2", false),
            ("text/csv;q=0.1234", false),
            ("text/csv;q=-1", false),
            ("text/csvx", false),
        ] {
            assert_eq!(prefers_csv(accept), is_csv, "{accept:?}");
        }
    }
}
