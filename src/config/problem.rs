//! What is wrong with a configuration, said so that it can be mended.

use std::fmt;
use std::path::PathBuf;

use super::load::Origin;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the configuration file {} cannot be read: {why}; check the path and its rights",
        file.display()
    )]
    Unreadable { file: PathBuf, why: String },
    /// Says nothing of the line itself, which may hold a secret.
    #[error("{}:{line}:{column} is not TOML: {why}", file.display())]
    Syntax { file: PathBuf, line: usize, column: usize, why: String },
    /// Everything that is wrong, not only the first.
    #[error("the configuration is refused:{}", list(.0))]
    Refused(Vec<Problem>),
    /// A number of the program's own is beyond what TOML can write.
    #[error("the configuration cannot be written as TOML: {0}")]
    Write(#[from] toml::ser::Error),
    #[error("the configuration cannot be taken over: {0}")]
    Take(#[from] toml::de::Error),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("unknown {kind} `{path}` in {origin}: {hint}")]
    Unknown { kind: &'static str, path: String, origin: Origin, hint: String },
    #[error("unknown variable {name}: {hint}")]
    UnknownVariable { name: String, hint: String },
    /// `origin` is `None` when a configuration is checked that was not loaded.
    #[error("`{key}`{} {given}", place(.origin.as_ref()))]
    Value { key: String, origin: Option<Origin>, given: Given },
    /// A version of the issuer is wrong.
    #[error("{}{why}", lead(.origin.as_ref()))]
    Issuer { origin: Option<Origin>, why: String },
    /// Values that do not go together; the keys are those concerned.
    #[error("{why}")]
    Contradiction { keys: &'static [&'static str], why: String },
    #[error(
        "`{key}` (in {origin}) and `{file_key}` (in {file_origin}) are both set: set only one of \
         them, or `{file_key}` to \"\""
    )]
    Both { key: &'static str, origin: Origin, file_key: &'static str, file_origin: Origin },
    #[error("`{key}` in {origin} names {}, which cannot be read: {why}", file.display())]
    Secret { key: &'static str, origin: Origin, file: PathBuf, why: String },
}

/// What was given, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// `None` for a secret.
    pub value: Option<String>,
    pub must: String,
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "is {value}: it must be {}", self.must),
            None => write!(f, "(a secret, not shown) must be {}", self.must),
        }
    }
}

/// One a line.
fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n- {problem}")).collect();
    lines.concat()
}

fn lead(origin: Option<&Origin>) -> String {
    origin.map(|origin| format!("{origin}: ")).unwrap_or_default()
}

fn place(origin: Option<&Origin>) -> String {
    origin.map(|origin| format!(" in {origin}")).unwrap_or_default()
}
