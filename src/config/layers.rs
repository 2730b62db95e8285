//! Puts the layers together: defaults, then the file, then variables, then the files of secrets.
//! Goes on after what is wrong, so that all of it is told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::check::{contradictions, get};
use super::load::{Loaded, Origin};
use super::problem::{Error, Given, Problem};
use super::rules::{self, RULES, Rule};
use super::{Config, issuer, nearest, secret};

/// Variables with this prefix are ours, and each must name a key.
const PREFIX: &str = "PROOFTALLY__";

/// The layers put together so far, and what is wrong with them.
pub(super) struct Layers {
    values: Table,
    origins: BTreeMap<&'static str, Origin>,
    problems: Vec<Problem>,
    /// Keys whose value is not what somebody meant: what contradicts them is not reported.
    doubtful: BTreeSet<String>,
}

impl Layers {
    /// The defaults.
    pub(super) fn new() -> Result<Self, Error> {
        // No default is masked in this, as no default carries a secret.
        let values = Table::try_from(Config::default())?;
        Ok(Self {
            values,
            origins: BTreeMap::new(),
            problems: Vec::new(),
            doubtful: BTreeSet::new(),
        })
    }

    /// Adds what a file says in a section, which is empty for the whole file.
    pub(super) fn add_section(&mut self, section: &str, table: Table, origin: &Origin) {
        // In the order of names, whichever order the table has; so are variables.
        let table: BTreeMap<_, _> = table.into_iter().collect();
        for (name, value) in table {
            let path = if section.is_empty() { name } else { format!("{section}.{name}") };
            match value {
                value if rules::rule(&path).is_some() => self.add(&path, value, origin.clone()),
                Value::Table(table) if rules::is_section(&path) => {
                    self.add_section(&path, table, origin);
                }
                _ if rules::is_section(&path) => {
                    // What was given may be a URL with a password.
                    let must = format!("a section [{path}]");
                    let given = Given { value: Some("a single value".to_owned()), must };
                    let origin = Some(origin.clone());
                    self.problems.push(Problem::Value { key: path, origin, given });
                }
                value => self.refuse_unknown(path, &value, origin),
            }
        }
    }

