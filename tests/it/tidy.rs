//! Keeps the shape of the source: who may use whom, names that say nothing, functions that are too long.

use std::path::{Path, PathBuf};

/// What each module may use of this crate. Everything else is refused.
const ARROWS: &[(&str, &[&str])] = &[
    ("actors", &["failpoint", "store", "telemetry"]),
    ("api", &["failpoint", "sheet", "store", "telemetry"]),
    ("bus", &["actors", "failpoint", "store", "telemetry"]),
    (
        "cli",
        &["api", "bus", "config", "engine", "local", "sheet", "store", "telemetry", "workload"],
    ),
    ("config", &[]),
    ("engine", &["actors", "api", "bus", "config", "store", "telemetry"]),
    ("failpoint", &[]),
    ("local", &[]),
    ("sheet", &[]),
    ("store", &[]),
    ("telemetry", &["store"]),
    ("workload", &[]),
];

const BANNED_NAMES: &[&str] = &["utils", "util", "helpers", "common", "types", "models", "misc"];
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches"] {
        if root().join(folder).exists() {
            sources(&root().join(folder), &mut found);
        }
    }
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("it can be read");
        (path.strip_prefix(root()).expect("below the root").to_owned(), text)
    };
    found.into_iter().map(read).collect()
}

/// The top module of a file below `src/`, but for the pure crate, which cannot name this one.
fn module(path: &Path) -> Option<String> {
    let mut parts = path.components().map(|part| part.as_os_str().to_string_lossy());
    if parts.next()? != "src" {
        return None;
    }
    let module = parts.next()?.trim_end_matches(".rs").to_owned();
    (module != "billing").then_some(module)
}

#[test]
fn modules_use_only_what_the_arrows_allow() {
    let mut refused = Vec::new();
    for (path, text) in all_sources() {
        let Some(module) = module(&path) else { continue };
        if ["main", "lib"].contains(&module.as_str()) {
            continue;
        }
        let (_, allowed) = ARROWS
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{module} has no arrows: add it to the table"));
        // A group of uses may be spread over lines.
        let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for used in uses(&text) {
            if used != module && !allowed.contains(&used.as_str()) {
                refused.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert!(refused.is_empty(), "arrows that are not allowed:\n{}", refused.join("\n"));
}

/// The modules that a text names after `crate::`, braces included.
fn uses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let name = |text: &str| -> String {
        text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{').and_then(|group| group.split_once("};")) {
            Some((group, _)) => found.extend(group.split(',').map(|part| name(part.trim()))),
            None => found.push(name(rest)),
        }
    }
    found.retain(|module| ARROWS.iter().any(|(name, _)| name == module));
    found
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    for (path, _) in all_sources() {
        for part in path.components() {
            let name = part.as_os_str().to_string_lossy();
            let name = name.trim_end_matches(".rs");
            assert!(!BANNED_NAMES.contains(&name), "{} says nothing by its name", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in all_sources() {
        let is_tests =
            path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        let in_src = path.starts_with("src");
        assert!(
            text.starts_with("//!") || (in_src && is_tests),
            "{} does not begin with its purpose (//!)",
            path.display()
        );
    }
}

#[test]
fn no_function_is_too_long() {
    let mut long = Vec::new();
    for (path, text) in all_sources() {
        // Tables of cases are as long as there are cases.
        if path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests")) {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let words: Vec<&str> = code.split(' ').take_while(|word| *word != "fn").collect();
            let is_function = code.contains("fn ")
                && words.iter().all(|word| {
                    ["pub", "pub(super)", "pub(crate)", "async", "const"].contains(word)
                });
            let reasoned = start > 0 && lines[start - 1].contains("too_many_lines");
            if !is_function || reasoned {
                continue;
            }
            let indent = line.len() - code.len();
            let end = (start..lines.len()).find(|at| {
                lines[*at].trim_start().starts_with('}')
                    && lines[*at].len() - lines[*at].trim_start().len() == indent
            });
            let length = end.map_or(0, |end| end - start + 1);
            if length > FUNCTION_LINES_MAX {
                long.push(format!("{}:{}: {length} lines", path.display(), start + 1));
            }
        }
    }
    assert!(
        long.is_empty(),
        "functions of more than {FUNCTION_LINES_MAX} lines:\n{}",
        long.join("\n")
    );
}

/// A change that is begun elsewhere does not note itself under its Idempotency-Key, and could be made twice.
#[test]
fn changes_of_people_are_begun_in_one_place() {
    for (path, text) in all_sources() {
        let is_of_people = path.components().any(|part| {
            let part = part.as_os_str();
            part == "store" || part == "api" || part == "cli"
        });
        if is_of_people && path.starts_with("src") && !path.ends_with("store/change.rs") {
            assert!(!text.contains("pool.begin()"), "{}: use store::change::begin", path.display());
        }
    }
}

#[test]
fn every_table_of_the_ledger_is_written_by_the_store_alone() {
    for (path, text) in all_sources() {
        let is_test = path.ends_with("tests.rs");
        if path.starts_with("src/store") || !path.starts_with("src") || is_test {
            continue;
        }
        for statement in ["insert into", "delete from", "copy ledger"] {
            let place = text.lines().position(|line| line.contains(statement));
            assert!(place.is_none(), "{} has SQL outside the store", path.display());
        }
    }
}
