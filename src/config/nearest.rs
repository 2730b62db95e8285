//! Finds the key that somebody meant.

use super::rules::RULES;

/// Words are alike from here on: a slip or two, another order, an abbreviation.
const ALIKE: f64 = 0.84;
/// More likeness is asked for when a key of the same name would stand in another section.
const ALIKE_ELSEWHERE: f64 = 0.93;

/// The paths of all sections.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    let mut seen = Vec::new();
    RULES.iter().flat_map(|(key, _)| key.match_indices('.').map(|(dot, _)| &key[..dot])).filter(
        move |section| {
            let is_new = !seen.contains(section);
            if is_new {
                seen.push(*section);
            }
            is_new
        },
    )
}

/// The key that is most like `path`: one of the same section, else one of that name elsewhere.
pub(super) fn key(path: &str) -> Option<&'static str> {
    let (section, name) = split(path);
    let keys = || RULES.iter().map(|(key, _)| *key);
    let siblings = keys().filter(|key| {
        let (theirs, _) = split(key);
        theirs == section || likeness(theirs, section) >= ALIKE
    });
    best(siblings, ALIKE, |key| likeness(split(key).1, name))
        .or_else(|| best(keys(), ALIKE_ELSEWHERE, |key| likeness(split(key).1, name)))
        .or_else(|| best(keys(), ALIKE_ELSEWHERE, |key| likeness(key, path)))
}

/// The section that is most like `path`.
pub(super) fn section(path: &str) -> Option<&'static str> {
    best(sections(), ALIKE, |section| likeness(section, path))
        .or_else(|| best(sections(), ALIKE, |section| likeness(split(section).1, split(path).1)))
}

/// What may stand in a section: its keys, and the sections below it.
pub(super) fn members(section: &str) -> String {
    let below = |path: &str| match path.strip_prefix(section) {
        Some(rest) if section.is_empty() => Some(rest.to_owned()),
        Some(rest) => rest.strip_prefix('.').map(str::to_owned),
        None => None,
    };
    let mut names: Vec<String> = Vec::new();
    for name in RULES.iter().filter_map(|(key, _)| below(key)) {
        let name = name.split('.').next().unwrap_or_default().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// Section and name of a key; the section is empty at the top.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// The first of the best that are at least `enough`.
fn best(
    candidates: impl Iterator<Item = &'static str>,
    enough: f64,
    likeness: impl Fn(&str) -> f64,
) -> Option<&'static str> {
    let mut found: Option<(&'static str, f64)> = None;
    for candidate in candidates {
        let score = likeness(candidate);
        if score >= enough && found.is_none_or(|(_, best)| score > best) {
            found = Some((candidate, score));
        }
    }
    found.map(|(candidate, _)| candidate)
}

/// From 0 to 1. The order of words does not count: elsewhere it is `max_connections`.
fn likeness(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(a, b).max(strsim::jaro_winkler(&in_order(a), &in_order(b)))
}

fn in_order(name: &str) -> String {
    let mut words: Vec<String> = name.split(['_', '-', '.']).map(str::to_lowercase).collect();
    words.sort_unstable();
    words.join("_")
}