    fn refuse_unknown(&mut self, path: String, value: &Value, origin: &Origin) {
        let (kind, meant) = match value {
            Value::Table(_) => ("section", nearest::section(&path)),
            _ => ("key", nearest::key(&path)),
        };
        let hint = match (meant, nearest::split(&path).0) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, "") => format!("there are the sections {}", nearest::members("")),
            (None, section) => format!("[{section}] has {}", nearest::members(section)),
        };
        self.doubt(meant);
        self.problems.push(Problem::Unknown { kind, path, origin: origin.clone(), hint });
    }

    /// Adds a variable, if it is ours.
    pub(super) fn add_variable(&mut self, name: String, text: &str) {
        if let Some((key, rule)) = RULES.iter().find(|(key, _)| variable(key) == name) {
            self.add(key, rule.read(text), Origin::Variable(name));
            return;
        }
        // With single underscores it is ours only if it would name a key with double ones.
        let plain = |name: &str| name.replace("__", "_").to_ascii_uppercase();
        let is_meant = |key: &&str| plain(&variable(key)) == plain(&name);
        let meant = RULES.iter().map(|(key, _)| *key).find(is_meant);
        let Some(path) = name.strip_prefix(PREFIX).or(meant) else { return };
        let path = path.to_ascii_lowercase().replace("__", ".");
        let meant = meant.or_else(|| nearest::key(&path));
        self.doubt(meant);
        let hint = if let Some(meant) = meant {
            format!("did you mean {}?", variable(meant))
        } else {
            let section = nearest::split(&path).0;
            let (section, dot) = if rules::is_section(section) { (section, ".") } else { ("", "") };
            let names = nearest::members(section).to_uppercase();
            format!("after {} comes one of {names}", variable(&format!("{section}{dot}")))
        };
        self.problems.push(Problem::UnknownVariable { name, hint });
    }

    /// Sets a value of a key that exists, if it is good.
    fn add(&mut self, key: &str, value: Value, origin: Origin) {
        let Some((key, rule)) = RULES.iter().find(|(name, _)| *name == key) else { return };
        let wrong = match rule {
            Rule::Issuers => issuer::faults(&value),
            _ => Vec::new(),
        };
        if !wrong.is_empty() {
            self.doubt(Some(key));
            let problem = |why| Problem::Issuer { origin: Some(origin.clone()), why };
            self.problems.extend(wrong.into_iter().map(problem));
        } else if let Some(given) = rule.fault(key, &value) {
            self.doubt(Some(key));
            let origin = Some(origin);
            self.problems.push(Problem::Value { key: (*key).to_owned(), origin, given });
        } else {
            set(&mut self.values, key, value);
            self.origins.insert(key, origin);
        }
    }

    fn doubt(&mut self, path: Option<&str>) {
        self.doubtful.extend(path.map(str::to_owned));
    }

    /// Reads the secrets whose files are named, after all else has been added.
    pub(super) fn read_secrets(&mut self) {
        for (key, file_key) in secret::FILES {
            let Some((file, file_origin)) = self.file(file_key) else { continue };
            if let Some(origin) = self.origins.get(key).cloned() {
                self.problems.push(Problem::Both { key, origin, file_key, file_origin });
                continue;
            }
            match secret::read(&file) {
                Ok(secret) => self.add(key, secret.into(), Origin::Secret(file)),
                Err(why) => self.problems.push(Problem::Secret {
                    key: file_key,
                    origin: file_origin,
                    file,
                    why,
                }),
            }
        }
        // The client reads this one itself, but only at its first connection.
        let key = "nats.credentials_file";
        if let Some((file, origin)) = self.file(key)
            && let Err(why) = secret::read(&file)
        {
            self.problems.push(Problem::Secret { key, origin, file, why });
        }
    }

    /// The file that a key names, if any.
    fn file(&self, key: &str) -> Option<(PathBuf, Origin)> {
        let file = get(&self.values, key)?.as_str().filter(|file| !file.is_empty())?;
        Some((file.into(), self.origins.get(key)?.clone()))
    }

    /// The configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn finish(mut self) -> Result<Loaded, Error> {
        let config = Config::deserialize(self.values)?;
        let is_sure = |path: &&str| {
            !self.doubtful.iter().any(|doubt| {
                path.strip_prefix(doubt.as_str())
                    .is_some_and(|r| r.is_empty() || r.starts_with('.'))
            })
        };
        self.problems.extend(contradictions(&config).into_iter().filter(|problem| match problem {
            Problem::Contradiction { keys, .. } => keys.iter().all(is_sure),
            _ => true,
        }));
        if !self.problems.is_empty() {
            return Err(Error::Refused(self.problems));
        }
        let values = Table::try_from(&config)?;
        Ok(Loaded { config, values, origins: self.origins })
    }
}

/// The variable that sets a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// Sets the value at a key, whose section must be there.
pub(super) fn set(values: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            values.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            if let Some(Value::Table(values)) = values.get_mut(section) {
                set(values, rest, value);
            }
        }
    }
}

/// Reads a file of configuration.
pub(super) fn read(file: &Path) -> Result<Table, Error> {
    /// Twenty times what a file with every key and comment needs.
    const BYTES_MAX: u64 = 1 << 20;
    let unreadable = |why: String| Error::Unreadable { file: file.to_owned(), why };
    let mut text = String::new();
    let bytes = File::open(file)
        .and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error: io::Error| unreadable(error.to_string()))?;
    if bytes as u64 > BYTES_MAX {
        return Err(unreadable(format!("it is longer than {BYTES_MAX} bytes")));
    }
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let line = before.matches('\n').count() + 1;
        let why = error.message().to_owned();
        Error::Syntax { file: file.to_owned(), line, column, why }
    })
}
