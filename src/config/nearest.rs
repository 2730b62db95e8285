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
    let scored = RULES.iter().map(|(key, _)| {
        let (theirs, their_name) = split(key);
        Scored { path: key, name: likeness(their_name, name), section: likeness(theirs, section) }
    });
    let siblings = scored.clone().filter(|key| key.section >= ALIKE && key.name >= ALIKE);
    best(siblings).or_else(|| best(scored.filter(|key| key.name >= ALIKE_ELSEWHERE)))
}

/// The section that is most like `path`.
pub(super) fn section(path: &str) -> Option<&'static str> {
    let (above, name) = split(path);
    let scored = sections().map(|section| {
        let (theirs, their_name) = split(section);
        Scored { path: section, name: likeness(their_name, name), section: likeness(theirs, above) }
    });
    best(scored.filter(|section| section.name >= ALIKE))
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

/// A candidate with how like its two parts are.
struct Scored {
    path: &'static str,
    name: f64,
    section: f64,
}

/// The first of those with the likest name and, among them, the likest section.
fn best(candidates: impl Iterator<Item = Scored>) -> Option<&'static str> {
    let better = |a: &Scored, b: &Scored| (a.name, a.section) > (b.name, b.section);
    let best = candidates.reduce(|best, next| if better(&next, &best) { next } else { best });
    best.map(|best| best.path)
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
